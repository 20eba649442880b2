"""The EM engine: its objective, batches, seeds, and what must never change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import engine_toys as toys
import pytest
import torch

from dynvae.errors import ConfigError
from dynvae.models import ZOO
from dynvae.testtime import EM, NMF, DVAEPrior, FixedNoise, NoisySpeech, Scene, StationaryNoise
from dynvae.testtime.discrete import SpectralStates
from dynvae.testtime.esteps import EncoderTuning, ExactStates, Langevin, MeanField, Metropolis, PointEstimate
from dynvae.testtime.noise import update_gain

ESTEPS: dict[str, Any] = {
    "langevin": Langevin(chains=2),
    "preconditioned": Langevin(1e-3, chains=2, moves=2, precondition="rmsprop", smooth=0.1),
    "mh": Metropolis(steps=3, burn_in=1, chains=2),
    "mala": Metropolis(1e-3, steps=3, burn_in=1, drift=True),
    "point": PointEstimate(steps=2),
    "point and gain": PointEstimate(steps=2, gain_prior=(1.1, 1.1)),
    "encoder": EncoderTuning(samples=2),
    "mean field": MeanField(Metropolis(steps=3, burn_in=1)),
}


REFUSED = {"vsc": "no E-step", "vq-vae": "no E-step", "mvae": "complex_gaussian", "mdvae": "complex_gaussian"}
PRIORS = [name for name in ZOO if name not in REFUSED]


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_what_is_no_prior_of_speech(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        DVAEPrior(toys.small(name))


@pytest.mark.parametrize(("name", "estep"), list(product(PRIORS, ESTEPS)))
def test_every_prior_goes_with_every_estep(name: str, estep: str) -> None:
    model = toys.small(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scene = toys.toy_scene(2, 7, lengths=torch.tensor([7, 5]))
    found = EM(ESTEPS[estep], NMF(2), iterations=2).run(DVAEPrior(model), scene, toys.numbers(scene))
    assert found.objective.isfinite().all()
    assert ((found.mask >= 0) & (found.mask <= 1)).all()
    assert found.mask[1, :5].isfinite().all()
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("feedback", ["estimate", "own", "noisy"])
@pytest.mark.parametrize("name", ["srnn", "vrnn", "hit"])
def test_what_an_autoregressive_prior_is_fed(name: str, feedback: Any) -> None:
    scene = toys.toy_scene(1, 7)
    prior = DVAEPrior(toys.small(name), feedback=feedback)
    assert prior.local == (name == "srnn" and feedback != "own")
    conditioned = prior.on(scene)
    latents = conditioned.encode(3)
    first = conditioned.decode(latents).output
    conditioned.feed(2 * scene.power)
    assert conditioned.fed == (feedback == "estimate")
    assert torch.equal(conditioned.decode(latents).output, first) == (feedback != "estimate")
    if feedback == "own":
        model = prior.model
        past = model.fed_back(latents, scene.power.expand(3, -1, -1))
        expected: Any = model.likelihood(latents, past)
        torch.testing.assert_close(first, expected.log_variance)


@pytest.mark.parametrize("name", PRIORS)
def test_what_is_shared_between_samples_does_not_depend_on_them(name: str) -> None:
    scene, model = toys.toy_scene(2, 7, lengths=torch.tensor([7, 5])), toys.small(name)
    conditioned = DVAEPrior(model).on(scene)
    latents = conditioned.encode(2)
    shaken = type(latents)(*(None if part is None else part + torch.randn_like(part) for part in latents))
    found = conditioned.decode(shaken)
    x, lengths = scene.power.repeat_interleave(2, 0), torch.tensor([7, 7, 5, 5])
    prior, likelihood = model.generative(shaken, x, lengths)
    valid = torch.arange(7) < lengths.unsqueeze(1)
    torch.testing.assert_close(found.output[valid], likelihood.log_variance[valid])  # type: ignore[attr-defined]
    torch.testing.assert_close(found.log_prior[valid], prior.log_prob(shaken.z)[valid])


@pytest.mark.parametrize(("markov", "exponent"), [(False, 0.5), (True, 0.5), (False, 1.0), (True, 1.0)])
def test_the_likelihood_never_falls_with_an_exact_estep(markov: bool, exponent: float) -> None:
    generator = torch.Generator().manual_seed(1)
    variance = torch.rand(4, 12, generator=generator, dtype=torch.float64).square() * 4 + 1e-3
    transitions = (0.8 * torch.eye(4) + 0.05).double() if markov else None
    prior = SpectralStates(variance, torch.full((4,), 0.25, dtype=torch.float64), transitions)
    scene = toys.toy_scene(3, 40, 12, lengths=torch.tensor([40, 33, 7]))
    em = EM(ExactStates(), NMF(3, exponent=exponent), iterations=80, every=1)
    found = em.run(prior, scene, toys.numbers(scene))
    assert found.objective.shape == (80, 3)
    assert (found.objective.diff(dim=0) <= 1e-12).all()
    assert (found.objective[-1] < found.objective[0] - 0.01).all()


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_no_m_step_increases_the_objective_of_fixed_samples(exponent: float) -> None:
    scene = toys.toy_scene(2, 9, 8)
    generator = torch.Generator().manual_seed(2)
    speech = torch.rand(2 * 3, 9, 8, generator=generator, dtype=torch.float64)
    noise = NMF(2, exponent=exponent).start(scene, toys.numbers(scene))
    gain = torch.ones(2, 9, dtype=torch.float64)
    costs = []
    for _ in range(30):
        costs.append(NoisySpeech(scene, noise.variance, gain).cost(speech))
        noise.update(lambda variance, gain=gain: NoisySpeech(scene, variance, gain).noise_sums(speech))
        costs.append(NoisySpeech(scene, noise.variance, gain).cost(speech))
        gain = update_gain(gain, NoisySpeech(scene, noise.variance, gain), speech, None, 0.0)
    assert all((after <= before + 1e-12).all() for before, after in pairwise(costs))


def test_the_complete_data_form_is_the_marginal_one_without_speech() -> None:
    scene = toys.toy_scene(1, 9, 8)
    ones, nothing = torch.ones(1, 9, dtype=torch.float64), torch.zeros(1, 9, 8, dtype=torch.float64)
    marginal, complete = (NMF(2).start(scene, toys.numbers(scene)) for _ in range(2))
    for _ in range(5):
        marginal.update(lambda variance: NoisySpeech(scene, variance, ones).noise_sums(nothing))
        complete.update(lambda variance: (scene.power / variance.square(), 1 / variance))
    torch.testing.assert_close(marginal.variance, complete.variance)


def test_stationary_noise_learns_the_mean_spectrum_of_noise() -> None:
    scene = toys.toy_scene(1, 300, 4)
    noise = StationaryNoise().start(scene, toys.numbers(scene))
    start = 5 * noise.variance[0, 0]
    noise.variance = start.expand_as(scene.power)  # type: ignore[misc]
    ones, nothing = torch.ones(1, 300, dtype=torch.float64), torch.zeros_like(scene.power)
    for _ in range(60):
        noise.update(lambda variance: NoisySpeech(scene, variance, ones).noise_sums(nothing))
    torch.testing.assert_close(noise.variance[0, 7], scene.power.mean((0, 1)))


def test_noise_that_is_known_stays() -> None:
    scene = toys.toy_scene(1, 7)
    known = torch.full((toys.BINS,), 0.25, dtype=torch.float64)
    em = EM(Langevin(chains=1), FixedNoise(known), iterations=3)
    found = em.run(DVAEPrior(toys.small("vae")), scene, toys.numbers(scene))
    assert torch.equal(found.noise, known.expand_as(scene.power))


@pytest.mark.parametrize(
    ("name", "estep"),
    [*product(["rvae"], ESTEPS), *product(["srnn", "dkf", "kvae"], ["langevin", "mh"]), ("srnn", "encoder")],
)
def test_a_batch_is_its_recordings_one_by_one(name: str, estep: str) -> None:
    lengths = torch.tensor([9, 5, 7])
    scene = toys.toy_scene(3, 9, lengths=lengths)
    prior = DVAEPrior(toys.small(name))
    em = EM(ESTEPS[estep], NMF(2), iterations=3, average=2)
    together = em.run(prior, scene, toys.numbers(scene))
    for index, time in enumerate(lengths):
        one = scene.one(index)
        alone = em.run(prior, one, toys.numbers(one))
        torch.testing.assert_close(together.mask[index, :time], alone.mask[0], rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(together.objective[:, index], alone.objective[:, 0], rtol=1e-6, atol=1e-8)


def test_padding_changes_nothing() -> None:
    scene = toys.toy_scene(2, 9, lengths=torch.tensor([9, 5]))
    power = scene.power.clone()
    power[1, 5:] = torch.nan
    spoiled = Scene.of(power, torch.tensor([9, 5]))
    em = EM(Langevin(chains=2), NMF(2), iterations=4)
    prior = DVAEPrior(toys.small("rvae"))
    first, second = (em.run(prior, s, toys.numbers(s)) for s in (scene, spoiled))
    assert torch.equal(first.mask[0], second.mask[0])
    assert torch.equal(first.mask[1, :5], second.mask[1, :5])


def test_the_seed_decides_and_the_global_generator_does_not() -> None:
    scene, prior, em = toys.toy_scene(), DVAEPrior(toys.small("vae")), EM(Langevin(), NMF(2), iterations=3)
    torch.manual_seed(1)
    first = em.run(prior, scene, toys.numbers(scene, 4)).mask
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second, other = (em.run(prior, scene, toys.numbers(scene, seed)).mask for seed in (4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_it_stops_when_nothing_changes_any_more() -> None:
    prior = SpectralStates(torch.ones(1, toys.BINS).double(), torch.ones(1).double())
    scene, told = toys.toy_scene(1, 30), []
    em = EM(ExactStates(), NMF(1), iterations=5000, tolerance=1e-7, every=5)
    found = em.run(prior, scene, toys.numbers(scene), lambda *numbers: told.append(numbers))
    assert found.iterations[-1] < 5000
    assert [number for number, *_ in told] == found.iterations
    longer = replace(em, tolerance=0.0, iterations=2 * found.iterations[-1]).run(prior, scene, toys.numbers(scene))
    assert (longer.objective[-1] - found.objective[-1]).abs() < 1e-4


def test_settings_out_of_range_are_refused() -> None:
    for make in (
        lambda: EM(Langevin(), NMF(), iterations=0),
        lambda: NMF(0),
        lambda: NMF(exponent=2.0),
        lambda: Langevin(step=0.0),
        lambda: Langevin(precondition="adam"),  # type: ignore[arg-type]
        lambda: Metropolis(steps=5, burn_in=5),
        lambda: Metropolis(accept="all"),  # type: ignore[arg-type]
        lambda: PointEstimate(steps=0),
        lambda: EncoderTuning(rate=-1.0),
        lambda: DVAEPrior(toys.small("vae"), feedback="clean"),  # type: ignore[arg-type]
        lambda: SpectralStates(torch.zeros(2, 3), torch.ones(2)),
        lambda: SpectralStates(torch.ones(2, 3), torch.ones(3)),
    ):
        with pytest.raises(ConfigError):
            make()
