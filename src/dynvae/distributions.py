"""The distributions of observations and latents, with every constant kept, so that bounds compare in nats.

All of them are :class:`torch.distributions.Distribution` objects whose event is one frame: ``batch_shape``
is ``(batch, time)`` and ``event_shape`` is ``(feature,)``.
"""

from __future__ import annotations

__all__ = [
    "LATENT_LOG_VARIANCE_LIMIT",
    "LIKELIHOODS",
    "POWER_FLOOR",
    "ComplexGaussian",
    "Likelihood",
    "Parts",
    "PartsLikelihood",
    "PriorLaw",
    "RadialLaplace",
    "bound_log_variance",
    "diagonal_normal",
    "draw",
    "gaussian",
    "kl_per_dimension",
    "reparameterize",
    "standard_normal",
]

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, MultivariateNormal, Normal, kl_divergence

from dynvae.native import ops

POWER_FLOOR = 1e-10
"""Added to the variance of :class:`ComplexGaussian`: the power below which speech at unit peak is digital noise."""

LATENT_LOG_VARIANCE_LIMIT = 30.0
OBSERVATION_LOG_VARIANCE_LIMIT = 45.0


class _StraightThroughClamp(torch.autograd.Function):
    """Clamp forward, identity backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, limit: float) -> Tensor:
        return value.clamp(-limit, limit)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> Any:
        return gradient[0], None


def bound_log_variance(log_variance: Tensor, limit: float = LATENT_LOG_VARIANCE_LIMIT) -> Tensor:
    """Keep a log-variance in [-limit, limit], so that no loss overflows.

    Inside, where every healthy model lives, nothing changes. Outside, the gradient passes as if there were no
    bound, so that a unit that has run away can come back.

    Example:
        >>> bound_log_variance(torch.tensor([-1e6, -3.0, 0.0, 7.0, 1e6]))
        tensor([-30.,  -3.,   0.,   7.,  30.])
    """
    if not (log_variance.requires_grad and torch.is_grad_enabled()):
        return log_variance.clamp(-limit, limit)  # the same without the machinery of a gradient
    return _StraightThroughClamp.apply(log_variance, limit)


def diagonal_normal(mean: Tensor, log_variance: Tensor) -> Independent:
    """N(mean, diag(exp(log_variance))) over the last axis, in float32 or better."""
    mean, log_variance = _at_least_single(mean), _at_least_single(log_variance)
    return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)


def gaussian(packed: Tensor) -> Independent:
    """The Gaussian whose mean and (bounded) log-variance are the two halves of the last axis of ``packed``."""
    mean, log_variance = packed.chunk(2, dim=-1)
    return diagonal_normal(mean, bound_log_variance(log_variance))


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Mean + exp(log_variance / 2) · noise, the log-variance bounded (Kingma and Welling, 2014)."""
    mean, log_variance = _at_least_single(mean), _at_least_single(log_variance)
    return torch.addcmul(mean, (0.5 * bound_log_variance(log_variance)).exp(), noise)


def standard_normal(like: Tensor) -> Independent:
    """N(0, I) in the shape, type and place of ``like``."""
    return diagonal_normal(torch.zeros_like(like), torch.zeros_like(like))


class ComplexGaussian(Distribution):
    r"""Circular complex Gaussian of an STFT frame, seen through its power.

    With :math:`v_f = e^{\ell_f} + \epsilon` and the power :math:`p_f = |s_f|^2`,

    .. math:: \ln p(s) = -\sum_f \left( \ln \pi + \ln v_f + p_f / v_f \right).

    Up to terms that depend on the data alone, its negative is the Itakura-Saito divergence of the power from
    the variance (Févotte, Bertin and Durrieu, 2009).

    Args:
        log_variance: :math:`\ell`, ``(..., feature)``.
        floor: :math:`\epsilon`, the least variance, in units of power.
        limit: bound of the log-variance (see :func:`bound_log_variance`); none by default.

    Example:
        >>> frame = ComplexGaussian(torch.zeros(513))
        >>> round(frame.log_prob(torch.ones(513)).item() / 513, 4)  # -(ln π + 0 + 1)
        -2.1447
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, log_variance: Tensor, floor: float = POWER_FLOOR, limit: float | None = None) -> None:
        self._raw = log_variance
        self.floor = floor
        self.limit = limit
        super().__init__(log_variance.shape[:-1], log_variance.shape[-1:], validate_args=False)

    @property
    def log_variance(self) -> Tensor:
        """The log-variance without the floor, within its bound."""
        return self._raw if self.limit is None else bound_log_variance(self._raw, self.limit)

    @property
    def mean(self) -> Tensor:
        """The expected power, which is the variance of the coefficient."""
        return self.log_variance.exp() + self.floor

    @property
    def variance(self) -> Tensor:
        """The variance of the *power*, which is exponentially distributed: the square of its mean."""
        return self.mean.square()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of the complex frame whose power is ``value``, summed over its bins."""
        if self.limit is not None and not value.requires_grad and ops.usable(self._raw, value):
            return ops.complex_gaussian_log_prob(self._raw, value.expand(self._raw.shape), self.floor, self.limit)
        variance = self.mean
        return -(variance.log() + value / variance).sum(-1) - value.shape[-1] * math.log(math.pi)

    def itakura_saito(self, value: Tensor) -> Tensor:
        """The Itakura-Saito divergence Σ_f [p/v − ln(p/v) − 1] of the power from the variance.

        A power below the floor counts as the floor: the divergence of an exact zero is infinite.
        """
        ratio = value.clamp(min=self.floor) / self.mean
        return (ratio - ratio.log() - 1).sum(-1)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw powers: exponential with the given mean."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self._raw.shape
            uniform = torch.rand(shape, generator=generator, dtype=self._raw.dtype, device=self._raw.device)
            return -torch.log1p(-uniform) * self.mean

    def expand(self, batch_shape: Any, _instance: Any = None) -> ComplexGaussian:
        """The same frame law for a larger batch."""
        return ComplexGaussian(self._raw.expand(*batch_shape, *self.event_shape), self.floor, self.limit)


class RadialLaplace(Distribution):
    r"""Joints of a body, each with a density that falls with the *distance* from its expected place.

    With :math:`r_j = \lVert x_j - \mu_j \rVert_2` the error of joint j, and three coordinates a joint,

    .. math:: \ln p(x) = -\sum_j \left( r_j / b + \ln 8\pi b^3 \right).

    :math:`8\pi b^3 = \int_0^\infty 4\pi r^2 e^{-r/b} dr` makes it a density. For a given b, the negative is the sum of
    the joints' errors in units of b, up to a constant: their mean is the MPJPE of a pose. A coordinate has the
    variance :math:`4 b^2`.

    Args:
        mean: :math:`\mu`, ``(..., 3 · joints)``, x, y and z of a joint side by side.
        std: standard deviation of a coordinate; b is half of it.

    Example:
        >>> pose = RadialLaplace(torch.zeros(6), std=2.0)
        >>> away = pose.log_prob(torch.tensor([3.0, 0.0, 4.0, 0.0, 0.0, 0.0]))
        >>> round((pose.log_prob(torch.zeros(6)) - away).item(), 4)  # one joint is 5 away, the other 0
        5.0
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, mean: Tensor, std: float = 1.0) -> None:
        self._mean = mean
        self.scale = std / 2
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The expected places."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """The variance of each coordinate, 4 b²."""
        return torch.full_like(self._mean, 4 * self.scale**2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of a pose, summed over its joints."""
        distances = torch.linalg.vector_norm((value - self._mean).unflatten(-1, (-1, 3)), dim=-1)
        constant = distances.shape[-1] * math.log(8 * math.pi * self.scale**3)
        return -distances.sum(-1) / self.scale - constant

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw poses: in a random direction, by a distance that follows Gamma(3, b)."""
        with torch.no_grad():
            mean = self._mean.expand(torch.Size(sample_shape) + self._mean.shape).unflatten(-1, (-1, 3))
            direction = _randn(mean, generator)
            direction = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
            uniform = torch.rand(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
            distance = -torch.log1p(-uniform).sum(-1, keepdim=True) * self.scale  # three exponentials
            return (mean + distance * direction).flatten(-2)

    def expand(self, batch_shape: Any, _instance: Any = None) -> RadialLaplace:
        """The same law for a larger batch."""
        return RadialLaplace(self._mean.expand(*batch_shape, *self.event_shape), 2 * self.scale)


class Parts(Distribution):
    """Independent laws side by side, each of its own features, such as those of the modalities of a frame.

    A part all of whose values are NaN is missing: the density is that of the others.

    Args:
        laws: with the same batch shape, each over one axis of features.

    Example:
        >>> both = Parts((standard_normal(torch.zeros(2)), standard_normal(torch.zeros(1))))
        >>> x = torch.tensor([0.0, 0.0, torch.nan])
        >>> both.log_prob(x) == both.laws[0].log_prob(x[:2])
        tensor(True)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, laws: tuple[Distribution, ...]) -> None:
        self.laws = laws
        self.sizes = [law.event_shape[0] for law in laws]
        super().__init__(laws[0].batch_shape, torch.Size([sum(self.sizes)]), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The means side by side."""
        return torch.cat([law.mean for law in self.laws], -1)

    @property
    def variance(self) -> Tensor:
        """The variances side by side."""
        return torch.cat([law.variance for law in self.laws], -1)

    def parts(self, value: Tensor) -> Tensor:
        """The log-density of each part, ``(..., parts)``; zero where it is missing."""
        terms = []
        for law, part in zip(self.laws, value.split(self.sizes, -1), strict=True):
            missing = part.isnan().all(-1)
            terms.append(law.log_prob(part.masked_fill(missing.unsqueeze(-1), 0)).masked_fill(missing, 0))
        return torch.stack(terms, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density of what is there of a frame."""
        return self.parts(value).sum(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Parts:
        """The same laws for a larger batch."""
        return Parts(tuple(law.expand(batch_shape) for law in self.laws))


class PriorLaw(Distribution, ABC):
    """A law of latents that is no Gaussian, and what the bounds and the battery need to know of it."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    exact: ClassVar[bool] = True
    """Whether :meth:`divergence` is the divergence, and no bound."""
    smooth: ClassVar[bool] = True
    """Whether it has a density, along whose gradient a value can be moved."""

    @property
    @abstractmethod
    def parameters(self) -> Tensor:
        """All numbers that it is made of, side by side."""

    @abstractmethod
    def divergence(self, q: Distribution) -> Tensor:
        """KL(q ‖ this) in nats, or a bound from above, ``(..., feature)``.

        Raises:
            TypeError: there is no closed form for this q.
        """

    def divergence_from(self, p: Distribution) -> Tensor:
        """KL(this ‖ p) in nats where p is no such law, or a bound from above, ``(..., feature)``.

        Raises:
            TypeError: there is no closed form for this p.
        """
        raise TypeError(f"no closed form for a divergence of a {type(self).__name__} from a {type(p).__name__}")

    @abstractmethod
    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw values."""

    @abstractmethod
    def white(self, value: Tensor) -> Tensor:
        """A function of each feature of ``value`` that has mean 0 and variance 1 if the value follows this law."""


def draw(distribution: Distribution, generator: torch.Generator | None = None) -> Tensor:
    """Draw one value with an explicit source of randomness, which :mod:`torch.distributions` does not take.

    Raises:
        TypeError: the kind of distribution is not known here.
    """
    match distribution:
        case ComplexGaussian() | RadialLaplace() | PriorLaw():
            return distribution.sample(generator=generator)
        case Parts():
            return torch.cat([draw(law, generator) for law in distribution.laws], -1)
        case Independent(base_dist=Normal() as base):
            return torch.addcmul(base.loc, base.scale, _randn(base.loc, generator))
        case MultivariateNormal():
            noise = _randn(distribution.loc, generator)
            return distribution.loc + (distribution.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        case Independent(base_dist=Bernoulli() as base):
            return torch.bernoulli(base.probs, generator=generator)
    raise TypeError(f"no way to draw from a {type(distribution).__name__} with a generator")


def _randn(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor:
    """KL(q ‖ p) ≥ 0 in nats: ``(..., feature)`` for two diagonal Gaussians, ``(..., 1)`` if one covariance is full.

    A prior that is no Gaussian tells its own divergence, which may be a bound from above (:class:`PriorLaw`).

    Raises:
        TypeError: there is no closed form here for this pair.
    """
    if isinstance(p, PriorLaw):
        return p.divergence(q)
    if isinstance(q, PriorLaw):
        return q.divergence_from(p)
    if _is_diagonal(q) and _is_diagonal(p):
        return kl_divergence(q.base_dist, p.base_dist)  # type: ignore[attr-defined]
    (q_mean, q_scale), (p_mean, p_scale) = _mean_and_triangle(q), _mean_and_triangle(p)
    error = (q_mean - p_mean).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(
        p_scale, torch.cat([q_scale.expand(*error.shape[:-1], -1), error], dim=-1), upper=False
    )
    log_q, log_p = (scale.diagonal(dim1=-2, dim2=-1).log().sum(-1) for scale in (q_scale, p_scale))
    return (0.5 * (whitened.square().sum((-2, -1)) - q_mean.shape[-1]) + log_p - log_q).unsqueeze(-1)


def _is_diagonal(distribution: Distribution) -> bool:
    return isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal)


def _mean_and_triangle(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """The mean of a Gaussian, and the lower triangular root of its covariance."""
    match distribution:
        case Independent(base_dist=Normal() as base):
            return base.loc, torch.diag_embed(base.scale)
        case MultivariateNormal():
            return distribution.loc, distribution.scale_tril
    raise TypeError(f"no closed form for a divergence with a {type(distribution).__name__}")


class Likelihood(ABC):
    """The law of an observed frame given the decoder's output: the part that makes a model fit a kind of data.

    A likelihood asks the decoder for ``outputs`` numbers a feature and turns them into a distribution.
    """

    outputs: ClassVar[int] = 1
    group: ClassVar[int] = 1
    """Features that belong together: the size of a frame is a multiple of it."""
    mean_function: ClassVar[str] = "identity"
    """What makes the mean of the first ``feature`` outputs (see :mod:`dynvae.recurrence.functions`)."""

    @abstractmethod
    def __call__(self, packed: Tensor) -> Distribution:
        """Turn the decoder's output ``(..., outputs · feature)`` into the distribution of a frame."""

    def packed(self, mean: Tensor, std: Tensor) -> Tensor:
        """The decoder's output that fits frames of this mean and deviation, ``(outputs · feature,)``: the mean."""
        return mean

    def means(self, size: int) -> list[tuple[int, int, str]]:
        """How the mean of ``size`` features comes from the outputs: first output, how many, and the function."""
        return [(0, size, self.mean_function)]


@dataclass(frozen=True)
class ComplexGaussianLikelihood(Likelihood):
    """STFT power spectra: :class:`ComplexGaussian`; the decoder gives the log-variance."""

    mean_function: ClassVar[str] = "power"

    def __call__(self, packed: Tensor) -> ComplexGaussian:
        return ComplexGaussian(_at_least_single(packed), limit=OBSERVATION_LOG_VARIANCE_LIMIT)

    def packed(self, mean: Tensor, std: Tensor) -> Tensor:
        return (mean + POWER_FLOOR).log()


@dataclass(frozen=True)
class GaussianLikelihood(Likelihood):
    """Real vectors with a learned variance: the decoder gives mean and log-variance."""

    outputs: ClassVar[int] = 2

    def __call__(self, packed: Tensor) -> Independent:
        return gaussian(packed)

    def packed(self, mean: Tensor, std: Tensor) -> Tensor:
        return torch.cat([mean, 2 * std.clamp(min=1e-3).log()])


@dataclass(frozen=True)
class FixedGaussianLikelihood(Likelihood):
    """Real vectors with one known standard deviation: the decoder gives the mean."""

    std: float = 1.0

    def __call__(self, packed: Tensor) -> Independent:
        mean = _at_least_single(packed)  # also for the constant, which half precision would round
        return diagonal_normal(mean, torch.full_like(mean, 2 * math.log(self.std)))


@dataclass(frozen=True)
class JointLikelihood(Likelihood):
    """Places of joints in space, :class:`RadialLaplace`: the decoder gives the mean, whose loss is the MPJPE."""

    group: ClassVar[int] = 3
    std: float = 1.0

    def __call__(self, packed: Tensor) -> RadialLaplace:
        return RadialLaplace(_at_least_single(packed), self.std)


@dataclass(frozen=True)
class BernoulliLikelihood(Likelihood):
    """Binary vectors (piano rolls, masks), or intensities in [0, 1] by the usual abuse: the decoder gives logits."""

    mean_function: ClassVar[str] = "sigmoid"

    def __call__(self, packed: Tensor) -> Independent:
        return Independent(Bernoulli(logits=_at_least_single(packed), validate_args=False), 1, validate_args=False)

    def packed(self, mean: Tensor, std: Tensor) -> Tensor:
        return mean.clamp(1e-3, 1 - 1e-3).logit()


@dataclass(frozen=True)
class PartsLikelihood(Likelihood):
    """Several kinds of features side by side: :class:`Parts`; the decoder gives what each asks for, one by one."""

    kinds: tuple[Likelihood, ...]
    sizes: tuple[int, ...]

    @property
    def widths(self) -> list[int]:
        """How many numbers the decoder gives for each part."""
        return [kind.outputs * size for kind, size in zip(self.kinds, self.sizes, strict=True)]

    def __call__(self, packed: Tensor) -> Parts:
        parts = packed.split(self.widths, -1)
        return Parts(tuple(kind(part) for kind, part in zip(self.kinds, parts, strict=True)))

    def packed(self, mean: Tensor, std: Tensor) -> Tensor:
        pairs = zip(self.kinds, mean.split(list(self.sizes)), std.split(list(self.sizes)), strict=True)
        return torch.cat([kind.packed(*moments) for kind, *moments in pairs])

    def means(self, size: int) -> list[tuple[int, int, str]]:
        starts = [0, *accumulate(self.widths)]
        return [
            (start, size, kind.mean_function) for start, size, kind in zip(starts, self.sizes, self.kinds, strict=False)
        ]


def _at_least_single(tensor: Tensor) -> Tensor:
    """Half precision is for networks; a log-density needs at least float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "complex_gaussian": ComplexGaussianLikelihood,
    "gaussian": GaussianLikelihood,
    "fixed_gaussian": FixedGaussianLikelihood,
    "joint_l2": JointLikelihood,
    "bernoulli": BernoulliLikelihood,
}
"""The likelihoods by the name that a configuration gives them."""
