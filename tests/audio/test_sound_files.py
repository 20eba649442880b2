"""Sound files: every format in, nothing damaged in, and out without silent loss."""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dynvae.audio import audio_info, read_audio, resample, write_audio
from dynvae.errors import AudioError

RATE = 16000


def tone(samples: int = 4000, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        (".wav", "PCM_16", 2**-15), (".wav", "PCM_24", 2**-23), (".wav", "PCM_32", 1e-7), (".wav", "PCM_U8", 2**-6),
        (".wav", "FLOAT", 0), (".wav", "DOUBLE", 0), (".flac", "PCM_16", 2**-15), (".flac", "PCM_24", 2**-23),
        (".aiff", "PCM_16", 2**-15), (".ogg", "VORBIS", 0.05), (".mp3", "MPEG_LAYER_III", 0.1),
    ],
)  # fmt: skip
def test_formats_are_read(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, tone(), RATE, subtype=subtype)
    waveform, rate = read_audio(path)
    assert rate == RATE
    assert waveform.dtype == np.float32
    assert len(waveform) == 4000
    assert np.abs(waveform - tone()).max() <= tolerance
    info = audio_info(path)
    assert (info.sample_rate, info.channels, info.samples, info.seconds) == (RATE, 1, 4000, 0.25)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_copy_is_exact(tmp_path: Path, suffix: str, subtype: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    write_audio(first, tone(), RATE, subtype=subtype)
    once = read_audio(first)[0]
    write_audio(second, once, RATE, subtype=subtype)
    np.testing.assert_array_equal(read_audio(second)[0], once)


def test_channels_are_folded_to_their_mean_or_kept(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    both = np.stack([tone(), -0.5 * tone()])
    write_audio(path, both, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path)[0], 0.25 * tone(), atol=1e-7)
    kept, _ = read_audio(path, mono=False)
    np.testing.assert_array_equal(kept, both)


@pytest.mark.parametrize("source", [8000, 22050, 44100, 48000])
def test_another_rate_is_resampled_not_reinterpreted(tmp_path: Path, source: int) -> None:
    path = tmp_path / "tone.wav"
    write_audio(path, tone(source, source), source, subtype="FLOAT")
    waveform, rate = read_audio(path, sample_rate=RATE)
    assert rate == RATE
    assert len(waveform) == RATE
    assert np.abs(waveform - tone(RATE))[200:-200].max() < 1e-3


def test_rates_are_positive() -> None:
    with pytest.raises(AudioError, match="rates are positive"):
        resample(tone(), 0, RATE)


@pytest.mark.parametrize("name", ["with space.wav", "früh – 早い.flac", "-dash.wav", "a'b\"c.wav", "dotted.name.wav"])
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path / name, tone(), RATE)
    assert len(read_audio(tmp_path / name)[0]) == 4000
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_a_name_that_is_not_text_is_read_and_named_in_errors(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    try:
        write_audio(path, tone(), RATE)
    except (OSError, AudioError):
        pytest.skip("the file system takes Unicode names only")
    assert len(read_audio(path)[0]) == 4000
    path.write_bytes(b"")
    with pytest.raises(AudioError) as error:
        read_audio(path)
    str(error.value).encode()  # can be printed


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_a_cut_file_is_noticed(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut{suffix}"
    write_audio(path, tone(16000), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    for reader in (read_audio, audio_info):
        with pytest.raises(AudioError, match=r"cut.*: cut short, \d+ bytes of sound are missing") as error:
            reader(path)
        assert "\n" not in str(error.value)


def test_a_cut_flac_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cut.flac"
    write_audio(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16000), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError, match="cut short"):
        read_audio(path)


def test_a_streamed_wav_of_unknown_size_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    write_audio(path, tone(), RATE)
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read_audio(path)[0]) == 4000


def test_rf64_and_chunks_before_the_sound(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(), RATE, format="RF64", subtype="PCM_16")
    assert len(read_audio(path)[0]) == 4000
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match="100 bytes of sound are missing"):
        read_audio(path)
    sound = (tone() * 32767).astype("<i2").tobytes()
    chunks = (
        b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16) + b"junk" + struct.pack("<I", 3) + b"abc\0"
    )
    body = b"WAVE" + chunks + b"data" + struct.pack("<I", len(sound)) + sound
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert len(read_audio(path)[0]) == 4000
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AudioError, match="10 bytes of sound are missing"):
        read_audio(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not a sound file"),
        (b"RIFF", "not a sound file"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "not a sound file"),
        (b"fLaC" + bytes(100), "not a sound file|damaged|no samples"),
        (os.urandom(2000), "not a sound file|damaged|no samples"),
    ],
)
def test_what_is_not_sound_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as error:
        read_audio(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_samples_no_file_and_a_folder(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    with pytest.raises(AudioError, match="holds no samples"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="no such file"):
        read_audio(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="not a file"):
        read_audio(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_place_and_number(tmp_path: Path, bad: float) -> None:
    signal = tone()
    signal[[17, 30]] = bad
    soundfile.write(tmp_path / "bad.wav", signal, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"bad.wav: 2 samples are NaN or infinite, first at index 17"):
        read_audio(tmp_path / "bad.wav")
    with pytest.raises(AudioError, match="first at index 17"):
        write_audio(tmp_path / "out.wav", signal, RATE)
    assert not (tmp_path / "out.wav").exists()


def test_clipping_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loud = 4 * tone()
    with caplog.at_level(logging.WARNING):
        clipped = write_audio(tmp_path / "loud.wav", loud, RATE)
    assert clipped == int((np.abs(loud) > 1).sum()) > 0
    assert f"{clipped} samples" in caplog.text
    read = read_audio(tmp_path / "loud.wav")[0]
    assert read.max() == 32767 / 32768
    assert read.min() == -1
    caplog.clear()
    assert write_audio(tmp_path / "float.wav", loud, RATE, subtype="FLOAT") == 0
    np.testing.assert_array_equal(read_audio(tmp_path / "float.wav")[0], loud)  # the scale is kept
    assert write_audio(tmp_path / "peak.wav", tone() / np.abs(tone()).max(), RATE) == 0
    assert not caplog.records


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, tone(), RATE)
    before = path.read_bytes()
    with pytest.raises(AudioError, match="cannot be written"):
        write_audio(path, tone(), RATE, subtype="VORBIS")
    with pytest.raises(AudioError, match=r"\.xyz.*names no sound format|names no sound format"):
        write_audio(tmp_path / "a.xyz", tone(), RATE)
    with pytest.raises(AudioError, match="floating-point"):
        write_audio(path, np.zeros(10, dtype=np.int16), RATE)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]
