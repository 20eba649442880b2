"""A first guess of what is in a mixed spectrum."""

from __future__ import annotations

__all__ = ["first_guess"]

import torch
from torch import Tensor

from dynvae.audio.stft import power_of
from dynvae.mixtures.engine import Mixture
from dynvae.mixtures.laws import Law
from dynvae.mixtures.values import Estimate
from dynvae.models import Latents


@torch.no_grad()
def first_guess(mixture: Mixture, spectra: Tensor, seed: int = 0) -> Estimate:
    """The mixture as each model makes it again, in the mixture's phase (Lin et al., 2023).

    A model draws its latents for each source but the first that it has, so that its sources begin apart.

    Args:
        mixture: with a model for each source.
        spectra: complex, ``(batch, time, bins)``.
        seed: of the draws.
    """
    power, generator = power_of(spectra), torch.Generator().manual_seed(seed)
    met: set[int] = set()
    parts = []
    for model in mixture.models:
        noise: Latents | None = None
        if id(model) in met:
            noise = model.draw_noise(power.shape[0], power.shape[1], generator)
        met.add(id(model))
        posterior = mixture.dynamics[id(model)].infer(power, noise=noise)
        law = Law.of(model.likelihood(posterior.latents, power, None, posterior.seen))
        parts.append((0.5 * law.log_variance).exp())
    deviation = torch.stack(parts, 1)
    phase = spectra.angle().unsqueeze(1).expand_as(deviation)
    return Estimate(torch.polar(deviation, phase), torch.zeros_like(deviation))
