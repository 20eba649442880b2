"""Lips come out of every kind of file upright, in order, and with an error where they are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynvae.errors import ConfigError, DataError
from dynvae.video import LIP_PIXELS, LIP_SIDE, Lips, read_lips


def pictures(count: int) -> np.ndarray:
    """Each with its number in the upper left, and a line of light from there to the right."""
    made = np.zeros((count, LIP_SIDE, LIP_SIDE), np.uint8)
    made[:, 0, 30:] = 200
    made[:, 0, 0] = 51 * (np.arange(count) % 5)
    return made


def test_own_files_come_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lips = Lips(random.integers(0, 256, (7, 12), np.uint8), random.random(7) < 0.5, np.cumsum(random.random(7) + 0.1))
    lips.save(tmp_path / "a.npz")
    back = read_lips(tmp_path / "a.npz")
    for mine, theirs in zip(vars(lips).values(), vars(back).values(), strict=True):
        assert np.array_equal(mine, theirs)


def test_published_arrays_are_turned_upright(tmp_path: Path) -> None:
    """A column a frame, its pixels column by column: MATLAB's order."""
    upright = pictures(5)
    np.save(tmp_path / "Raw.npy", np.stack([p.ravel("F") for p in upright], 1).astype(np.float32) / 255)
    lips = read_lips(tmp_path / "Raw.npy")
    assert np.array_equal(lips.pictures, upright)
    assert lips.times[1] == pytest.approx(1001 / 30000)
    np.save(tmp_path / "rows.npy", upright.reshape(5, -1).T.astype(np.float32) / 255)
    assert np.array_equal(read_lips(tmp_path / "rows.npy", layout="rows", rate=25).pictures, upright)


def test_features_of_a_lip_reader_are_taken_as_they_are(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(512, 9)).astype(np.float32)
    np.save(tmp_path / "VF.npy", numbers)
    lips = read_lips(tmp_path / "VF.npy", rate=30)
    assert lips.size == 512
    assert np.array_equal(lips.features(), numbers.T)
    with pytest.raises(DataError, match="512 features a frame, and no pictures"):
        _ = lips.pictures


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((7, LIP_PIXELS), np.float32), "wrong way round"),
        (np.zeros((LIP_PIXELS, 3, 2), np.float32), r"\(4489, 3, 2\) float32; a published array holds"),
        (np.zeros((LIP_PIXELS, 0), np.float32), "a published array holds"),
        (np.zeros((LIP_PIXELS, 3), np.uint8), "uint8; a published array holds"),
        (np.full((LIP_PIXELS, 3), 200.0), "from 0 to 1"),
        (np.full((LIP_PIXELS, 3), np.nan), "NaN"),
        (np.array([{}], dtype=object), "plain array"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, problem: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=problem):
        read_lips(tmp_path / "x.npy")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"no archive")
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    (tmp_path / "x.wav").write_bytes(b"")
    for name, problem in [
        ("none.npy", "no such file of lips"),
        ("x.npz", "cannot be read as lips"),
        ("x.jpg", "no picture; a mosaic has tiles"),
        ("x.wav", "lips are an array"),
    ]:
        with pytest.raises(DataError, match=problem):
            read_lips(tmp_path / name)


def test_lips_that_do_not_fit_together_are_refused() -> None:
    values, present, times = np.zeros((3, 4), np.uint8), np.ones(3, bool), np.arange(3.0)
    for wrong in ((values[:0], present[:0], times[:0]), (values, present[:2], times), (values, present, times[::-1]),
                  (values.astype(np.float64), present, times)):  # fmt: skip
        with pytest.raises(DataError):
            Lips(*wrong)
    with pytest.raises(ConfigError):
        Lips.at_rate(values, 0)


def test_shrinking_keeps_the_mean_of_what_a_pixel_covers() -> None:
    ramp = np.broadcast_to(np.linspace(0, 250, LIP_SIDE), (2, LIP_SIDE, LIP_SIDE)).astype(np.uint8)
    lips = Lips.at_rate(np.ascontiguousarray(ramp).reshape(2, -1), 25)
    small = lips.shrunk(100).values.reshape(2, 10, 10).astype(float)
    assert np.allclose(small[0, 0], 250 * (6.7 * (np.arange(10) + 0.5) - 0.5) / 66 - 0.5, atol=0.6)
    assert np.array_equal(small[0, 0], small[1, 9])
    assert abs(small.mean() - ramp.mean()) < 1
    assert lips.shrunk(LIP_PIXELS) is lips
    with pytest.raises(ConfigError, match="4489 numbers cannot be given as 99"):
        lips.shrunk(99)


@pytest.mark.shared
def test_grid_mosaics_load(shared: Path) -> None:
    lips = read_lips(shared / "data/av/grid/s1/srih3a.jpg")
    assert lips.pictures.shape == (75, LIP_SIDE, LIP_SIDE)
    assert lips.present.all()
    assert lips.times[-1] == pytest.approx(2.96)
    assert 80 < lips.pictures.mean() < 200
