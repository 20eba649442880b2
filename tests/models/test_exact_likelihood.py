"""With one latent dimension and two frames, ln p(x) is a small integral: the bounds of every model against it."""

from __future__ import annotations

import math

import pytest
import torch
from model_toys import small
from torch import Tensor

from dynvae.distributions import standard_normal
from dynvae.models import DVAE, PRESETS, Latents

POINTS, REACH = 61, 9.0
ELSEWHERE = ("sdm-vae", "sdm-srnn", "vsc", "vq-vae", "mdvae")
"""Models whose latents no such grid covers; see test_sparse_latents and test_multimodal."""


def grid(model: DVAE) -> tuple[Latents, float]:
    """Points that cover all latents of two frames, and the log of the volume of one."""
    axis = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    axes = [axis] * (2 + model.w_dim)
    points = torch.cartesian_prod(*axes)
    w = points[:, 2:] if model.w_dim else None
    return Latents(points[:, :2].unsqueeze(-1), w), len(axes) * math.log(float(axis[1] - axis[0]))


def log_joint(model: DVAE, x: Tensor, latents: Latents) -> Tensor:
    prior, likelihood = model.generative(latents, x)
    total = (prior.log_prob(latents.z) + likelihood.log_prob(x)).sum(-1)
    return total if latents.w is None else total + standard_normal(latents.w).log_prob(latents.w)


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ELSEWHERE])
def test_bounds_against_the_integral(name: str) -> None:
    changes = {"v_dim": 1} if name == "dsae" else {"initial_std": 1.0} if name == "kvae" else {}
    model = small(name, x_dim=2, z_dim=1, **changes).double()
    generator = torch.Generator().manual_seed(0)
    x = -torch.rand(1, 2, 2, generator=generator, dtype=torch.float64).log()
    latents, volume = grid(model)
    frames = x.expand(len(latents.z), -1, -1)
    log_p = log_joint(model, frames, latents)
    exact = log_p.logsumexp(0) + volume

    posterior = model.posterior(frames, latents=latents)
    log_q = posterior.z.log_prob(latents.z).sum(-1)
    if posterior.w is not None and latents.w is not None:
        log_q = log_q + posterior.w.log_prob(latents.w)
    torch.testing.assert_close(log_q.logsumexp(0) + volume, torch.zeros_like(exact), rtol=0, atol=1e-6)
    elbo = (log_q.exp() * (log_p - log_q)).sum() * math.exp(volume)

    repeats = 20_000
    many = x.expand(repeats, -1, -1)
    drawn = model.elbo(many, generator=generator).total
    error = drawn.mean() - elbo
    tolerance = 5 * drawn.std() / math.sqrt(repeats) + 1e-6
    assert error < tolerance
    assert name == "min-vae" or error > -tolerance  # whose divergence is that of z and of which encoder made it
    log_weights = model.iwae(many, samples=1, generator=generator)
    weights = (log_weights - exact).exp()
    assert abs(weights.mean() - 1) < 5 * weights.std() / math.sqrt(repeats) + 1e-6
    assert elbo < exact
    assert elbo < model.iwae(many[:500], samples=20, generator=generator).mean() < exact + 0.02
