"""Checks of time: padding, lengths, batches, and who may depend on whom."""

from __future__ import annotations

__all__ = ["CHECKS"]

import math

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import DVAE, Latents
from dynvae.nn import time_mask
from dynvae.testing.cases import (
    Check,
    applies_to,
    assert_equal,
    ensure,
    gradients,
    ladder,
    learned,
    moments,
    observations,
    pick,
    results,
    seeded,
)

GARBAGE = (1e6, -1e6, math.nan, math.inf)


def _spoiled(x: Tensor, lengths: Tensor, garbage: float) -> Tensor:
    return x.where(time_mask(lengths, x.shape[1]).unsqueeze(-1), garbage)


def check_padding_is_ignored(model: DVAE, generator: torch.Generator) -> None:
    """Garbage in the padding, even NaN, changes no result."""
    x, lengths = observations(model, 4, 4, generator), ladder(4, 4)
    noise = model.draw_noise(4, 4, generator)
    expected = results(model, x, lengths, noise)
    iwae = model.iwae(x, lengths, samples=2, generator=seeded(0))
    for garbage in GARBAGE:
        spoiled = _spoiled(x, lengths, garbage)
        assert_equal(results(model, spoiled, lengths, noise), expected, f"with {garbage} in the padding")
        again = model.iwae(spoiled, lengths, samples=2, generator=seeded(0))
        assert_equal(again, iwae, f"with {garbage} in the padding: the IWAE bound")


def check_padding_gets_no_gradient(model: DVAE, generator: torch.Generator) -> None:
    """Garbage in the padding, even NaN, changes no gradient, and the padding itself gets none."""
    x, lengths = observations(model, 4, 4, generator), ladder(4, 4)
    noise = model.draw_noise(4, 4, generator)
    valid = time_mask(lengths, 4)
    parameters = learned(model)

    def losses(x: Tensor) -> dict[str, Tensor]:
        posterior = model.posterior(x, lengths, noise=noise)
        prior, likelihood = model.generative(posterior.latents, x, lengths)
        return {
            "the ELBO": model.elbo(x, lengths, noise=noise).total.sum(),
            "the IWAE bound": model.iwae(x, lengths, samples=2, generator=seeded(0)).sum(),
            "the posterior": moments(posterior.z)[valid].sum(),
            "the prior": moments(prior)[valid].sum(),
            "the likelihood": moments(likelihood)[valid].log1p().sum(),
            "the resynthesis": model.resynthesize(x, lengths, noise=noise).mean[valid].sum(),
        }

    expected = {name: gradients(loss, parameters.values()) for name, loss in losses(x).items()}
    for garbage in GARBAGE:
        spoiled = _spoiled(x, lengths, garbage).requires_grad_()
        for name, loss in losses(spoiled).items():
            for_x, *for_parameters = gradients(loss, (spoiled, *parameters.values()))
            what = f"with {garbage} in the padding: gradient of {name}"
            ensure((for_x[~valid] == 0).all(), f"{what} with respect to the padding is not zero")
            for label, actual, right in zip(parameters, for_parameters, expected[name], strict=True):
                assert_equal(actual, right, f"{what} with respect to {label}", rtol=1e-7)


def check_padded_terms_are_zero(model: DVAE, generator: torch.Generator) -> None:
    """Padded frames are exactly zero in every term of the ELBO, and means are over valid frames only."""
    x, lengths = observations(model, 4, 4, generator), ladder(4, 4)
    elbo = model.elbo(x, lengths, generator=generator)
    padded = ~time_mask(lengths, 4)
    ensure((elbo.log_likelihood[padded] == 0).all(), "the log-likelihood of padded frames is not zero")
    ensure((elbo.kl[padded] == 0).all(), "the KL of padded frames is not zero")
    assert_equal(elbo.per_frame, elbo.total.sum() / lengths.sum(), "the ELBO per frame")


def check_batch_equals_loop(model: DVAE, generator: torch.Generator) -> None:
    """A sequence gives the same results in a padded batch as alone and cut to its length."""
    x, lengths = observations(model, 4, 4, generator), ladder(4, 4)
    noise = model.draw_noise(4, 4, generator)
    together = results(model, x, lengths, noise)
    for i, length in enumerate(lengths.tolist()):
        item = slice(i, i + 1)
        alone = results(model, x[item, :length], None, pick(noise, item, length))
        for name, tensor in alone.items():
            whole = together[name][item]
            whole = whole[:, :length] if whole.dim() > 1 and name != "q(w | x)" else whole
            assert_equal(whole, tensor, f"{name} of a sequence of {length} frames, in a batch and alone")


def check_full_lengths(model: DVAE, generator: torch.Generator) -> None:
    """Lengths that cover everything are the same as no lengths."""
    x, noise = observations(model, 3, 4, generator), model.draw_noise(3, 4, generator)
    full = results(model, x, torch.full((3,), 4), noise)
    assert_equal(full, results(model, x, None, noise), "with and without full lengths")


def check_lengths_are_refused(model: DVAE, generator: torch.Generator) -> None:
    """Lengths that cannot be are refused with a clear error."""
    x = observations(model, 2, 3, generator)
    for lengths in ([3, 0], [3, -1], [4, 3], [3], [3, 3, 3], [[3, 3]], [3.0, 2.5]):
        for name in ("elbo", "iwae", "resynthesize"):
            try:
                getattr(model, name)(x, torch.tensor(lengths))
            except (ValueError, ConfigError):
                continue
            except Exception as error:
                kind = type(error).__name__
                raise AssertionError(f"{name}: lengths {lengths} raise {kind}, expected ValueError") from error
            raise AssertionError(f"{name}: lengths {lengths} for 2 sequences of 3 frames pass without an error")


def check_nothing_sees_what_it_predicts(model: DVAE, generator: torch.Generator) -> None:
    """Prior and encoder at t see z before t only; prior and likelihood at t see x before t only."""
    time = 4
    x = observations(model, 2, time, generator).requires_grad_()
    drawn = model.posterior(x.detach(), generator=generator).latents
    z = drawn.z.detach().requires_grad_()
    path = Latents(z, None if drawn.w is None else drawn.w.detach())
    prior, likelihood = model.generative(path, x)
    laws = {
        "prior": (moments(prior), (("x", x), ("z", z))),
        "likelihood": (moments(likelihood), (("x", x),)),
        "posterior": (moments(model.posterior(x, latents=path).z), (("z", z),)),
    }
    for law, (tensor, inputs) in laws.items():
        weights = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
        for t in range(time):
            slopes = gradients((tensor * weights)[:, t].sum(), [source for _, source in inputs])
            for (name, _), slope in zip(inputs, slopes, strict=True):
                seen = slope.abs().amax((0, 2)).nonzero().flatten()
                allowed = t if law == "posterior" and model.dependencies.in_order else t - 1
                late = [int(s) for s in seen if s > allowed]
                ensure(not late, f"the {law} at frame {t} depends on {name} at frames {late}")


@applies_to(lambda model: model.dependencies.in_order)
def check_parts_are_inferred_in_order(model: DVAE, generator: torch.Generator) -> None:
    """Of the latent of its own frame, a feature of the posterior sees none but those before it."""
    x = observations(model, 2, 3, generator)
    drawn = model.posterior(x, generator=generator).latents
    z = drawn.z.detach().requires_grad_()
    law = model.posterior(x, latents=Latents(z, None if drawn.w is None else drawn.w.detach())).z
    for feature in range(model.z_dim):
        total = (law.mean + law.variance)[:, 1, feature].sum()
        (slope,) = gradients(total, [z])
        late = [int(i) for i in slope[:, 1].abs().amax(0).nonzero().flatten() if i >= feature]
        ensure(not late, f"feature {feature} of q(z_t) depends on features {late} of z_t")


def check_declared_dependencies(model: DVAE, generator: torch.Generator) -> None:
    """Prior, likelihood and posterior depend on exactly what ``dependencies`` declares."""
    from dynvae.testing.structure import check_dependencies

    check_dependencies(model, dtype=model.weight.dtype)


CHECKS: tuple[Check, ...] = (
    check_padding_is_ignored,
    check_padding_gets_no_gradient,
    check_padded_terms_are_zero,
    check_batch_equals_loop,
    check_full_lengths,
    check_lengths_are_refused,
    check_nothing_sees_what_it_predicts,
    check_parts_are_inferred_in_order,
    check_declared_dependencies,
)
