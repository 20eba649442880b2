"""Checks of the condition: gaps are data, nobody looks into them, and no condition at all is one gap."""

from __future__ import annotations

__all__ = ["CHECKS"]

import math
from typing import Any

import torch
from torch import Tensor

from dynvae.condition import Condition
from dynvae.errors import ConfigError
from dynvae.models import DVAE
from dynvae.nn import time_mask
from dynvae.testing.bounds import CONFIDENCE
from dynvae.testing.cases import (
    Check,
    applies_to,
    assert_equal,
    ensure,
    given,
    gradients,
    ladder,
    learned,
    moments,
    observations,
    pick,
    results,
    rounding,
    seeded,
)


def _condition(model: DVAE, batch: int, time: int, generator: torch.Generator) -> Condition:
    condition: Condition = given(model, batch, time, generator)["condition"]
    return condition


def _beside(condition: Condition) -> dict[str, Any]:
    return {"condition": condition}


@applies_to(lambda model: bool(model.condition_dim))
def check_gaps_are_ignored(model: DVAE, generator: torch.Generator) -> None:
    """Garbage where the condition is absent, even NaN, changes no result and no gradient, and gets none."""
    x, noise = observations(model, 3, 5, generator), model.draw_noise(3, 5, generator)
    features, present = _condition(model, 3, 5, generator)
    parameters = learned(model)
    expected = results(model, x, None, noise, condition=Condition(features, present))
    bound = model.elbo(x, noise=noise, condition=Condition(features, present)).total.sum()
    slopes = gradients(bound, parameters.values())
    for garbage in (1e6, math.nan, math.inf):
        spoiled = features.where(present.unsqueeze(-1), garbage).requires_grad_()
        what = f"with {garbage} where the condition is absent"
        assert_equal(results(model, x, None, noise, condition=Condition(spoiled, present)), expected, what)
        bound = model.elbo(x, noise=noise, condition=Condition(spoiled, present)).total.sum()
        of_features, *of_parameters = gradients(bound, (spoiled, *parameters.values()))
        ensure((of_features[~present] == 0).all(), f"{what}: these frames get a gradient")
        for name, actual, right in zip(parameters, of_parameters, slopes, strict=True):
            assert_equal(actual, right, f"{what}: the gradient of {name}", rtol=1e-7)


@applies_to(lambda model: bool(model.condition_dim))
def check_no_condition_is_one_gap(model: DVAE, generator: torch.Generator) -> None:
    """A model without its condition does what it does with one that is absent everywhere."""
    x, lengths, noise = observations(model, 3, 4, generator), ladder(3, 4), model.draw_noise(3, 4, generator)
    nothing = Condition.absent(x, model.condition_dim)
    without, gap = results(model, x, lengths, noise), results(model, x, lengths, noise, condition=nothing)
    assert_equal(without, gap, "without a condition")
    drawn = model.sample(3, 4, generator=seeded(0)).x
    assert_equal(drawn, model.sample(3, 4, generator=seeded(0), condition=nothing).x, "a sample without a condition")


@applies_to(lambda model: bool(model.condition_dim))
def check_condition_in_batches(model: DVAE, generator: torch.Generator) -> None:
    """With its condition, too, a sequence gives the same results in a padded batch as alone, whatever pads it."""
    x, lengths, noise = observations(model, 3, 4, generator), ladder(3, 4), model.draw_noise(3, 4, generator)
    features, present = _condition(model, 3, 4, generator)
    inside = time_mask(lengths, 4)
    padded = Condition(features.where(inside.unsqueeze(-1), 1e3), present | ~inside)
    together = results(model, x, lengths, noise, condition=padded)
    for i, length in enumerate(lengths.tolist()):
        item = slice(i, i + 1)
        own = Condition(features[item, :length], present[item, :length])
        for name, tensor in results(model, x[item, :length], None, pick(noise, item, length), condition=own).items():
            whole = together[name][item]
            whole = whole[:, :length] if whole.dim() > 1 and name != "q(w | x)" else whole
            assert_equal(whole, tensor, f"{name} of a sequence of {length} frames, in a batch and alone")
    several = model.elbo(x, samples=2, generator=seeded(0), condition=Condition(features, present)).total
    repeated = Condition(features, present).repeated(2)
    one_by_one = model.elbo(x.repeat_interleave(2, 0), generator=seeded(0), condition=repeated).total
    assert_equal(several, one_by_one.unflatten(0, (-1, 2)).mean(1), "the ELBO of several samples")


@applies_to(lambda model: bool(model.condition_dim) and model.causal)
def check_condition_step_by_step(model: DVAE, generator: torch.Generator) -> None:
    """Frame by frame each frame sees its condition, and after the last of it none."""
    x, short = observations(model, 2, 5, generator), _condition(model, 2, 3, generator)
    beside = _beside(short.fitted(5))
    latents = model.posterior(x, generator=generator, **beside).latents
    prior, likelihood = model.generative(latents, x, **beside)
    state = model.start(2, latents.w, condition=short)  # type: ignore[call-arg]
    steps: dict[str, list[Tensor]] = {"prior": [], "likelihood": []}
    for t in range(5):
        frame, state = model.step(state, z=latents.z[:, t], x=x[:, t])
        steps["prior"].append(moments(frame.prior))
        steps["likelihood"].append(moments(frame.likelihood))
    assert_equal(torch.stack(steps["prior"], 1), moments(prior), "the prior, step by step")
    assert_equal(torch.stack(steps["likelihood"], 1), moments(likelihood), "the likelihood, step by step")
    for feedback in ("mean", "sample"):
        drawn = model.sample(2, 5, generator=generator, feedback=feedback, **beside)
        expected = model.likelihood(drawn.latents, drawn.x, **beside).mean
        assert_equal(drawn.mean, expected, f"means of samples with feedback '{feedback}'")
    ensure(model.generate(x[:, :2], 3, **beside).x.isfinite().all(), "a continuation is not finite")


def check_condition_is_refused(model: DVAE, generator: torch.Generator) -> None:
    """A condition of other frames or another size is refused with a clear error; any, by a model that sees none."""
    x = observations(model, 2, 3, generator)
    bad = {"that it does not see": Condition.of(x)}
    if model.condition_dim:
        features, present = _condition(model, 2, 3, generator)
        bad = {
            "of another size": Condition(torch.cat([features, features], -1), present),
            "of more frames": Condition(features, present).fitted(4),
            "of fewer sequences": Condition(features[:1], present[:1]),
            "whose gaps have another shape": Condition(features, present[:, :2]),
            "whose gaps are no Booleans": Condition(features, present.float()),
        }
    for what, condition in bad.items():
        for name in ("elbo", "iwae", "resynthesize"):
            try:
                getattr(model, name)(x, condition=condition)
            except (ValueError, ConfigError):
                continue
            except Exception as error:
                kind = type(error).__name__
                raise AssertionError(f"{name}: a condition {what} raises {kind}, expected ValueError") from error
            raise AssertionError(f"{name}: a condition {what} passes without an error")


@applies_to(lambda model: bool(model.condition_dim))
def check_bound_given_the_condition(model: DVAE, generator: torch.Generator) -> None:
    """E[ELBO] ≤ E[ln p(x, z | v) - ln q(z | x, v)]: the divergence is that from the prior that sees the condition."""
    repeats = 2000
    x = observations(model, 1, 3, generator).expand(repeats, -1, -1)
    beside = _condition(model, 1, 3, generator).repeated(repeats)
    with torch.no_grad():
        elbo = model.elbo(x, generator=seeded(1), condition=beside).total
        difference = elbo - model.iwae(x, samples=1, generator=seeded(1), condition=beside)
    mean, error = difference.mean().item(), difference.std().item() / math.sqrt(repeats)
    ensure(
        mean <= CONFIDENCE * error + rounding(elbo),
        f"the ELBO exceeds the mean of ln p(x, z | v) - ln q(z | x, v) by {mean:.4g} ± {error:.2g} nats",
    )


CHECKS: tuple[Check, ...] = (
    check_gaps_are_ignored,
    check_no_condition_is_one_gap,
    check_condition_in_batches,
    check_condition_step_by_step,
    check_condition_is_refused,
    check_bound_given_the_condition,
)
