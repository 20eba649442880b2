"""Checks of sampling: the encoder's recursion, steps against whole sequences, feedback, ancestral sampling."""

from __future__ import annotations

__all__ = ["CHECKS"]

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from dynvae.distributions import BernoulliLikelihood, ComplexGaussianLikelihood, PriorLaw
from dynvae.models import DVAE, Latents
from dynvae.models.minvae import MixtureLaw
from dynvae.models.vsc import SpikeSlab
from dynvae.testing.cases import Check, applies_to, assert_equal, ensure, ladder, moments, observations, seeded


def _push(law: Distribution, noise: Tensor) -> Tensor:
    """The sample that standard normal noise makes of a law."""
    if isinstance(law, SpikeSlab | MixtureLaw):
        return law.push(noise)
    if isinstance(law, MultivariateNormal):
        return law.mean + (law.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
    return law.mean + law.stddev * noise


def check_noise_makes_the_sample(model: DVAE, generator: torch.Generator) -> None:
    """A sample is mean + deviation · noise; with no noise it follows the means."""
    x, noise = observations(model, 2, 4, generator), model.draw_noise(2, 4, generator)
    silence = Latents(torch.zeros_like(noise.z), None if noise.w is None else torch.zeros_like(noise.w))
    for what, given in (("with noise", noise), ("with no noise", silence)):
        posterior = model.posterior(x, noise=given)
        assert_equal(posterior.latents.z, _push(posterior.z, given.z), f"the sample of q {what}")
        if posterior.w is not None and posterior.latents.w is not None and given.w is not None:
            assert_equal(posterior.latents.w, _push(posterior.w, given.w), f"the sample of q(w | x) {what}")
    means = model.resynthesize(x, latents="mean").mean
    assert_equal(means, model.resynthesize(x, noise=silence).mean, "the resynthesis of the mean latents")


def check_posterior_along_a_path(model: DVAE, generator: torch.Generator) -> None:
    """The encoder gives the same laws along a given path as when it drew that path."""
    x, lengths = observations(model, 3, 4, generator), ladder(3, 4)
    for given in (None, lengths):
        drawn = model.posterior(x, given, noise=model.draw_noise(3, 4, generator))
        along = model.posterior(x, given, latents=drawn.latents)
        ensure(torch.equal(along.latents.z, drawn.latents.z), "the latents that were given are not those returned")
        assert_equal(moments(along.z), moments(drawn.z), "q(z | x) along a given path")
        if along.w is not None and drawn.w is not None:
            assert_equal(moments(along.w), moments(drawn.w), "q(w | x) along a given path")


def check_generative_is_both(model: DVAE, generator: torch.Generator) -> None:
    """``generative`` gives what ``prior`` and ``likelihood`` give."""
    x, lengths = observations(model, 3, 4, generator), ladder(3, 4)
    latents = model.posterior(x, lengths, generator=generator).latents
    prior, likelihood = model.generative(latents, x, lengths)
    assert_equal(moments(prior), moments(model.prior(latents, x, lengths)), "the prior")
    assert_equal(moments(likelihood), moments(model.likelihood(latents, x, lengths)), "the likelihood")


@applies_to(lambda model: model.causal)
def check_step_equals_parallel(model: DVAE, generator: torch.Generator) -> None:
    """Frame by frame along a path, prior and likelihood are the same as for the whole sequence."""
    x = observations(model, 2, 5, generator)
    latents = model.posterior(x, generator=generator).latents
    prior, likelihood = model.generative(latents, x)
    state = model.start(2, latents.w)
    steps: dict[str, list[Tensor]] = {"prior": [], "likelihood": []}
    for t in range(5):
        frame, state = model.step(state, z=latents.z[:, t], x=x[:, t])
        steps["prior"].append(moments(frame.prior))
        steps["likelihood"].append(moments(frame.likelihood))
    assert_equal(torch.stack(steps["prior"], 1), moments(prior), "the prior, step by step")
    assert_equal(torch.stack(steps["likelihood"], 1), moments(likelihood), "the likelihood, step by step")


@applies_to(lambda model: model.causal)
def check_step_draws_from_its_laws(model: DVAE, generator: torch.Generator) -> None:
    """A step without given values draws z from its prior and goes on from the likelihood's mean."""
    w = model.draw_noise(2, 1, generator).w
    frame, _ = model.step(model.start(2, w), generator=seeded(3))
    again, state = model.step(model.start(2, w), z=frame.z, x=frame.x)
    assert_equal(frame.x, frame.likelihood.mean, "what is fed back")
    assert_equal(moments(again.likelihood), moments(frame.likelihood), "the likelihood after z was drawn and given")
    other, _ = model.step(model.start(2, w), generator=seeded(4))
    ensure(not torch.equal(other.z, frame.z), "two steps with different seeds draw the same z")
    ensure(model.step(state, generator=seeded(5))[0].x.isfinite().all(), "the second step is not finite")


def check_generation_mode(model: DVAE, generator: torch.Generator) -> None:
    """Generation mode is a loop of steps with the model's means fed back; without feedback it changes nothing."""
    x, lengths = observations(model, 3, 4, generator), ladder(3, 4)
    noise = model.draw_noise(3, 4, generator)
    for given in (None, lengths):
        actual = model.resynthesize(x, given, mode="generation", noise=noise).mean
        if model.autoregressive:
            latents = model.posterior(x, given, noise=noise).latents
            state, means = model.start(3, latents.w), []
            for z in latents.z.unbind(1):
                frame, state = model.step(state, z=z)
                means.append(frame.x)
            expected = torch.stack(means, 1)
        else:
            expected = model.resynthesize(x, given, noise=noise).mean
        valid = torch.ones(3, 4, dtype=torch.bool) if given is None else torch.arange(4) < given.unsqueeze(-1)
        assert_equal(actual[valid], expected[valid], "the resynthesis in generation mode")


def check_free_running(model: DVAE, generator: torch.Generator) -> None:
    """Scheduled sampling goes from teacher forcing at probability 0 to generation mode at 1."""
    x, lengths = observations(model, 3, 4, generator), ladder(3, 4)
    noise = model.draw_noise(3, 4, generator)

    def term(free_running: float) -> Tensor:
        return model.elbo(x, lengths, noise=noise, free_running=free_running, generator=seeded(0)).log_likelihood

    forced, generated = (
        model.resynthesize(x, lengths, mode=mode, noise=noise).log_prob(x).where(torch.arange(4) < lengths[:, None], 0)
        for mode in ("teacher-forced", "generation")
    )
    assert_equal(term(0.0), forced, "probability 0 against teacher forcing")
    assert_equal(term(1.0), generated, "probability 1 against generation mode")
    if model.autoregressive:
        ensure((term(1.0) != term(0.0)).any(), "feeding back the own means changes nothing in an autoregressive model")
        ensure((term(0.5) != term(0.0)).any(), "at probability 0.5 no frame of 12 is the model's own")


def check_sample(model: DVAE, generator: torch.Generator) -> None:
    """Ancestral samples have their shapes and the support of the likelihood."""
    for n, length in ((3, 4), (1, 1)):
        for feedback in ("mean", "sample"):
            drawn = model.sample(n, length, generator=generator, feedback=feedback)
            for name, tensor, size in (
                ("x", drawn.x, model.x_dim), ("mean", drawn.mean, model.x_dim), ("z", drawn.latents.z, model.z_dim),
            ):  # fmt: skip
                shape = (n, length, size)
                ensure(tuple(tensor.shape) == shape, f"{name} has the shape {tuple(tensor.shape)}, expected {shape}")
                ensure(tensor.isfinite().all(), f"{name} is not finite")
            ensure((drawn.latents.w is None) == (model.w_dim == 0), "w is missing, or there although w_dim is 0")
            ensure(torch.equal(drawn.x, drawn.mean) == (feedback == "mean"), f"feedback '{feedback}' is not obeyed")
            if isinstance(model.observation, (ComplexGaussianLikelihood, BernoulliLikelihood)):
                ensure((drawn.x >= 0).all(), "there are negative powers or probabilities")


def check_sample_follows_the_model(model: DVAE, generator: torch.Generator) -> None:
    """The means of ancestral samples are those of the likelihood, given the latents and frames that were drawn."""
    for feedback in ("mean", "sample"):
        drawn = model.sample(3, 4, generator=generator, feedback=feedback)
        expected = model.likelihood(drawn.latents, drawn.x).mean
        assert_equal(drawn.mean, expected, f"means of samples with feedback '{feedback}'")


def check_sample_follows_the_prior(model: DVAE, generator: torch.Generator) -> None:
    """The latents of ancestral samples are distributed as the prior says: whitened, their moments are 0 and 1."""
    n, length = 2000, 3
    drawn = model.sample(n, length, generator=generator)
    with torch.no_grad():
        prior = model.prior(drawn.latents, drawn.x)
        if isinstance(prior, MultivariateNormal):
            error = (drawn.latents.z - prior.mean).unsqueeze(-1)
            white = torch.linalg.solve_triangular(prior.scale_tril, error, upper=False).squeeze(-1)
        elif isinstance(prior, PriorLaw):
            white = prior.white(drawn.latents.z)
        else:
            white = (drawn.latents.z - prior.mean) / prior.stddev
    tolerance = 6 / n**0.5
    ensure(white.mean(0).abs().max() < tolerance, "the latents are off the prior's mean")
    ensure((white.square().mean(0) - 1).abs().max() < 2 * tolerance, "the latents do not have the prior's variance")


CHECKS: tuple[Check, ...] = (
    check_noise_makes_the_sample,
    check_posterior_along_a_path,
    check_generative_is_both,
    check_step_equals_parallel,
    check_step_draws_from_its_laws,
    check_generation_mode,
    check_free_running,
    check_sample,
    check_sample_follows_the_model,
    check_sample_follows_the_prior,
)
