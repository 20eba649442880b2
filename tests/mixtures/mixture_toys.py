"""Small sources and observations."""

from __future__ import annotations

import torch
from torch import Tensor

from dynvae.mixtures import Estimate, Observations
from dynvae.models import DVAE, build
from dynvae.models.kalman import LinearGaussian, kalman_filter, kalman_smoother
from dynvae.testing.linear_gaussian import LinearGaussianDVAE


def source(name: str = "srnn", likelihood: str = "gaussian", x_dim: int = 4, **config: object) -> DVAE:
    """An untrained model of a few numbers."""
    torch.manual_seed(0)
    return build(name, x_dim=x_dim, z_dim=2, likelihood=likelihood, **config).eval()


def boxes(batch: int, time: int, observations: int, dtype: torch.dtype = torch.float32) -> Observations:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(batch, time, observations, 4, generator=generator, dtype=dtype)
    return Observations(values, torch.ones(batch, time, observations, dtype=torch.bool), torch.full_like(values, 0.1))


def guess(batch: int, sources: int, time: int, dtype: torch.dtype = torch.float32, features: int = 4) -> Estimate:
    generator = torch.Generator().manual_seed(2)
    mean = torch.randn(batch, sources, time, features, generator=generator, dtype=dtype)
    return Estimate(mean, torch.ones_like(mean))


def smoothed(model: LinearGaussianDVAE, observed: Tensor, variance: float) -> Tensor:
    """E[s_t | all o] for o = s + N(0, variance), ``(batch, time, feature)``: the exact answer."""
    batch, time, size = observed.shape
    start, noise = (scale @ scale.mT for scale in model._scales())
    own, identity = model.observation_std**2, torch.eye(size, dtype=observed.dtype)
    matrices = LinearGaussian(
        model.transition.expand(batch, time, -1, -1),
        observed.new_zeros(batch, time, model.z_dim, 1),
        model.emission.expand(batch, time, -1, -1),
        noise,
        (own + variance) * identity,
    )
    filtered = kalman_filter(observed, observed.new_zeros(batch, time, 1), matrices, start)
    z, _ = kalman_smoother(filtered, matrices)
    predicted = z @ model.emission.mT
    return predicted + own / (own + variance) * (observed - predicted)
