"""All settings of the published code in one place (Lin et al., 2023), for comparison with it."""

from __future__ import annotations

__all__ = ["FIRST_VARIANCE", "box_noise", "first_guess", "separation", "tracking"]

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dynvae.audio.stft import power_of
from dynvae.mixtures.engine import Mixture
from dynvae.mixtures.gaussian import GaussianAssignment
from dynvae.mixtures.laws import Law
from dynvae.mixtures.spectral import SpectralAssignment
from dynvae.mixtures.values import Estimate
from dynvae.models import DVAE

FIRST_VARIANCE = 1e-5
"""Of the law of the first frame of a track, whose mean is the first detection."""


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
    published: dict[str, Any] = {"iterations": 70, "feedback": "legacy-uniform", "latents": "sample"}
    published["first_input"] = "estimate"
    return Mixture(models, SpectralAssignment(ratio=0.03, floor=1e-10), **published | settings)


@torch.no_grad()
def first_guess(mixture: Mixture, spectra: Tensor) -> Estimate:
    """The mixture as each model makes it again, with the phase of the mixture.

    Args:
        mixture: with a model for each source.
        spectra: complex, ``(batch, time, bins)``.
    """
    power = power_of(spectra)
    parts = []
    for model in mixture.models:
        posterior = mixture.dynamics[id(model)].infer(power)
        parts.append(Law.of(model.likelihood(posterior.latents, power, None, posterior.seen)).log_variance)
    deviation = (0.5 * torch.stack(parts, 1)).exp()
    return Estimate(torch.polar(deviation, spectra.angle().unsqueeze(1).expand_as(deviation)), deviation * 0)
