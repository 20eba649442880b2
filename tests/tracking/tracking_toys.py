"""Films of made-up people for the tests of tracking."""

from __future__ import annotations

import numpy as np

from dynvae.tracking import Boxes, Scene

SCENE = Scene("toy", 60, 640, 480, 30)


def walkers(count: int = 3, frames: int = 60, seed: int = 0) -> Boxes:
    """Who walks straight on, far from the others, ids from 1."""
    dice = np.random.default_rng(seed)
    time = np.arange(frames)
    rows = []
    for who in range(count):
        left = 40 + 580 * (who + 0.5) / count - 40 + 0.3 * dice.standard_normal() * time
        top = 100 + 60 * dice.uniform() + 1.0 * dice.standard_normal() * time
        rows += [(t + 1, who + 1, left[t], top[t], 30, 80, 1) for t in time]
    return Boxes.of(rows)


def detected(truth: Boxes, missing: float = 0.0, noise: float = 0.5, seed: int = 1) -> Boxes:
    """The truth without ids, with some boxes missing and all of them off by some pixels, in another order."""
    dice = np.random.default_rng(seed)
    rows = np.column_stack([truth.frame, np.full(len(truth), -1), truth.box, truth.confidence])
    rows[:, 2:6] += noise * dice.standard_normal((len(rows), 4))
    rows = rows[dice.permutation(len(rows))]
    return Boxes.of(rows[dice.uniform(size=len(rows)) >= missing])
