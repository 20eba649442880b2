"""Made-up paths of boxes through a picture: what a model of one moving person is trained on, without any recording."""

from __future__ import annotations

__all__ = ["TRAJECTORIES", "draw_trajectories"]

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.errors import ConfigError

TRAJECTORIES = "trajectories"
"""The word that stands for them where data are named."""

Array = NDArray[np.float64]
_KINDS = ("still", "line", "parabola", "sine")


class _Motion(NamedTuple):
    """How a coordinate moves: chances of `_KINDS`, and deviations of its parameters, in picture sizes and frames."""

    chances: tuple[float, float, float, float]
    velocity: float
    acceleration: float
    frequency: float = 0.0
    phase: float = 1.0
    most_cuts: int = 0


# As published; estimated there from the public detections of MOT17.
_X = _Motion((0.15, 0.30, 0.30, 0.25), 1.25e-3, 3.7e-5, 3e-3, 3.2, 2)
_Y = _Motion((0.15, 0.30, 0.30, 0.25), 6e-4, 2e-5, 1e-3, 3.2, 2)
_WIDTH = _Motion((0.25, 0.60, 0.15, 0.0), 3.2e-4, 1e-5)
_LOG_WIDTH, _TALLNESS = (-3.8, 0.7), (5.26, 0.77)  # mean and deviation; tallness is height / width
_GRID = 3  # frames between which a coordinate may change its kind of motion
_LEAST = np.array([-0.5, 0.0, 0.0, -1.5])
_MOST = np.array([1.0, 1.5, 0.8, 1.0])
_AT_ONCE = 4096
_LONGEST = 1000


def draw_trajectories(count: int, frames: int = 60, *, seed: int = 0) -> Tensor:
    r"""Synthetic trajectories of boxes (Lin, Girin and Alameda-Pineda, MixDVAE, 2023).

    A coordinate is made of one to three pieces, each beginning where the last one ended: still, a line
    :math:`s + vt`, a parabola :math:`s + vt + at^2` or a sine :math:`s \sin(\omega t + \varphi) / \sin \varphi`, of
    normal parameters. The width is a single piece that begins log-normal, the height a normal multiple of it. What
    leaves the neighbourhood of the picture is drawn anew.

    Args:
        count: how many.
        frames: of each, from 6 on; 60 are published.
        seed: decides all of it. The first of many trajectories are those of fewer.

    Returns:
        ``(count, frames, 4)`` in float32: left edge, top edge, right edge, and top edge less height, as shares of the
        picture's width and height (`dynvae.motion.BoxView`).

    Raises:
        ConfigError: a number is out of range.

    Example:
        >>> draw_trajectories(5, seed=1).shape
        torch.Size([5, 60, 4])
    """
    if count < 1 or not 2 * _GRID <= frames <= _LONGEST or seed < 0:
        raise ConfigError(f"trajectories need a positive count, {2 * _GRID} to {_LONGEST} frames and a seed from 0, "
                          f"not {count}, {frames} and {seed}")  # fmt: skip
    dice = np.random.default_rng(seed)
    found: list[Array] = []
    while sum(map(len, found)) < count:
        drawn = _candidates(_AT_ONCE, frames, dice)
        low, high = drawn.min(1), drawn.max(1)
        kept = (low >= _LEAST).all(1) & (high <= _MOST).all(1) & (drawn[..., 2] >= drawn[..., 0]).all(1)
        found.append(drawn[kept])
    return torch.from_numpy(np.concatenate(found)[:count]).float()


def _candidates(count: int, frames: int, dice: np.random.Generator) -> Array:
    width = _coordinate(dice.lognormal(*_LOG_WIDTH, count), frames, _WIDTH, dice)
    height = width * (_TALLNESS[0] + _TALLNESS[1] * dice.standard_normal((count, 1)))
    x = _coordinate(dice.uniform(size=count), frames, _X, dice)
    y = _coordinate(dice.uniform(size=count), frames, _Y, dice)
    return np.stack([x, y, x + width, y - height], -1)


def _coordinate(start: Array, frames: int, motion: _Motion, dice: np.random.Generator) -> Array:
    """``(count, frames)``, from values at the first frame."""
    count, pieces = len(start), motion.most_cuts + 1
    grid = np.arange(_GRID, frames, _GRID)
    cuts = grid[np.argsort(dice.uniform(size=(count, len(grid))), 1)[:, : motion.most_cuts]]
    unused = np.arange(motion.most_cuts) >= dice.integers(0, pieces, (count, 1))
    ends = np.column_stack([np.sort(np.where(unused, frames, cuts), 1), np.full(count, frames)])
    time = np.arange(frames)
    path = np.empty((count, frames))
    begins = np.zeros(count, int)
    for piece in range(pieces):
        local = time - begins[:, None]
        moved = _moved(start[:, None], local, motion, dice)
        path = np.where(local >= 0, moved, path)
        start = path[np.arange(count), np.minimum(ends[:, piece], frames) - 1]
        begins = ends[:, piece]
    return path


def _moved(start: Array, time: NDArray[np.int_], motion: _Motion, dice: np.random.Generator) -> Array:
    """One piece of each path, of a kind and with parameters that are drawn: ``(count, frames)``."""
    count = len(start)
    kind = dice.choice(len(_KINDS), (count, 1), p=motion.chances)
    velocity, acceleration, frequency, phase = (
        deviation * dice.standard_normal((count, 1))
        for deviation in (motion.velocity, motion.acceleration, motion.frequency, motion.phase)
    )
    line = velocity * time
    sine = start * (np.sin(frequency * time + phase) / np.sin(phase) - 1)
    return start + np.choose(kind, [np.zeros_like(line), line, line + acceleration * time**2, sine])
