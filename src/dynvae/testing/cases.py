"""What the checks share: plausible observations, the results of a model as plain tensors, and their comparison."""

from __future__ import annotations

__all__ = [
    "Check",
    "applies_to",
    "assert_equal",
    "ensure",
    "given",
    "gradients",
    "kinds",
    "ladder",
    "learned",
    "moments",
    "observations",
    "pick",
    "results",
    "rounding",
    "seeded",
]

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from dynvae.condition import Condition
from dynvae.distributions import (
    BernoulliLikelihood,
    ComplexGaussianLikelihood,
    Likelihood,
    PartsLikelihood,
    PriorLaw,
)
from dynvae.models import DVAE, Latents
from dynvae.nn import time_mask

Check = Callable[[DVAE, torch.Generator], None]
"""A check takes a model, which it may spoil, and a source of randomness; it raises if something is wrong."""


RELATIVE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""By how much of its value a number may be off by rounding alone."""
ABSOLUTE = {torch.float64: 1e-10, torch.float32: 3e-5}
"""The same for a number near zero; in float32 where the largest of its tensor is 1, else in proportion."""


def applies_to(
    condition: Callable[[DVAE], bool] = lambda _: True, *, dtype: torch.dtype | None = None
) -> Callable[[Check], Check]:
    """Mark a check that makes sense for some models only, or in one precision only."""

    def mark(check: Check) -> Check:
        check.applies = lambda model, given: condition(model) and dtype in (None, given)  # type: ignore[attr-defined]
        return check

    return mark


def ensure(condition: bool | Tensor, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds (python -O does not switch this off)."""
    if not bool(condition):
        raise AssertionError(message)


def rounding(*tensors: Tensor) -> float:
    """How far from zero rounding alone may move what is computed of these tensors."""
    dtype = _coarsest(tensors)
    if dtype is torch.float64:
        return ABSOLUTE[dtype]
    return ABSOLUTE[dtype] * max(1.0, *(tensor.detach().abs().max().item() for tensor in tensors if tensor.numel()))


def _coarsest(tensors: Iterable[Tensor]) -> torch.dtype:
    return torch.float64 if all(tensor.dtype is torch.float64 for tensor in tensors) else torch.float32


def observations(model: DVAE, batch: int, time: int, generator: torch.Generator) -> Tensor:
    """Random frames that the model's likelihood could have made, ``(batch, time, x_dim)`` in the model's precision."""
    transforms = getattr(model, "transforms", (model.input_transform,))
    sizes = model.observation.sizes if isinstance(model.observation, PartsLikelihood) else (model.x_dim,)
    parts = [
        _frames(kind, (batch, time, size), transform == "log", generator)
        for kind, size, transform in zip(kinds(model), sizes, transforms, strict=True)
    ]
    x = torch.cat(parts, -1)
    return x.to(model.weight.dtype)


def kinds(model: DVAE) -> tuple[Likelihood, ...]:
    """The likelihood of a model's frames, or those of their parts."""
    return model.observation.kinds if isinstance(model.observation, PartsLikelihood) else (model.observation,)


def _frames(kind: Likelihood, shape: tuple[int, ...], powers: bool, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    normal = torch.randn(shape, generator=generator, dtype=torch.float64)
    if isinstance(kind, BernoulliLikelihood):
        return (uniform < 0.5).double()
    if isinstance(kind, ComplexGaussianLikelihood) or powers:
        return -torch.log1p(-uniform) * (2 * normal[..., :1]).exp()  # spectra of changing loudness
    return normal


def given(model: DVAE, batch: int, time: int, generator: torch.Generator) -> dict[str, Any]:
    """A random condition with gaps, as the model's methods take it; nothing for a model that sees none."""
    if not model.condition_dim:
        return {}
    features = torch.randn(batch, time, model.condition_dim, generator=generator, dtype=torch.float64)
    present = torch.rand(batch, time, generator=generator) < 0.7
    present[:, time // 2] = False
    present[:, -1] = present[0] = True
    return {"condition": Condition(features.to(model.weight.dtype), present)}


def ladder(batch: int, time: int) -> Tensor:
    """Lengths time, time - 1, ... down to 1, over and over."""
    return time - torch.arange(batch) % time


def seeded(seed: int) -> torch.Generator:
    """A new source of randomness."""
    return torch.Generator().manual_seed(seed)


def moments(distribution: Distribution) -> Tensor:
    """All that tells the laws of the family apart: mean and variances (covariances where they are not zero)."""
    if isinstance(distribution, PriorLaw):
        return distribution.parameters
    mean = distribution.mean
    if isinstance(distribution, MultivariateNormal):
        return torch.cat([mean, distribution.covariance_matrix.flatten(-2)], -1)
    return torch.cat([mean, distribution.variance], -1)


def pick(latents: Latents, index: slice, frames: int | None = None) -> Latents:
    """Some sequences of a batch of latents, cut to their first frames."""
    return Latents(latents.z[index, :frames], None if latents.w is None else latents.w[index])


def results(model: DVAE, x: Tensor, lengths: Tensor | None, noise: Latents, **given: Any) -> dict[str, Tensor]:
    """What a user can get from a batch, with all padding zeroed, by name."""
    elbo = model.elbo(x, lengths, noise=noise, **given)
    posterior = model.posterior(x, lengths, noise=noise, **given)
    prior, likelihood = model.generative(posterior.latents, x, lengths, **given)
    generated = model.resynthesize(x, lengths, noise=noise, mode="generation", **given)
    named = {
        "the posterior": moments(posterior.z),
        "the latents": posterior.latents.z,
        "the prior": moments(prior),
        "the likelihood": moments(likelihood),
        "the resynthesis": model.resynthesize(x, lengths, noise=noise, **given).mean,
        "the resynthesis in generation mode": generated.mean,
    }
    if lengths is not None:
        valid = time_mask(lengths, x.shape[1]).unsqueeze(-1)
        named = {name: tensor.where(valid, 0) for name, tensor in named.items()}
    named |= {"the log-likelihood term": elbo.log_likelihood, "the KL term": elbo.kl, "the ELBO": elbo.total}
    if posterior.w is not None:
        named["q(w | x)"] = moments(posterior.w)
    return named


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters by name, but for those of parts that are frozen."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def gradients(scalar: Tensor, inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Derivatives of a scalar, zero where it does not depend on an input."""
    inputs = tuple(inputs)
    if not scalar.requires_grad:
        return tuple(torch.zeros_like(tensor) for tensor in inputs)
    return torch.autograd.grad(scalar, inputs, retain_graph=True, allow_unused=True, materialize_grads=True)


def assert_equal(
    actual: Tensor | Mapping[str, Tensor],
    expected: Tensor | Mapping[str, Tensor],
    what: str,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> None:
    """Compare tensors, or all tensors of two mappings, and say what differs and by how much.

    They may differ as rounding explains (:data:`RELATIVE` and :func:`rounding`), and by ``rtol`` and ``atol`` if those
    are larger.

    Raises:
        AssertionError: they differ by more than rounding, or in shape, or one of them is not finite.
    """
    if isinstance(actual, Mapping):
        assert isinstance(expected, Mapping)
        ensure(actual.keys() == expected.keys(), f"{what}: there are {set(actual)} instead of {set(expected)}")
        for name in actual:
            assert_equal(actual[name], expected[name], f"{what}: {name}", rtol=rtol, atol=atol)
        return
    assert isinstance(expected, Tensor)
    ensure(actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    ensure(actual.isfinite().all() & expected.isfinite().all(), f"{what}: values that are not finite")
    error = (actual - expected).abs()
    rtol, atol = max(rtol, RELATIVE[_coarsest((actual, expected))]), max(atol, rounding(actual, expected))
    excess = error - (atol + rtol * expected.abs())
    if error.numel() and excess.max() > 0:
        worst = int(excess.argmax())
        raise AssertionError(
            f"{what}: differs by up to {error.max().item():.3g}, "
            f"e.g. {actual.flatten()[worst].item():.9g} instead of {expected.flatten()[worst].item():.9g}"
        )
