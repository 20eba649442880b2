"""How many of their numbers latents use."""

from __future__ import annotations

__all__ = ["active_units", "hoyer"]

import torch
from torch import Tensor


def hoyer(z: Tensor) -> Tensor:
    r"""Sparsity of vectors ``(..., n)`` from 0 (all entries of one size) to 1 (one entry alone): ``(...)``.

    .. math:: \frac{\sqrt n - \lVert z \rVert_1 / \lVert z \rVert_2}{\sqrt n - 1}

    (Hoyer, 2004.) It does not see a common factor. A vector of zeros has no sparsity: NaN; so has one of size 1.

    Example:
        >>> hoyer(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.0, 0.0]]))
        tensor([0., 1.])
    """
    root = z.shape[-1] ** 0.5
    ratio = torch.linalg.vector_norm(z, 1, dim=-1) / torch.linalg.vector_norm(z, dim=-1)
    return (root - ratio) / (root - 1) if root > 1 else torch.full_like(ratio, torch.nan)


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    r"""The number of latents that tell something of x: :math:`\mathrm{Var}_x(\mathrm E_q[z_j | x]) > 0.01`.

    (Burda et al., 2016, section 5.2.)

    Args:
        means: of the posterior, of many frames, ``(frames, z_dim)``.
        threshold: the least variance of one that counts, where the prior's is 1.

    Example:
        >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        1
    """
    return int((means.var(0, correction=0) > threshold).sum())
