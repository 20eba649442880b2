"""Frames and sound of video files, and one line for those that are none."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from tests.video.video_toys import write_video

from dynvae.errors import DataError
from dynvae.video import read_frames, read_soundtrack, video_info

pytest.importorskip("av")


def ramps(count: int) -> np.ndarray:
    return np.stack([np.full((32, 48), 20 * index, np.uint8) for index in range(count)])


def test_frames_in_grey_with_their_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", ramps(10))
    moments, pictures = zip(*read_frames(path), strict=True)
    assert np.allclose(moments, np.arange(10) / 25)
    assert np.abs(np.stack(pictures).astype(int) - ramps(10)).max() <= 4
    info = video_info(path)
    assert (info.width, info.height, info.rate, info.sounds) == (48, 32, 25.0, False)


def test_the_sound_track(tmp_path: Path) -> None:
    sound = 0.5 * np.sin(np.arange(6400) / 9).astype(np.float32)
    path = write_video(tmp_path / "a.avi", ramps(10), sound=sound)
    heard, rate = read_soundtrack(path)
    assert rate == 16000
    assert len(heard) == 6400
    assert np.abs(heard - sound).max() < 1e-3
    half, rate = read_soundtrack(path, 8000, mono=False)
    assert (half.shape, rate) == ((1, 3200), 8000)
    assert video_info(path).sound_rate == 16000
    assert next(read_frames(path))[0] == pytest.approx(0, abs=0.05)


def test_one_line_for_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mpg").write_bytes(b"")
    silent = write_video(tmp_path / "silent.mp4", ramps(3))
    for call, problem in [
        (lambda: list(read_frames(tmp_path / "none.mp4")), "none.mp4: no such file"),
        (lambda: list(read_frames(tmp_path / "text.mp4")), "text.mp4: no video that can be read"),
        (lambda: video_info(tmp_path / "empty.mpg"), "empty.mpg: "),
        (lambda: read_soundtrack(silent), "silent.mp4: this video has no sound track"),
    ]:
        with pytest.raises(DataError, match=problem) as error:
            call()
        assert "\n" not in str(error.value)


def test_a_video_that_is_cut_short_gives_what_is_there_or_a_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", np.random.default_rng(0).integers(0, 256, (20, 32, 48), np.uint8))
    whole = path.read_bytes()
    for share in (0.05, 0.5, 0.9):
        (tmp_path / "cut.avi").write_bytes(whole[: int(share * len(whole))])
        with contextlib.suppress(DataError):
            assert len(list(read_frames(tmp_path / "cut.avi"))) < 20


@pytest.mark.shared
def test_raw_grid_clips(shared: Path) -> None:
    for path in sorted((shared / "data/av/raw_video").glob("*.mpg"))[:2]:
        moments = [moment for moment, _ in read_frames(path)]
        assert np.allclose(moments, np.arange(75) / 25)
        sound, rate = read_soundtrack(path, 16000)
        assert rate == 16000
        assert abs(len(sound) / rate - 2.98) < 0.01
