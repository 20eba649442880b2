"""The classical models: exact likelihoods, EM that ascends, and what was put in comes out again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynvae.classics import (
    PPCA,
    GaussianMixture,
    Gaussians,
    HiddenMarkovModel,
    LinearStateSpace,
    Spectra,
    SpectralMixture,
)
from dynvae.classics.chain import best_path, smoothed
from dynvae.errors import ConfigError
from dynvae.testing import expected_elbo

LENGTHS = torch.tensor([40, 12, 1, 33])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain(states: int = 3) -> HiddenMarkovModel:
    mean = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]], dtype=torch.float64)[:states]
    spread = torch.tensor([[1.0, 0.3], [0.3, 0.6]], dtype=torch.float64).expand(states, 2, 2)
    stay = torch.full((states, states), 0.1, dtype=torch.float64).fill_diagonal_(1.1 - 0.1 * states)
    return HiddenMarkovModel(Gaussians(mean, spread), torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), stay)


def ascends(history: Sequence[float]) -> bool:
    return all(after >= before - 1e-9 * abs(before) for before, after in itertools.pairwise(history))


def test_smoothing_equals_enumeration() -> None:
    model = chain()
    x = model.sample(2, 5, generator=generator()).x
    frames = model.emissions.log_prob(x)
    paths = torch.tensor(list(itertools.product(range(3), repeat=5)))
    initial, transitions = model.initial.log(), model.transitions
    assert transitions is not None
    joint = initial[paths[:, 0]] + sum(transitions.log()[paths[:, t - 1], paths[:, t]] for t in range(1, 5))
    joint = joint + sum(frames[:, t, paths[:, t]] for t in range(5))  # (2, paths)
    known = model.posterior(x)
    assert torch.allclose(known.evidence, joint.logsumexp(1))
    weight = joint.softmax(1)
    one_hot = torch.nn.functional.one_hot(paths, 3).double()
    assert torch.allclose(known.log_state.exp(), torch.einsum("bp,ptk->btk", weight, one_hot))
    pairs = torch.einsum("bp,ptk,ptl->bkl", weight, one_hot[:, :-1], one_hot[:, 1:])
    assert torch.allclose(known.pairs, pairs)
    assert torch.equal(model.path(x), paths[joint.argmax(1)])


def test_a_sequence_in_a_padded_batch_is_as_alone() -> None:
    model = chain()
    x = model.sample(4, 40, generator=generator()).x
    known = model.posterior(x, LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        alone = model.posterior(x[i : i + 1, :length])
        assert torch.allclose(known.log_state[i, :length], alone.log_state[0])
        assert torch.allclose(known.evidence[i], alone.evidence[0])
        assert torch.allclose(known.pairs[i], alone.pairs[0])


def test_independent_states_are_a_mixture() -> None:
    frames, initial = torch.randn(2, 3, 4, dtype=torch.float64), torch.full((4,), 0.25, dtype=torch.float64).log()
    known = smoothed(frames, initial, None)
    assert torch.allclose(known.log_state, frames.log_softmax(-1))
    assert torch.allclose(known.evidence, (frames + initial).logsumexp(-1).sum(1))
    assert torch.equal(best_path(frames, initial, None), frames.argmax(-1))


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_mixture_ascends_and_finds_its_states(covariance: str) -> None:
    drawn = chain().sample(4, 400, generator=generator())
    fitted = GaussianMixture.fit(drawn.x, states=3, covariance=covariance, tolerance=1e-8, generator=generator(1))
    assert ascends(fitted.log_likelihood)
    means = fitted.model.emissions.mean
    assert torch.cdist(chain().emissions.mean, means).amin(1).max() < 0.3
    assert fitted.log_likelihood[-1] * drawn.states.numel() == pytest.approx(
        float(fitted.model.log_prob(drawn.x).sum())
    )


def test_chain_ascends_and_finds_its_transitions() -> None:
    truth = chain()
    drawn = truth.sample(4, 500, generator=generator())
    lengths = torch.tensor([500, 400, 500, 300])
    fitted = HiddenMarkovModel.fit(drawn.x, lengths, states=3, tolerance=1e-8, generator=generator(1))
    assert ascends(fitted.log_likelihood)
    order = torch.cdist(truth.emissions.mean, fitted.model.emissions.mean).argmin(1)
    assert truth.transitions is not None
    assert fitted.model.transitions is not None
    assert (fitted.model.transitions[order][:, order] - truth.transitions).abs().max() < 0.06
    independent = GaussianMixture.fit(drawn.x, lengths, states=3, generator=generator(1))
    assert fitted.log_likelihood[-1] > independent.log_likelihood[-1] + 0.2
    assert (order[drawn.states] == fitted.model.path(drawn.x)).double().mean() > 0.95


def test_spectra_ascend_and_are_found() -> None:
    shapes = torch.tensor([[1.0, 0.01, 0.1, 2.0], [0.01, 3.0, 1.0, 0.1]], dtype=torch.float64)
    truth = SpectralMixture(Spectra(shapes), torch.tensor([0.3, 0.7], dtype=torch.float64))
    drawn = truth.sample(2, 1500, generator=generator())
    fitted = SpectralMixture.fit(drawn.x, states=2, iterations=100, tolerance=1e-9, generator=generator(2))
    assert ascends(fitted.log_likelihood)
    order = fitted.model.initial.argsort()
    assert torch.allclose(fitted.model.initial[order], truth.initial, atol=0.05)
    assert (fitted.model.emissions.variance[order] / shapes).log().abs().max() < 0.2


def test_a_state_that_nobody_is_in_starts_again() -> None:
    x = torch.cat([torch.randn(1, 100, 1), 50 + torch.randn(1, 5, 1)], 1).double()
    far = Gaussians(torch.tensor([[0.0], [1e4]]).double(), torch.ones(2, 1).double(), 1e-6)
    better, _ = GaussianMixture(far, torch.tensor([0.5, 0.5]).double()).improved(x)
    assert abs(float(better.emissions.mean[1]) - 50) < 5
    assert better.log_prob(x).isfinite().all()


def test_ppca_of_both_methods_is_the_same_and_exact() -> None:
    truth = PPCA(torch.randn(6, 2, generator=generator()).double(), torch.arange(6).double(), 0.3)
    x = truth.sample(3, 400, generator=generator(1))
    closed = PPCA.fit(x, z_dim=2)
    by_em = PPCA.fit(x, z_dim=2, method="em", tolerance=1e-12, generator=generator(2))
    assert ascends(by_em.log_likelihood)
    assert by_em.log_likelihood[-1] == pytest.approx(closed.log_likelihood[-1], abs=1e-6)
    outer = closed.model.loading @ closed.model.loading.T
    assert torch.allclose(by_em.model.loading @ by_em.model.loading.T, outer, atol=1e-3)
    assert closed.log_likelihood[-1] >= float(truth.log_prob(x).sum()) / 1200
    joint = MultivariateNormal(closed.model.mean, outer + closed.model.noise * torch.eye(6).double())
    assert torch.allclose(closed.model.log_prob(x), joint.log_prob(x).sum(1))


def test_elbo_of_the_exact_encoder_is_the_log_likelihood_of_ppca() -> None:
    truth = PPCA(torch.randn(5, 2, generator=generator()).double(), torch.randn(5).double(), 0.2)
    x = truth.sample(3, 7, generator=generator(1))
    vae = truth.to_vae()
    assert torch.allclose(expected_elbo(vae, x), truth.log_prob(x), rtol=1e-6)
    with torch.no_grad():
        assert torch.allclose(vae.iwae(x, samples=1), truth.log_prob(x), rtol=1e-6)
        vae.encoder.layers[0].bias.add_(0.1)
    assert (expected_elbo(vae, x) < truth.log_prob(x) - 1e-3).all()


def state_space() -> LinearStateSpace:
    turn = 0.95 * torch.tensor([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]], dtype=torch.float64)
    emission = torch.randn(4, 2, generator=generator(3)).double()
    eye = torch.eye(2, dtype=torch.float64)
    return LinearStateSpace(turn, 0.1 * eye, emission, torch.arange(4.0).double(), torch.full((4,), 0.2).double(), eye)


def dense(model: LinearStateSpace, time: int) -> tuple[Tensor, Tensor]:
    """Covariance of all states, and the map from them to all frames."""
    size = len(model.transition)
    covariance = torch.zeros(time, size, time, size, dtype=torch.float64)
    covariance[0, :, 0] = model.initial
    for t in range(1, time):
        covariance[t] = torch.einsum("ij,jsk->isk", model.transition, covariance[t - 1])
        covariance[:, :, t] = covariance[t].permute(1, 2, 0)
        covariance[t, :, t] = (
            model.transition @ covariance[t - 1, :, t - 1] @ model.transition.T + model.transition_noise
        )
    return covariance.reshape(time * size, -1), torch.block_diag(*[model.emission] * time)


def test_state_space_equals_the_dense_gaussian() -> None:
    model, time = state_space(), 5
    x = model.sample(2, time, generator=generator()).x
    prior, emission = dense(model, time)
    noise = torch.diag(model.emission_noise.repeat(time))
    whole = emission @ prior @ emission.T + noise
    law = MultivariateNormal(model.offset.repeat(time), whole)
    assert torch.allclose(model.log_prob(x), law.log_prob(x.flatten(1)))
    gain = prior @ emission.T @ torch.linalg.inv(whole)
    known = model.posterior(x)
    assert torch.allclose(known.mean.flatten(1), (x.flatten(1) - model.offset.repeat(time)) @ gain.T)
    left = (prior - gain @ emission @ prior).reshape(time, 2, time, 2)
    for t in range(time):
        assert torch.allclose(known.covariance[0, t], left[t, :, t])
        if t:
            assert torch.allclose(known.lagged[0, t - 1], left[t, :, t - 1])


def test_state_space_ascends_and_finds_its_frequency() -> None:
    truth = state_space()
    lengths = torch.tensor([150, 80, 150])
    x = truth.sample(3, 150, generator=generator()).x
    fitted = LinearStateSpace.fit(x, lengths, z_dim=2, iterations=60)
    assert ascends(fitted.log_likelihood)
    values = torch.linalg.eigvals(fitted.model.transition)
    assert values.angle().abs().max() == pytest.approx(0.5, abs=0.05)
    assert fitted.log_likelihood[-1] >= float(truth.log_prob(x, lengths).sum()) / int(lengths.sum()) - 0.01
    assert fitted.log_likelihood[-1] > PPCA.fit(x, lengths, z_dim=2).log_likelihood[-1] + 0.1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least as many frames"):
        GaussianMixture.fit(torch.randn(1, 3, 2), states=4)
    with pytest.raises(ConfigError, match="less than x_dim"):
        PPCA.fit(torch.randn(1, 30, 2), z_dim=2)
    with pytest.raises(ConfigError, match="probabilities"):
        GaussianMixture(Gaussians(torch.zeros(2, 1), torch.ones(2, 1)), torch.ones(3) / 3)
    with pytest.raises(ConfigError, match="positive in every bin"):
        Spectra(torch.zeros(2, 3))
