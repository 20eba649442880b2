"""Mixtures of priors find out which mode is at work, and treat a missing condition as a gap."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import MINVAE, VAE, Condition, build
from dynvae.testtime import EM, NMF, Draws, DVAEPrior, FixedNoise, PriorMixture, Scene, Separated
from dynvae.testtime.discrete import SpectralStates
from dynvae.testtime.esteps import EncoderTuning, EStep, ExactStates, Langevin, MeanField, Metropolis, PointEstimate

BINS, TIME = 24, 120


def voice(seed: int) -> VAE:
    """A model whose spectra have a shape of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VAE(BINS, 3, hidden=(16,))
        with torch.no_grad():
            model.decoder.layers[-1].weight.mul_(2)  # type: ignore[operator]
            model.decoder.layers[-1].bias.copy_(torch.randn(BINS))  # type: ignore[operator]
    return model


def chain(stay: float, time: int, generator: torch.Generator) -> Tensor:
    modes = [0]
    for _ in range(time - 1):
        modes.append(modes[-1] if torch.rand((), generator=generator) < stay else 1 - modes[-1])
    return torch.tensor(modes)


def noisy(clean: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """The power of speech and noise of these powers, ``(time, bins)``."""

    def complex_of(power: Tensor) -> Tensor:
        return torch.polar(power.sqrt(), 2 * math.pi * torch.rand(power.shape, generator=generator, dtype=power.dtype))

    own = -noise * torch.log1p(-torch.rand(clean.shape, generator=generator, dtype=clean.dtype))
    return (complex_of(clean) + complex_of(own)).abs().square()


def two_voices(stay: float, noise: float, seed: int, time: int = TIME) -> tuple[list[VAE], Scene, Tensor]:
    """What two models have drawn in turns, in white noise, and whose turn it was."""
    generator, voices = torch.Generator().manual_seed(seed), [voice(1), voice(2)]
    modes = chain(stay, time, generator)
    drawn = [model.sample(1, time, generator=generator, feedback="sample").x[0] for model in voices]
    clean = torch.where(modes.unsqueeze(1) == 0, *drawn)
    return voices, Scene.of(noisy(clean, noise, generator)[None]), modes


def run(prior: Any, scene: Scene, estep: EStep, iterations: int = 20, noise: Any = None) -> Separated:
    noise = noise or NMF(rank=1, exponent=1.0)
    return EM(estep, noise, iterations=iterations, gains=False, every=1).run(prior, scene, Draws.seeded(0, scene))


def right(found: Separated, modes: Tensor) -> float:
    assert found.modes is not None
    assert torch.allclose(found.modes.sum(1), torch.ones(found.modes.shape[0], found.modes.shape[2]).to(found.modes))
    return float((found.modes[0].argmax(0) == modes).float().mean())


ESTEPS: dict[str, EStep] = {
    "langevin": Langevin(temperature=1.0),
    "metropolis": Metropolis(steps=8, burn_in=0),
    "mean field": MeanField(Metropolis(steps=8, burn_in=4)),
    "point": PointEstimate(rate=0.1, steps=3),
    "encoder": EncoderTuning(rate=1e-2),
}


@pytest.mark.parametrize("estep", ESTEPS)
def test_a_mixture_recovers_its_modes_with_any_estep(estep: str) -> None:
    voices, scene, modes = two_voices(stay=0.5, noise=0.05, seed=0)
    found = run(PriorMixture([DVAEPrior(model) for model in voices]), scene, ESTEPS[estep])
    assert right(found, modes) >= 0.95
    assert found.mask.shape == scene.power.shape
    assert not found.collapsed.any()


def test_a_sticky_chain_is_found_by_a_mixture_that_switches() -> None:
    """Where single frames do not tell, their neighbours do. Both chains of E-steps draw the same numbers."""
    scores = []
    for seed in range(3):
        voices, scene, modes = two_voices(stay=0.95, noise=3.0, seed=seed, time=2 * TIME)
        priors = [DVAEPrior(model) for model in voices]
        for mixture in (PriorMixture(priors), PriorMixture.switching(priors, stay=0.9)):
            scores.append(right(run(mixture, scene, ESTEPS["metropolis"]), modes))
    apart, together = sum(scores[::2]) / 3, sum(scores[1::2]) / 3
    assert together > apart + 0.03
    assert together > 0.85


def spectra(seed: int, states: int = 3) -> SpectralStates:
    generator = torch.Generator().manual_seed(seed)
    variance = torch.randn(states, BINS, generator=generator, dtype=torch.float64).mul(1.5).exp()
    return SpectralStates(variance, torch.full((states,), 1 / states, dtype=torch.float64))


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("switching", [False, True])
def test_em_with_exact_emissions_is_monotone(switching: bool, learn: bool) -> None:
    """With exact E-steps in all modes, -ln p(x) (and the prior of what is learnt) never rises; modes are found."""
    generator, priors = torch.Generator().manual_seed(3), [spectra(1), spectra(2), spectra(3)]
    modes = torch.arange(TIME).div(TIME // 6, rounding_mode="floor") % 3
    state = torch.randint(3, (TIME,), generator=generator)
    variance = torch.stack([prior.variance for prior in priors])[modes, state]
    clean = -variance * torch.log1p(-torch.rand(variance.shape, generator=generator, dtype=torch.float64))
    scene = Scene.of(noisy(clean, 0.3, generator)[None])
    make = PriorMixture.switching if switching else PriorMixture
    found = run(make(priors, learn=learn), scene, ExactStates(), 40, NMF(rank=2))
    steps = found.objective[1:] - found.objective[:-1]
    assert float(steps.max()) < 1e-9
    assert float(found.objective[0] - found.objective[-1]) > 0.01
    assert right(found, modes) >= 0.95


def lips_prior(**options: Any) -> DVAEPrior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = build("av-cvae", x_dim=BINS, z_dim=3, v_dim=4, v_hidden=(6,), hidden=(16,), prior_hidden=())
    return DVAEPrior(model, **options)


def lips(time: int, batch: int = 1, present: Tensor | None = None) -> Condition:
    features = torch.randn(batch, time, 4, generator=torch.Generator().manual_seed(7))
    return Condition.of(features, present)


@pytest.mark.parametrize("estep", ["langevin", "metropolis", "encoder"])
@pytest.mark.parametrize("switching", [False, True])
def test_without_lips_a_mixture_is_its_mode_of_sound(estep: str, switching: bool) -> None:
    _, scene, _ = two_voices(0.5, 0.1, 0, time=30)
    sound = DVAEPrior(voice(1))
    make = PriorMixture.switching if switching else PriorMixture
    for condition in (None, lips(30, present=torch.zeros(1, 30, dtype=torch.bool))):
        seen = Scene.of(scene.power, None, condition)
        found = run(make([sound, lips_prior()]), seen, ESTEPS[estep], 8)
        alone = run(sound, seen, ESTEPS[estep], 8)
        assert torch.equal(found.mask, alone.mask)
        assert found.modes is not None
        assert torch.equal(found.modes[0], torch.tensor([[1.0], [0.0]]).expand(2, 30))


def test_a_mode_that_needs_lips_has_no_say_where_there_are_none() -> None:
    _, scene, _ = two_voices(0.5, 0.1, 0, time=30)
    present = torch.arange(30)[None] % 3 > 0
    mixture = PriorMixture([DVAEPrior(voice(1)), lips_prior()])
    found = run(mixture, Scene.of(scene.power, None, lips(30, present=present)), ESTEPS["metropolis"], 8)
    assert found.modes is not None
    assert (found.modes[0, 1][~present[0]] == 0).all()
    assert (found.modes[0, 1][present[0]] > 0).any()
    spoiled = lips(30, present=present)
    spoiled = Condition(spoiled.features.where(present.unsqueeze(-1), math.nan), present)
    again = run(mixture, Scene.of(scene.power, None, spoiled), ESTEPS["metropolis"], 8)
    assert torch.equal(found.mask, again.mask)


@pytest.mark.parametrize("estep", ["langevin", "metropolis", "mean field", "encoder"])
def test_a_recording_gets_the_same_in_a_batch_as_alone(estep: str) -> None:
    power, lengths = two_voices(0.5, 0.1, 0, time=60)[1].power.view(2, 30, BINS), torch.tensor([30, 21])
    present = torch.rand(2, 30, generator=torch.Generator().manual_seed(1)) < 0.7
    seen = lips(30, 2, present)
    for prior in (PriorMixture.switching([DVAEPrior(voice(1)), lips_prior()]), lips_prior(start="condition")):
        together = run(prior, Scene.of(power, lengths, seen), ESTEPS[estep], 8)
        for index, length in enumerate(lengths.tolist()):
            own = Condition(*(part[index : index + 1, :length] for part in seen))
            alone = run(prior, Scene.of(power[index : index + 1, :length], None, own), ESTEPS[estep], 8)
            torch.testing.assert_close(together.mask[index, :length], alone.mask[0], rtol=1e-3, atol=1e-4)


def test_esteps_may_start_from_what_the_lips_tell() -> None:
    """Where there are lips, at the prior's mean, whatever the noise; elsewhere at the encoder's."""
    _, scene, _ = two_voices(0.5, 0.1, 0, time=12)
    present = torch.arange(12)[None] % 2 == 0
    seen = Scene.of(scene.power, None, lips(12, present=present))
    video, usual = lips_prior(start="condition"), lips_prior()
    z, encoded = video.on(seen).encode(2).z, usual.on(seen).encode(2).z
    told = video.model.foreseen(lips(12, present=present), scene.power)
    assert torch.equal(z[:, present[0]], told[:, present[0]].expand(2, -1, -1))
    assert torch.equal(z[:, ~present[0]], encoded[:, ~present[0]])
    with pytest.raises(ConfigError, match="sees no condition"):
        DVAEPrior(voice(1), start="condition")


def test_min_vae_recovers_which_of_its_priors_made_the_latent() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = MINVAE(BINS, 3, 4, hidden=(16,), v_hidden=(6,))
    with torch.no_grad():
        model.prior_mean.copy_(torch.tensor([[1.5, 1.5, 0.0], [-1.5, -1.5, 0.0]]))
        model.prior_log_variance.fill_(-2.0)
        model.decoder.layers[-1].weight.mul_(3)  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    drawn = model.sample(1, TIME, generator=generator, feedback="sample")
    truth = (drawn.latents.z[0, :, 0] < 0).long()
    scene = Scene.of(noisy(drawn.x[0], 0.05, generator)[None], None, lips(TIME))
    for estep in ("langevin", "metropolis"):
        found = run(DVAEPrior(model), scene, ESTEPS[estep], 40, FixedNoise(torch.tensor(0.05)))
        assert right(found, truth) >= 0.95


def test_bad_mixtures_are_refused() -> None:
    prior, other = DVAEPrior(voice(1)), DVAEPrior(VAE(BINS + 1, 3, hidden=(4,)))
    for make in (
        lambda: PriorMixture([]),
        lambda: PriorMixture([prior, other]),
        lambda: PriorMixture([prior, prior], weights=[0.5, 0.6]),
        lambda: PriorMixture([prior, prior], transitions=torch.ones(2, 2)),
        lambda: PriorMixture([prior, prior], temper=0.0),
        lambda: PriorMixture.switching([prior]),
    ):
        with pytest.raises(ConfigError):
            make()
    with pytest.raises(ConfigError, match="frames"):
        Scene.of(torch.ones(1, 5, BINS), None, lips(4))
