"""Who goes with whom: the cheapest pairs of two groups."""

from __future__ import annotations

__all__ = ["pairs"]

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import require
from dynvae.tracking.boxes import Array, Whole


def pairs(gain: Array, allowed: NDArray[np.bool_] | None = None) -> tuple[Whole, Whole]:
    """The one-to-one pairs of rows and columns whose total gain is highest.

    Args:
        gain: of each pair, ``(n, m)``, positive where pairs are wanted.
        allowed: where a pair may be; by default where its gain is positive.

    Returns:
        Rows and columns of the pairs.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    if allowed is None:
        allowed = gain > 0
    if not allowed.any():
        nothing = np.empty(0, np.int64)
        return nothing, nothing
    solve = require("scipy.optimize", "tracking").linear_sum_assignment
    rows, columns = solve(np.where(allowed, gain, 0.0), maximize=True)
    kept = allowed[rows, columns]
    return rows[kept], columns[kept]
