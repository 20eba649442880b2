"""Checks of the bounds and their gradients."""

from __future__ import annotations

__all__ = ["CHECKS"]

import copy
import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from dynvae.distributions import BernoulliLikelihood, ComplexGaussianLikelihood, PriorLaw
from dynvae.models import DVAE
from dynvae.testing.cases import (
    Check,
    applies_to,
    assert_equal,
    ensure,
    given,
    gradients,
    kinds,
    ladder,
    learned,
    observations,
    rounding,
    seeded,
)

CONFIDENCE = 5.0
"""Standard errors that a Monte Carlo mean may be off: by chance once in a million."""


def check_kl_is_not_negative(model: DVAE, generator: torch.Generator) -> None:
    """KL ≥ 0 in every frame and dimension, and for the sequence-level latent."""
    x = observations(model, 8, 4, generator)
    elbo = model.elbo(x, generator=generator)
    ensure(elbo.kl.min() >= -rounding(elbo.kl), f"the KL of a frame is {elbo.kl.min().item():.4g}")
    if elbo.kl_w is not None:
        ensure(elbo.kl_w.min() >= -rounding(elbo.kl_w), f"the KL of w is {elbo.kl_w.min().item():.4g}")


def check_kl_of_equal_laws(model: DVAE, generator: torch.Generator) -> None:
    """The KL term is zero where the prior is the posterior."""
    x, noise = observations(model, 2, 3, generator), model.draw_noise(2, 3, generator)
    posterior = model.posterior(x, noise=noise)
    likelihood = model.likelihood(posterior.latents, x)
    model.generative = lambda *_: (posterior.z, likelihood)  # type: ignore[method-assign]
    model.prior = lambda *_: posterior.z  # type: ignore[method-assign]
    worst = model.elbo(x, noise=noise).kl.abs().max().item()
    ensure(worst < rounding(posterior.latents.z), f"KL(q ‖ q) is {worst:.4g}")


def check_elbo_terms(model: DVAE, generator: torch.Generator) -> None:
    """The ELBO is ln p(x | z) less the divergence that torch.distributions knows, and the terms add up."""
    x, noise = observations(model, 2, 3, generator), model.draw_noise(2, 3, generator)
    elbo, posterior = model.elbo(x, noise=noise), model.posterior(x, noise=noise)
    prior, likelihood = model.generative(posterior.latents, x)
    assert_equal(elbo.log_likelihood, likelihood.log_prob(x), "the log-likelihood term")
    total = elbo.log_likelihood.sum(-1) - elbo.kl.sum((-2, -1)) - (0 if elbo.kl_w is None else elbo.kl_w)
    assert_equal(elbo.total, total, "the ELBO against the sum of its terms")
    terms = elbo.terms()
    summed = terms["log_likelihood"] - terms["kl"] - terms.get("kl_w", 0)
    assert_equal(terms["elbo"], summed, "the ELBO per frame against its terms")
    try:
        divergence = kl_divergence(posterior.z, prior)
    except NotImplementedError:
        return
    assert_equal(elbo.kl.sum(-1), divergence, "the KL term")


def check_elbo_is_expected_log_weight(model: DVAE, generator: torch.Generator) -> None:
    """E[ELBO] = E[ln p(x, z) - ln q(z | x)], or less where the divergence is a bound: all constants are there."""
    repeats = 3000
    x = observations(model, 1, 3, generator).expand(repeats, -1, -1)
    with torch.no_grad():
        elbo = model.elbo(x, generator=seeded(1)).total
        difference = elbo - model.iwae(x, samples=1, generator=seeded(1))
        posterior = model.posterior(x[:1], generator=seeded(1))
        prior = model.prior(posterior.latents, x[:1])
    mean, error = difference.mean().item(), difference.std().item() / math.sqrt(repeats)
    exact = all(law.exact for law in (prior, posterior.z) if isinstance(law, PriorLaw))
    ensure(
        (abs(mean) if exact else mean) <= CONFIDENCE * error + rounding(elbo),
        f"the ELBO exceeds the mean of ln p(x, z) - ln q(z | x) by {mean:.4g} ± {error:.2g} nats",
    )


def check_bounds_are_ordered(model: DVAE, generator: torch.Generator) -> None:
    """In expectation the ELBO is at most the IWAE bound, which grows with the number of samples."""
    repeats = 400
    x = observations(model, 1, 3, generator).expand(repeats, -1, -1)
    with torch.no_grad():
        draws = {"the ELBO": model.elbo(x, generator=generator).total}
        for samples in (1, 4, 16):
            draws[f"the IWAE bound of {samples} samples"] = model.iwae(x, samples=samples, generator=generator)
    names = list(draws)
    for low, high in pairwise(names):
        gap = (draws[high].mean() - draws[low].mean()).item()
        error = math.sqrt((draws[low].var() + draws[high].var()).item() / repeats)
        slack = CONFIDENCE * error + rounding(draws[high])
        ensure(gap >= -slack, f"{high} is {-gap:.4g} ± {error:.2g} nats below {low}")


def check_iwae_averages_weights(model: DVAE, generator: torch.Generator) -> None:
    """The IWAE bound of K samples is the log of the mean of K weights."""
    samples = 5
    x, lengths = observations(model, 3, 4, generator), ladder(3, 4)
    together = model.iwae(x, lengths, samples=samples, generator=seeded(1))
    repeated = (tensor.repeat_interleave(samples, 0) for tensor in (x, lengths))
    one_by_one = model.iwae(*repeated, samples=1, generator=seeded(1))
    expected = one_by_one.unflatten(0, (-1, samples)).logsumexp(1) - math.log(samples)
    assert_equal(together, expected, "the IWAE bound against the mean of its weights")


def check_elbo_averages_samples(model: DVAE, generator: torch.Generator) -> None:
    """The ELBO of K samples is the mean of K ELBOs."""
    samples = 3
    x, lengths = observations(model, 2, 4, generator), ladder(2, 4)
    noise = model.draw_noise(2 * samples, 4, generator)
    together = model.elbo(x, lengths, samples=samples, noise=noise)
    ensure(torch.equal(together.lengths, lengths), f"the lengths {lengths.tolist()} became {together.lengths.tolist()}")
    repeated = (tensor.repeat_interleave(samples, 0) for tensor in (x, lengths))
    expected = model.elbo(*repeated, noise=noise).total.unflatten(0, (-1, samples)).mean(1)
    assert_equal(together.total, expected, "the ELBO of several samples")


def check_gradients_reach_parameters(model: DVAE, generator: torch.Generator) -> None:
    """The ELBO trains every parameter: all gradients exist, are finite, and some element of each is not zero."""
    x, lengths = observations(model, 8, 5, generator), ladder(8, 5)
    beside = given(model, 8, 5, seeded(0))
    model.elbo(x, lengths, generator=generator, **beside).per_frame.backward()
    for name, parameter in learned(model).items():
        ensure(parameter.grad is not None, f"{name} gets no gradient")
        assert parameter.grad is not None
        ensure(parameter.grad.isfinite().all(), f"the gradient of {name} is not finite")
        ensure((parameter.grad != 0).any(), f"the gradient of {name} is zero")


@applies_to(lambda model: not model.discrete, dtype=torch.float64)
def check_gradients_are_right(model: DVAE, generator: torch.Generator) -> None:
    """The gradients of both bounds, for parameters and observations together, equal finite differences."""
    x, lengths = observations(model, 2, 3, generator).clamp(min=0.1), torch.tensor([3, 2])
    noise, beside = model.draw_noise(2, 3, generator), given(model, 2, 3, seeded(0))
    inputs = {"the observations": x, **learned(model)}

    def bounds() -> dict[str, Tensor]:
        elbo = model.elbo(x, lengths, noise=noise, **beside).total
        iwae = model.iwae(x, lengths, samples=2, generator=seeded(0), **beside)
        return {"the ELBO": elbo.sum(), "the IWAE bound": iwae.sum()}

    def random_direction(length: float) -> list[Tensor]:
        noise = [torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) for tensor in inputs.values()]
        return [length * tensor / tensor.norm() for tensor in noise]

    def go(direction: list[Tensor], factor: float) -> None:
        with torch.no_grad():
            for tensor, step in zip(inputs.values(), direction, strict=True):
                tensor.add_(step, alpha=factor)

    go(random_direction(0.05), 1.0)  # away from zeros, where relu has no derivative
    x.clamp_(min=0.01).requires_grad_()
    slopes = {name: gradients(bound, inputs.values()) for name, bound in bounds().items()}
    for _ in range(3):
        direction, small = random_direction(1.0), 1e-5
        go(direction, small)
        above = bounds()
        go(direction, -2 * small)
        below = bounds()
        go(direction, small)
        for name, slope in slopes.items():
            stated = sum((g * step).sum() for g, step in zip(slope, direction, strict=True))
            found = (above[name] - below[name]) / (2 * small)
            assert_equal(torch.as_tensor(stated), found.detach(), f"the slope of {name}", rtol=1e-5, atol=1e-6)


def check_extreme_inputs(model: DVAE, generator: torch.Generator) -> None:
    """Silence, very loud and constant frames give finite bounds and gradients in float32."""
    single = copy.deepcopy(model).float()
    transforms = getattr(model, "transforms", (model.input_transform,))
    if any(isinstance(kind, ComplexGaussianLikelihood) for kind in kinds(model)) or "log" in transforms:
        values: tuple[float, ...] = (0.0, 1e-30, 1.0, 1e8)
    elif any(isinstance(kind, BernoulliLikelihood) for kind in kinds(model)):
        values = (0.0, 0.5, 1.0)
    else:
        values = (-1e6, 0.0, 1.0, 1e6)
    parameters = learned(single)
    for value in values:
        x = torch.full((2, 4, model.x_dim), value)
        elbo = single.elbo(x, generator=generator)
        for name, term in (("log-likelihood", elbo.log_likelihood), ("KL", elbo.kl), ("ELBO", elbo.total)):
            ensure(term.isfinite().all(), f"the {name} of frames of {value} is not finite")
        for name, slope in zip(parameters, gradients(elbo.per_frame, parameters.values()), strict=True):
            ensure(slope.isfinite().all(), f"the gradient of {name} on frames of {value} is not finite")
        for mode in ("teacher-forced", "generation"):
            mean = single.resynthesize(x, mode=mode, generator=generator).mean
            ensure(mean.isfinite().all(), f"the {mode} resynthesis of frames of {value} is not finite")
        iwae = single.iwae(x, samples=2, generator=generator)
        ensure(iwae.isfinite().all(), f"the IWAE bound of frames of {value} is not finite")


CHECKS: tuple[Check, ...] = (
    check_kl_is_not_negative,
    check_kl_of_equal_laws,
    check_elbo_terms,
    check_elbo_is_expected_log_weight,
    check_bounds_are_ordered,
    check_iwae_averages_weights,
    check_elbo_averages_samples,
    check_gradients_reach_parameters,
    check_gradients_are_right,
    check_extreme_inputs,
)
