"""What visitors bring is judged before it is decoded, and what is refused is told in one line without a path."""

from __future__ import annotations

import gzip
import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dynvae.app.examples import talking_head
from dynvae.app.limits import Limits, number, read_boxes_of, read_sound, sound_of_video, survey_video
from dynvae.errors import AudioError, ConfigError, DataError, DynvaeError
from dynvae.tracking import read_boxes

LIMITS = Limits(megabytes=1.0, seconds=2.0)


def tone(path: Path, seconds: float = 1.0, rate: int = 16000, channels: int = 1, **options: str) -> Path:
    """A file of sound."""
    samples = 0.3 * np.sin(np.arange(round(seconds * rate)) / 9)
    soundfile.write(path, np.repeat(samples[:, None], channels, 1), rate, **options)
    return path


def test_a_recording_keeps_its_channels_and_rate(tmp_path: Path) -> None:
    sound = read_sound(tone(tmp_path / "a.flac", 0.5, 44100, 2), LIMITS)
    assert sound.waveform.shape == (2, 22050)
    assert sound.waveform.dtype == np.float32
    assert sound.seconds == 0.5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"seconds": 2.1}, r"the recording: 2\.1 s; at most 2 s are taken"),
        ({"channels": 3}, r"3 channels; at most 2 are taken"),
        ({"rate": 2000}, r"a rate of 2000 Hz; 4000 to 384000 Hz are taken"),
    ],
)
def test_what_is_beyond_a_limit_is_refused(tmp_path: Path, options: dict[str, int], complaint: str) -> None:
    path = tone(tmp_path / "sound.wav", **options)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match=complaint) as error:
        read_sound(path, LIMITS)
    assert str(tmp_path) not in str(error.value)


def test_hours_of_silence_in_a_small_file_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.flac"
    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC") as file:
        for _ in range(20):
            file.write(np.zeros(8000 * 60, np.int16))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *args, **options: pytest.fail("decoded"))
    with pytest.raises(AudioError, match=r"1200\.0 s; at most 2 s"):
        read_sound(path, LIMITS)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.wav"
    path.write_bytes(bytes(1_100_000))
    with pytest.raises(DataError, match=r"the recording: 1\.1 MB; at most 1 MB are taken"):
        read_sound(path, LIMITS)


def test_nothing_and_what_is_not_there_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="there is no recording yet"):
        read_sound(None, LIMITS)
    with pytest.raises(DynvaeError, match="the recording: no such file"):
        read_sound(tmp_path / "gone.wav", LIMITS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 11, None, "many", [1], 10**400, {}])
def test_a_number_is_one_and_in_its_range(value: object) -> None:
    with pytest.raises(ConfigError, match="iterations: a number from 0 to 10 is wanted"):
        number("iterations", value, 0, 10)


@pytest.mark.parametrize("name", ["megabytes", "seconds", "channels", "jobs", "waiting", "minutes"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_limits_are_positive(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"the limit of {name} is positive"):
        Limits(**{name: value})


def test_videos_are_judged_by_their_packets(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("cv2")
    path = tmp_path / "face.mp4"
    talking_head(path)
    assert survey_video(path, Limits())
    assert sound_of_video(path, Limits()).seconds == pytest.approx(3.2, abs=0.1)
    with pytest.raises(DataError, match="the video: 3 s and 80 pictures; at most 2 s are taken"):
        survey_video(path, LIMITS)
    with pytest.raises(DataError, match="there is no video yet"):
        survey_video(None, LIMITS)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\0" * 5000, b"<svg/>" * 100])
def test_what_is_no_video_is_told_so(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("av")
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(DataError, match="the video") as error:
        survey_video(path, LIMITS)
    assert str(tmp_path) not in str(error.value)


def test_a_sound_file_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(DataError, match="there are no pictures in this file"):
        survey_video(tone(tmp_path / "a.wav"), LIMITS)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["3001,-1,1,1,5,5,1"], "1 boxes in 3001 frames"),
        (["1,-1,1,1,5,5,1"] * 101, "more than 100 boxes in a frame"),
        (["1,-1,1,1,nan,5,1"], "the detections, line 1: a number is not finite"),
        (["hello"], "line 1"),
    ],
)
def test_boxes_are_few_and_boxes(tmp_path: Path, lines: list[str], complaint: str) -> None:
    path = tmp_path / "det.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=complaint) as error:
        read_boxes_of(path, LIMITS, read_boxes)
    assert str(tmp_path) not in str(error.value)


def test_compressed_boxes_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "det.txt.gz"
    path.write_bytes(gzip.compress(b"1,-1,1,1,5,5,1\n" * 10))
    with pytest.raises(DataError, match="the detections: compressed; upload the plain text"):
        read_boxes_of(path, LIMITS, read_boxes)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(32000))
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 40_000)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="the recording: cut short"):
        read_sound(path, LIMITS)
