"""All settings of the published code in one place (Lin et al., 2023), for comparison with it."""

from __future__ import annotations

__all__ = ["FIRST_VARIANCE", "SEPARATION", "box_noise", "separation", "tracking"]

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dynvae.mixtures.engine import Mixture
from dynvae.mixtures.gaussian import GaussianAssignment
from dynvae.mixtures.spectral import SpectralAssignment
from dynvae.models import DVAE

FIRST_VARIANCE = 1e-5
"""Of the law of the first frame of a track, whose mean is the first detection."""

SEPARATION: Mapping[str, Any] = {
    "iterations": 70, "feedback": "legacy-uniform", "latents": "sample", "first_input": "estimate",
}  # fmt: skip
"""Settings of the mixture."""


def tracking(model: DVAE, **settings: Any) -> Mixture:
    """Tracking as published: E-W tempered by 0.008, with a floor; z from the encoder in gaps; 70 iterations.

    Run it with ``start`` = the first detections with a variance of 1e-5, the noise of :func:`box_noise`, and a guess by
    :func:`~dynvae.mixtures.cascade`, with 20 iterations, ``sure=1e-5`` and ``refined=False``.
    """
    assignment = GaussianAssignment(temper=0.008, floor=1e-10, least=1e-30)
    published: dict[str, Any] = {"iterations": 70, "unobserved": "encoder", "first_input": "estimate"}
    return Mixture(model, assignment, **published | settings)


def box_noise(first: Tensor, ratio: float = 0.04) -> Tensor:
    """Φ's diagonal: (4 % of the width and height)² of the boxes x1, y1, x2, y2 of the first frame, ``(..., 4)``."""
    size = first[..., 2:] - first[..., :2]
    return (ratio * torch.cat([size, size], -1)).square()


def separation(models: Sequence[DVAE], **settings: Any) -> Mixture:
    """Separation as published: sampled latents, uniform noise in what is fed back, 70 iterations."""
    return Mixture(models, SpectralAssignment(ratio=0.03, floor=1e-10), **{**SEPARATION, **settings})
