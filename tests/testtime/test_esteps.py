"""Every E-step finds the exact posterior where it is known."""

from __future__ import annotations

import itertools
from typing import Any

import engine_toys as toys
import pytest
import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import VAE, ZOO
from dynvae.testtime import DVAEPrior, NoisySpeech, Scene
from dynvae.testtime.discrete import SpectralStates
from dynvae.testtime.esteps import EncoderTuning, ExactStates, Langevin, MeanField, Metropolis, PointEstimate
from dynvae.testtime.esteps.encoder import encoder_weights

MOVES: tuple[Any, ...] = ("frames", "oddeven", "sequence")
SAMPLERS = {
    "mh": Metropolis(0.3, steps=60, burn_in=10, chains=64),
    "mala": Metropolis(0.1, steps=40, burn_in=10, chains=64, drift=True),
    "langevin": Langevin(0.01, moves=40, chains=256, temperature=1, precondition=None, reach=None),
}


def moments(name: str, moves: Any, sweeps: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, float]]:
    """Sampled mean and variance of the latents, and the exact ones."""
    scene = toys.toy_scene()
    likelihood = toys.Additive(torch.linspace(-1, 2, toys.TIME * toys.BINS, dtype=torch.float64).view(1, toys.TIME, -1))
    prior = toys.LinearPrior(moves)
    mean, variance = toys.exact_posterior(prior, likelihood, scene)
    chain: Any = SAMPLERS[name].start(prior.on(scene), scene, toys.numbers(scene))
    kept = []
    for sweep in range(sweeps):
        statistics = chain.sweep(likelihood)
        if sweep >= 3:
            kept.append(chain.latents.z if hasattr(chain, "latents") else chain.point.latents.z)
    z = torch.cat(kept)
    return z.mean(0, keepdim=True), z.var(0, keepdim=True), mean, variance, statistics.info


@pytest.mark.parametrize(("name", "moves"), list(itertools.product(SAMPLERS, MOVES)))
def test_samplers_find_mean_and_variance(name: str, moves: Any) -> None:
    mean, variance, true_mean, true_variance, info = moments(name, moves)
    deviation = true_variance.sqrt()
    assert ((mean - true_mean) / deviation).abs().max() < 0.2
    assert (variance / true_variance).log().abs().max() < 0.25
    assert ((variance / true_variance).mean() - 1).abs() < 0.07
    if "acceptance" in info:
        assert 0.15 < info["acceptance"] < 0.8


def test_the_missing_half_is_seen() -> None:
    """The published prior energy, without its ½, makes another posterior: the test above would tell."""
    scene, prior = toys.toy_scene(), toys.LinearPrior("frames").on(toys.toy_scene())
    decoded = prior.decode(prior.encode(1))
    shifted = type(decoded)(
        decoded.latents._replace(z=decoded.latents.z + 1), decoded.output, decoded.prior, "published"
    )
    exact = type(decoded)(shifted.latents, decoded.output, decoded.prior)
    assert torch.allclose(shifted.log_prior, torch.full_like(shifted.log_prior, -2.0))
    assert torch.allclose(exact.log_prior - prior.decode(prior.encode(1)).log_prior, torch.tensor(-1.0).double())
    assert scene.valid is None


@pytest.mark.parametrize("moves", MOVES)
def test_the_point_estimate_is_the_mode(moves: Any) -> None:
    scene, likelihood = toys.toy_scene(), toys.Additive(torch.ones(1, toys.TIME, toys.BINS, dtype=torch.float64))
    prior = toys.LinearPrior(moves)
    mean, _ = toys.exact_posterior(prior, likelihood, scene)
    chain = PointEstimate(rate=0.05, steps=100).start(prior.on(scene), scene, toys.numbers(scene))
    for _ in range(4):
        chain.sweep(likelihood)
    torch.testing.assert_close(chain.point.latents.z, mean, rtol=0, atol=1e-3)


@pytest.mark.parametrize("temperature", [1, 2])
def test_dynamics_in_standard_deviations_of_the_posterior_have_its_law(temperature: float) -> None:
    scene = toys.toy_scene()
    likelihood = toys.Additive(torch.linspace(-1, 2, toys.TIME * toys.BINS, dtype=torch.float64).view(1, toys.TIME, -1))
    prior = toys.LinearPrior("oddeven")
    mean, variance = toys.exact_posterior(prior, likelihood, scene)
    settings = Langevin(0.05, moves=100, chains=256, reach=None, temperature=temperature)
    chain = settings.start(prior.on(scene), scene, toys.numbers(scene))
    for _ in range(2):
        chain.sweep(likelihood)  # type: ignore[arg-type]
    z = chain.point.latents.z
    assert ((z.mean(0, keepdim=True) - mean) / variance.sqrt()).abs().max() < 0.25
    assert ((z.var(0, keepdim=True) / variance).mean() / temperature - 1).abs() < 0.1


def test_steps_are_scaled_by_the_curvature_of_the_posterior() -> None:
    scene, likelihood = toys.toy_scene(), toys.Additive(torch.zeros(1, toys.TIME, toys.BINS, dtype=torch.float64))
    prior = toys.LinearPrior("frames")
    settings = Langevin(1e-9, chains=512, every=1, span=2 * toys.TIME + 1)
    chain = settings.start(prior.on(scene), scene, toys.numbers(scene))
    for _ in range(3):
        chain.sweep(likelihood)
    assert chain.variance is not None
    curvature = prior.emission.square().sum(1).mean() / toys.NOISE
    found = 1 / torch.as_tensor(chain.variance[0])
    torch.testing.assert_close(found, (1 + curvature).expand_as(found), rtol=0.05, atol=0)


def test_preconditioned_dynamics_find_the_mode_region() -> None:
    scene, likelihood = toys.toy_scene(), toys.Additive(torch.ones(1, toys.TIME, toys.BINS, dtype=torch.float64))
    prior = toys.LinearPrior("frames")
    mean, variance = toys.exact_posterior(prior, likelihood, scene)
    settings = Langevin(0.002, moves=200, chains=64, temperature=1, precondition="rmsprop")
    chain = settings.start(prior.on(scene), scene, toys.numbers(scene))
    for _ in range(3):
        chain.sweep(likelihood)  # type: ignore[arg-type]
    z = chain.point.latents.z.mean(0, keepdim=True)
    assert ((z - mean) / variance.sqrt()).abs().max() < 0.6


def test_the_tuned_encoder_is_the_exact_posterior() -> None:
    """A linear decoder with orthogonal columns has a posterior of independent dimensions, which q can be."""
    torch.manual_seed(0)
    model = VAE(toys.BINS, toys.SIZE, hidden=()).double()
    columns = torch.linalg.qr(torch.randn(toys.BINS, toys.SIZE, dtype=torch.float64)).Q
    with torch.no_grad():
        model.decoder.layers[0].weight.copy_(columns * torch.tensor([0.8, 1.2]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scene = toys.toy_scene(time=4)
    x = torch.linspace(-1, 1, 4 * toys.BINS, dtype=torch.float64).view(1, 4, -1)
    likelihood = toys.Additive(x)
    decoder = model.decoder.layers[0]
    precision = 1 + (decoder.weight.T @ decoder.weight).diagonal() / toys.NOISE
    mean = ((x - decoder.bias) @ decoder.weight) / toys.NOISE / precision
    prior = DVAEPrior(model).on(scene)
    chain = EncoderTuning(rate=0.02, steps=400, samples=8, clip=None).start(prior, scene, toys.numbers(scene))
    chain.sweep(likelihood)  # type: ignore[arg-type]
    for group in chain.chains[0].adam.param_groups:
        group["lr"] = 1e-3
    chain.sweep(likelihood)  # type: ignore[arg-type]
    law = chain.chains[0].model.posterior(scene.power).z.base_dist
    assert (law.loc - mean).abs().max() < 0.1
    assert (law.scale.square() * precision - 1).abs().max() < 0.4
    assert ((law.scale.square() * precision).mean() - 1).abs() < 0.15
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", list(ZOO))
def test_the_tuned_weights_are_the_encoders(name: str) -> None:
    model = toys.small(name)
    tuned = {id(weight) for weight in encoder_weights(model)}
    names = {key.split(".")[0] for key, weight in model.named_parameters() if id(weight) in tuned}
    expected = {
        "vae": {"encoder"}, "kvae": {"encoder"}, "dkf": {"x_net", "x_rnn", "z_net", "encoder"},
        "srnn": {"hx_net", "backward_rnn", "encoder"}, "rvae": {"x_rnn", "z_rnn", "encoder"},
        "hit": {"w_rnn", "w_encoder", "encoder", "z_encoder"}, "light": {"w_rnn", "w_encoder", "encoder", "z_encoder"},
    }  # fmt: skip
    assert tuned
    assert names == expected.get(name, names)


def test_the_mean_field_law_of_a_latent_that_is_known() -> None:
    """With z known, γ is the prior's variance, and the speech's law that of the Wiener filter."""
    scene = toys.toy_scene()
    model = VAE(toys.BINS, toys.SIZE, hidden=()).double()
    with torch.no_grad():
        model.decoder.layers[0].weight.zero_()  # whatever z is
    gamma = model.decoder.layers[0].bias.exp().detach()
    noise = torch.full_like(scene.power, 0.3)
    chain = MeanField(Metropolis(steps=2, burn_in=0)).start(DVAEPrior(model).on(scene), scene, toys.numbers(scene))
    found = chain.sweep(NoisySpeech(scene, noise, torch.ones(1, toys.TIME, dtype=torch.float64)))
    mask = gamma / (gamma + 0.3)
    assert found.mask is not None
    assert found.noise_power is not None
    torch.testing.assert_close(found.mask, mask.expand_as(scene.power))
    torch.testing.assert_close(found.noise_power, (1 - mask) ** 2 * scene.power + mask * 0.3)


def states(markov: bool, count: int = 3) -> SpectralStates:
    generator = torch.Generator().manual_seed(3)
    variance = torch.rand(count, toys.BINS, generator=generator, dtype=torch.float64) * 2 + 0.05
    initial = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    transitions = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64)
    return SpectralStates(variance, initial, transitions if markov else None)


@pytest.mark.parametrize("markov", [False, True])
def test_the_exact_posterior_of_states_is_that_of_all_paths(markov: bool) -> None:
    prior, scene = states(markov), toys.toy_scene(2, 4, lengths=torch.tensor([4, 3]))
    noise = torch.full_like(scene.power, 0.2)
    likelihood = NoisySpeech(scene, noise, torch.ones(2, 4, dtype=torch.float64))
    found = ExactStates().start(prior.on(scene), scene, toys.numbers(scene)).sweep(likelihood)
    assert found.weight is not None
    assert found.log_evidence is not None
    for index, time in enumerate((4, 3)):
        total = prior.variance + 0.2
        frames = -(scene.power[index, :time, None] / total + total.log()).sum(-1)
        paths = torch.tensor(list(itertools.product(range(3), repeat=time)))
        score = frames[torch.arange(time), paths].sum(1) + prior.initial.log()[paths[:, 0]]
        for t in range(1, time):
            before, now = paths[:, t - 1], paths[:, t]
            law = prior.initial.log()[now] if prior.transitions is None else prior.transitions.log()[before, now]
            score = score + law
        torch.testing.assert_close(found.log_evidence[index], score.logsumexp(0))
        for t, k in itertools.product(range(time), range(3)):
            torch.testing.assert_close(found.weight[index, k, t], score.softmax(0)[paths[:, t] == k].sum())


def test_what_does_not_go_together_is_refused() -> None:
    scene = toys.toy_scene()
    with pytest.raises(ConfigError, match="finitely many states"):
        ExactStates().start(DVAEPrior(VAE(5, 2)).on(scene), scene, toys.numbers(scene))
    with pytest.raises(ConfigError, match="has none"):
        EncoderTuning().start(states(False).on(scene), scene, toys.numbers(scene))
    with pytest.raises(ConfigError, match="take the exact E-step"):
        Langevin().start(states(False).on(scene), scene, toys.numbers(scene))
    with pytest.raises(ConfigError, match="variances of spectra"):
        DVAEPrior(VAE(5, 2, likelihood="gaussian"))


def test_the_fitted_states_explain_what_they_were_fitted_to() -> None:
    truth = states(False)
    generator = torch.Generator().manual_seed(0)
    which = torch.randint(3, (600,), generator=generator)
    uniform = torch.rand(600, toys.BINS, generator=generator, dtype=torch.float64)
    power = truth.variance[which] * -uniform.log()
    fitted = SpectralStates.fit(power, 3, iterations=100, generator=generator)

    def likelihood(prior: SpectralStates) -> float:
        scene = Scene.of(power[None])
        nothing = scene.floor.expand_as(scene.power)
        gain = torch.ones(1, 600, dtype=torch.float64)
        found = ExactStates().start(prior.on(scene), scene, toys.numbers(scene))
        return float(found.sweep(NoisySpeech(scene, nothing, gain)).log_evidence)

    assert likelihood(fitted) > likelihood(truth) - 5
    chain = SpectralStates.fit(power, 3, markov=True, generator=generator)
    assert chain.transitions is not None
    torch.testing.assert_close(chain.transitions.sum(1), torch.ones(3, dtype=torch.float64))
