"""Where everything is linear and Gaussian, the bounds are known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from dense_gaussian import joint
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynvae.models import VAE, Latents
from dynvae.models.kalman import LinearGaussian, kalman_filter, kalman_smoother
from dynvae.testing import LinearGaussianDVAE, expected_elbo

LENGTHS = torch.tensor([6, 3, 1])


def data(model: LinearGaussianDVAE, seed: int = 0) -> Tensor:
    return model.sample(3, 6, generator=torch.Generator().manual_seed(seed), feedback="sample").x


def system(model: LinearGaussianDVAE, time: int) -> tuple[LinearGaussian, Tensor]:
    initial, noise = (scale @ scale.mT for scale in (model.initial_scale.tril(), model.noise_scale.tril()))
    identity = torch.eye(model.x_dim, dtype=torch.float64)
    matrices = LinearGaussian(
        model.transition.expand(time, -1, -1),
        torch.zeros(time, model.z_dim, 1, dtype=torch.float64),
        model.emission.expand(time, -1, -1),
        noise,
        model.observation_std**2 * identity,
    )
    return matrices, initial


@pytest.fixture(params=[{}, {"x_dim": 1, "z_dim": 3, "seed": 1}, {"x_dim": 4, "z_dim": 1, "observation_std": 0.1}])
def model(request: pytest.FixtureRequest) -> LinearGaussianDVAE:
    return LinearGaussianDVAE(**request.param).double()


@torch.no_grad()
def test_the_log_likelihood_is_that_of_one_big_gaussian(model: LinearGaussianDVAE) -> None:
    x = data(model)
    log_likelihood = model.log_likelihood(x, LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        matrices, initial = system(model, length)
        dense = joint(matrices, torch.zeros(length, 1, dtype=torch.float64), initial)
        torch.testing.assert_close(log_likelihood[i], dense.log_prob(x[i, :length]), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_both_bounds_are_tight_with_the_true_posterior(model: LinearGaussianDVAE) -> None:
    x = data(model)
    for lengths in (None, LENGTHS):
        exact = model.log_likelihood(x, lengths)
        torch.testing.assert_close(expected_elbo(model, x, lengths), exact, rtol=1e-10, atol=1e-9)
        for samples, seed in ((1, 0), (1, 1), (7, 2)):
            bound = model.iwae(x, lengths, samples=samples, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(bound, exact, rtol=1e-10, atol=1e-9)


@torch.no_grad()
def test_a_loose_posterior_costs_its_divergence(model: LinearGaussianDVAE) -> None:
    """The gap of the ELBO is KL(q ‖ p(z | x)): of N(m, s² Σ) from N(m, Σ), the same in every frame."""
    s = 1.3
    loose = LinearGaussianDVAE(**{**model.config, "looseness": s}).double()
    x = data(model)
    exact, elbo = model.log_likelihood(x, LENGTHS), expected_elbo(loose, x, LENGTHS)
    gap = LENGTHS.double() * model.z_dim * (0.5 * (s**2 - 1) - math.log(s))
    torch.testing.assert_close(exact - elbo, gap, rtol=1e-9, atol=1e-9)
    generator = torch.Generator().manual_seed(0)
    repeated = x[:1].expand(200, -1, -1)
    means = [loose.iwae(repeated, samples=samples, generator=generator).mean() for samples in (2, 8, 64)]
    bounds = [expected_elbo(loose, x[:1])[0], *means, model.log_likelihood(x[:1])[0]]
    assert bounds == sorted(bounds)


@torch.no_grad()
def test_the_mean_path_is_the_smoothed_mean(model: LinearGaussianDVAE) -> None:
    x = data(model)
    silence = Latents(torch.zeros(3, 6, model.z_dim, dtype=torch.float64))
    path = model.posterior(x, noise=silence).latents.z
    matrices, initial = system(model, 6)
    batch = matrices._replace(**{name: getattr(matrices, name).expand(3, -1, -1, -1) for name in matrices._fields[:3]})
    filtered = kalman_filter(x, torch.zeros(3, 6, 1, dtype=torch.float64), batch, initial)
    torch.testing.assert_close(path, kalman_smoother(filtered, batch)[0], rtol=1e-9, atol=1e-9)


def test_the_gradient_of_a_tight_bound_is_that_of_the_log_likelihood() -> None:
    model = LinearGaussianDVAE().double()
    x = data(model)
    parameters = list(model.parameters())
    of_bound = torch.autograd.grad(expected_elbo(model, x, LENGTHS).sum(), parameters)
    of_likelihood = torch.autograd.grad(model.log_likelihood(x, LENGTHS).sum(), parameters)
    for bound, likelihood in zip(of_bound, of_likelihood, strict=True):
        torch.testing.assert_close(bound, likelihood, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_a_linear_vae_with_its_best_encoder_is_probabilistic_pca() -> None:
    """Tipping and Bishop (1999): x ~ N(b, W Wᵀ + σ² I), z | x ~ N(M⁻¹ Wᵀ (x - b), σ² M⁻¹), M = Wᵀ W + σ² I."""
    sigma, z_dim, x_dim = 0.7, 2, 4
    model = VAE(x_dim, z_dim, hidden=(), likelihood="fixed_gaussian", observation_std=sigma).double()
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(x_dim, z_dim, generator=generator, dtype=torch.float64)).Q
    W = basis * torch.tensor([2.0, 0.5], dtype=torch.float64)  # orthogonal columns make M diagonal
    b = torch.randn(x_dim, generator=generator, dtype=torch.float64)
    M = (W.mT @ W).diagonal() + sigma**2
    decoder, encoder = model.decoder.layers[0], model.encoder.layers[0]
    decoder.weight.copy_(W)
    decoder.bias.copy_(b)
    encoder.weight.copy_(torch.cat([W.mT / M[:, None], torch.zeros(z_dim, x_dim, dtype=torch.float64)]))
    encoder.bias.copy_(torch.cat([-(W.mT @ b) / M, (sigma**2 / M).log()]))
    x = torch.randn(3, 5, x_dim, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([5, 2, 1])
    law = MultivariateNormal(b, W @ W.mT + sigma**2 * torch.eye(x_dim, dtype=torch.float64))
    exact = law.log_prob(x).where(torch.arange(5) < lengths[:, None], 0).sum(-1)
    torch.testing.assert_close(expected_elbo(model, x, lengths), exact, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(model.iwae(x, lengths, samples=1), exact, rtol=1e-10, atol=1e-9)
