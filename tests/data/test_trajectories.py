"""Synthetic trajectories: repeatable, inside the published limits, and moving as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynvae.data.trajectories import draw_trajectories
from dynvae.errors import ConfigError


def test_seed_decides_and_more_begin_with_fewer() -> None:
    few, many = draw_trajectories(10, seed=3), draw_trajectories(3000, seed=3)
    assert torch.equal(few, many[:10])
    assert not torch.equal(few, draw_trajectories(10, seed=4))
    assert few.shape == (10, 60, 4)
    assert few.dtype == torch.float32


def test_limits_and_shapes_of_boxes() -> None:
    x = draw_trajectories(5000)
    low, high = x.amin((0, 1)), x.amax((0, 1))
    assert (low >= torch.tensor([-0.5, 0, 0, -1.5]) - 1e-6).all()
    assert (high <= torch.tensor([1, 1.5, 0.8, 1]) + 1e-6).all()
    width, height = x[..., 2] - x[..., 0], x[..., 1] - x[..., 3]
    assert (width >= -1e-6).all()
    torch.testing.assert_close((height / width)[:, 0], (height / width)[:, -1], rtol=2e-2, atol=2e-2)
    tallness = (height / width)[:, 0]
    assert float(tallness.median()) == pytest.approx(5.26, abs=0.1)


def test_kinds_of_motion_are_as_frequent_as_published() -> None:
    x = draw_trajectories(4000, 12).double().numpy()
    width = x[..., 2] - x[..., 0]
    moved = np.abs(np.diff(width, axis=1)).max(1) > 1e-6
    assert moved.mean() == pytest.approx(0.75, abs=0.04)
    bend = np.abs(np.diff(width, n=2, axis=1)).max(1) > 1e-6
    assert 0.1 < bend.mean() < 0.25
    speed = np.diff(width, axis=1)[:, 0][moved & ~bend]
    assert speed.std() == pytest.approx(3.2e-4, rel=0.1)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"frames": 5}, {"frames": 10**6}, {"seed": -1}])
def test_what_cannot_be_drawn(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="trajectories need"):
        draw_trajectories(**{"count": 5, **wrong})
