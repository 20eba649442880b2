"""A face is followed through misses, jumps and other faces; the mouth of a real one is where it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.video.video_toys import grid_face, write_video

from dynvae.errors import ConfigError
from dynvae.video import LIP_SIDE, Tracking, find_lips, read_lips
from dynvae.video.mouth import follow

pytest.importorskip("cv2")
pytest.importorskip("av")

MOMENTS = np.arange(100) / 25


def box(x: float, y: float = 100, width: float = 80) -> np.ndarray:
    return np.array([x, y, width])


def test_a_steady_face_and_its_jitter() -> None:
    random = np.random.default_rng(0)
    seen = {index: [box(200 + random.normal(0, 2))] for index in range(0, 100, 2)}
    present, boxes = follow(MOMENTS, seen, Tracking())
    assert present.all()
    assert np.abs(boxes[:, 0] - 200).max() < 3
    assert np.abs(np.diff(boxes[:, 0])).max() < 0.2


def test_short_misses_are_bridged_and_long_ones_are_absent() -> None:
    seen = {index: [box(200 + index)] for index in range(0, 100, 2)}
    seen |= {index: [] for index in (10, 12, *range(40, 70, 2))}
    present, boxes = follow(MOMENTS, seen, Tracking())
    assert np.array_equal(np.flatnonzero(~present), np.arange(40, 69))
    assert np.abs(boxes[15:30, 0] - (200 + np.arange(15, 30))).max() < 3


def test_other_faces_do_not_take_over() -> None:
    seen = {index: [box(200), box(400, width=70)] for index in range(0, 100, 2)}
    for index in range(30, 60, 2):
        seen[index][1] = box(400, width=120)  # comes nearer
    seen[20] = [box(400, width=70)]
    present, boxes = follow(MOMENTS, seen, Tracking())
    assert present.all()
    assert np.allclose(boxes[:, 0], 200)


def test_what_is_seen_once_is_no_face() -> None:
    seen = {index: [] for index in range(0, 100, 2)} | {50: [box(10)]}
    assert not follow(MOMENTS, seen, Tracking())[0].any()
    assert follow(MOMENTS[:1], {0: [box(10)]}, Tracking())[0].all()


def test_numbers_are_positive() -> None:
    with pytest.raises(ConfigError, match="tracking: every is positive"):
        Tracking(every=0)


def test_a_video_without_a_face_has_no_lips(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 96), np.uint8)
    lips = find_lips(write_video(tmp_path / "noise.mp4", noise))
    assert len(lips) == 6
    assert not lips.present.any()
    assert not lips.values.any()


@pytest.mark.shared
@pytest.mark.parametrize(("video", "clip"), [("s1_srih3a", "s1/srih3a"), ("id2_vcd_swwp2s", "s2/swwp2s")])
def test_grid_crops_are_those_of_another_tracker(shared: Path, video: str, clip: str) -> None:
    """Cut by others with the same cascade, another smoothing: grey levels differ by about 3 of 255."""
    mine = find_lips(shared / f"data/av/raw_video/{video}.mpg")
    theirs = read_lips(shared / f"data/av/grid/{clip}.jpg")
    assert len(mine) == len(theirs) == 75
    assert mine.present.all()
    assert np.abs(mine.pictures.astype(int) - theirs.pictures).mean() < 4.5


@pytest.mark.shared
def test_a_large_face_that_leaves_and_a_telephone_on_its_side(shared: Path, tmp_path: Path) -> None:
    face = grid_face(shared)
    large = np.kron(face, np.ones((3, 3), np.uint8))  # 864 × 1080
    blank = np.full_like(large, 90)
    lips = find_lips(write_video(tmp_path / "leaves.mp4", np.stack([large] * 20 + [blank] * 20)))
    assert lips.present[:18].all()
    assert not lips.present[22:].any()
    small = find_lips(write_video(tmp_path / "stays.mp4", np.stack([face] * 4)))
    assert np.abs(lips.pictures[5].astype(int) - small.pictures[0]).mean() < 6
    assert lips.pictures.shape[1:] == (LIP_SIDE, LIP_SIDE)
