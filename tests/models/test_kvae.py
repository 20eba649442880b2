"""The Kalman VAE is exact: filter, prior, smoother, and the bound of the paper."""

from __future__ import annotations

import pytest
import torch
from dense_gaussian import Joint, diagonal_blocks, joint
from model_toys import small
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynvae.models import KVAE, Latents

STATE = 3


def toy(seed: int = 0) -> KVAE:
    """A small KVAE in float64 whose matrices differ a lot from each other."""
    model = small("kvae", seed=seed).double()
    assert isinstance(model, KVAE)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (model.transitions, model.controls, model.emissions, model.first_input):
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        model.mixture_net.layers[0].weight.mul_(5)
    return model


def path(batch: int = 3, time: int = 4) -> Tensor:
    return torch.randn(batch, time, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def dense(model: KVAE, a: Tensor) -> Joint:
    """The joint law of one sequence, its matrices and inputs fixed at what a path makes them."""
    _, matrices = model.filter(a[None])
    past = torch.cat([model.first_input[None], a[:-1]])
    one = matrices._replace(
        transition=matrices.transition[0], control=matrices.control[0], emission=matrices.emission[0]
    )
    return joint(one, past, 20.0 * torch.eye(STATE, dtype=torch.float64))


@torch.no_grad()
def test_the_prior_is_the_exact_marginal() -> None:
    model, a = toy(), path()
    log_prob = model.prior(Latents(a), torch.zeros(3, 4, 5)).log_prob(a).sum(-1)
    for i in range(3):
        torch.testing.assert_close(log_prob[i], dense(model, a[i]).log_prob(a[i]), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_filter_and_smoother_equal_dense_conditioning() -> None:
    model, a = toy(), path()
    lengths = torch.tensor([4, 2, 1])
    filtered, _ = model.filter(a)
    mean, covariance = model.smooth(a, lengths)
    for i, length in enumerate(lengths.tolist()):
        whole = dense(model, a[i])
        for t in range(4):
            law = whole.given(a[i, : t + 1])
            torch.testing.assert_close(filtered.mean[i, t], law.mean.view(-1, STATE)[t], rtol=1e-9, atol=1e-9)
        law = dense(model, a[i, :length]).given(a[i, :length])
        torch.testing.assert_close(mean[i, :length].flatten(), law.mean, rtol=1e-9, atol=1e-9)
        blocks = diagonal_blocks(law.covariance_matrix, STATE)
        torch.testing.assert_close(covariance[i, :length], blocks, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_the_bound_is_that_of_the_paper() -> None:
    """Eq. 8 of Fraccaro et al. (2017), with z from its exact posterior given a: the same for every z."""
    model = toy()
    x = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    noise = model.draw_noise(2, 4, torch.Generator().manual_seed(3))
    ours = model.iwae(x, samples=1, generator=torch.Generator().manual_seed(3))
    posterior = model.posterior(x, noise=noise)
    a = posterior.latents.z
    x_given_a = model.likelihood(posterior.latents, x).log_prob(x).sum(-1)
    a_given_x = posterior.z.log_prob(a).sum(-1)
    _, matrices = model.filter(a)
    past = torch.cat([model.first_input.expand(2, 1, -1), a[:, :-1]], 1)
    P0 = 20.0 * torch.eye(STATE, dtype=torch.float64)
    for i in range(2):
        z_given_a = dense(model, a[i]).given(a[i])
        for _ in range(3):
            z = z_given_a.sample()
            chain = z.view(-1, STATE)
            joint_law = MultivariateNormal(torch.zeros(STATE, dtype=torch.float64), P0).log_prob(chain[0])
            for t in range(4):
                if t:
                    mean = matrices.transition[i, t] @ chain[t - 1] + matrices.control[i, t] @ past[i, t]
                    joint_law += MultivariateNormal(mean, matrices.transition_noise).log_prob(chain[t])
                emitted = matrices.emission[i, t] @ chain[t]
                joint_law += MultivariateNormal(emitted, matrices.emission_noise).log_prob(a[i, t])
            theirs = x_given_a[i] - a_given_x[i] + joint_law - z_given_a.log_prob(z)
            torch.testing.assert_close(theirs, ours[i], rtol=1e-9, atol=1e-9)


def test_the_first_pseudo_observation_does_not_move_the_first_state() -> None:
    model, a = toy(), path()
    first = model.prior(Latents(a), torch.zeros(3, 4, 5))
    assert torch.equal(first.mean[:, 0], torch.zeros(3, 3, dtype=torch.float64))


@pytest.mark.parametrize(("lr", "steps"), [(2e-3, 200), (1e-2, 60)])
def test_training_in_float32_is_stable(lr: float, steps: int) -> None:
    """The published one lost positive definiteness within a few steps at 2e-3, and was trained at 3e-6."""
    model = small("kvae", x_dim=32, z_dim=8, state_dim=8, mixtures=5, mixture_rnn=16, decoder_hidden=(32,))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    bounds = []
    for _ in range(steps):
        loudness = (3 * torch.randn(8, 12, 1, generator=generator)).exp()
        x = loudness * -torch.rand(8, 12, 32, generator=generator).clamp(min=1e-6).log()
        loss = -model.elbo(x, generator=generator).per_frame
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        optimizer.step()
        bounds.append(-loss.item())
    assert torch.tensor(bounds).isfinite().all()
    assert sum(bounds[-20:]) > sum(bounds[:20])
    with torch.no_grad():
        long = -torch.rand(1, 600, 32, generator=generator).clamp(min=1e-6).log()
        assert model.elbo(long, generator=generator).total.isfinite().all()
