"""Exact filtering and smoothing of linear-Gaussian state space models with matrices that vary in time.

    z_1 ~ N(0, P_0),   z_t = A_t z_t-1 + B_t u_t + N(0, Q),   a_t = C_t z_t + N(0, R)

(Kalman, 1960; Rauch, Tung and Striebel, 1965.) Covariances are updated in Joseph's form, which keeps them positive
definite in float32.
"""

from __future__ import annotations

__all__ = ["Filtered", "LinearGaussian", "condition", "kalman_filter", "kalman_smoother", "predict"]

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynvae.nn import full_precision, time_mask

Result = TypeVar("Result")


class LinearGaussian(NamedTuple):
    """The matrices of one or many frames.

    Attributes:
        transition: A, ``(..., state, state)``.
        control: B, ``(..., state, input)``.
        emission: C, ``(..., observation, state)``.
        transition_noise: Q, ``(state, state)``.
        emission_noise: R, ``(observation, observation)``.
    """

    transition: Tensor
    control: Tensor
    emission: Tensor
    transition_noise: Tensor
    emission_noise: Tensor

    def frames(self) -> list[LinearGaussian]:
        """The matrices of each frame of a batch of sequences, ``(batch, time, ...)``.

        All at once: the gradient of a frame picked out of the whole would be as large as the whole.
        """
        parts = (matrices.unbind(1) for matrices in (self.transition, self.control, self.emission))
        return [LinearGaussian(A, B, C, *self[3:]) for A, B, C in zip(*parts, strict=True)]

    def push(self, u: Tensor) -> Tensor:
        """B u, what inputs ``(..., input)`` add to the state."""
        return (self.control @ u.unsqueeze(-1)).squeeze(-1)


class Filtered(NamedTuple):
    """Moments of z_t given a_1:t-1 (predicted) and given a_1:t, means ``(batch, time, state)``, and p(a_t | past)."""

    predicted_mean: Tensor
    predicted_covariance: Tensor
    mean: Tensor
    covariance: Tensor
    observation: MultivariateNormal


def _precise(function: Callable[..., Result]) -> Callable[..., Result]:
    """Run in full precision: covariances do not stay positive definite in half."""

    @functools.wraps(function)
    def wrapped(first: Tensor | Filtered, *rest: Any, **named: Any) -> Result:
        with full_precision(first if isinstance(first, Tensor) else first.mean):
            return function(first, *rest, **named)

    return wrapped


@_precise
def condition(
    mean: Tensor, covariance: Tensor, a: Tensor, model: LinearGaussian
) -> tuple[MultivariateNormal, Tensor, Tensor]:
    """One measurement update: p(a_t | past), and the moments of z_t given a_t too."""
    law = emission_law(mean, covariance, model)
    C, L = model.emission, law.scale_tril
    gain = torch.cholesky_solve(C @ covariance, L).mT
    mean = mean + (gain @ (a - law.loc).unsqueeze(-1)).squeeze(-1)
    keep = torch.eye(mean.shape[-1], dtype=mean.dtype, device=mean.device) - gain @ C
    covariance = keep @ covariance @ keep.mT + gain @ model.emission_noise @ gain.mT
    return law, mean, 0.5 * (covariance + covariance.mT)


@_precise
def emission_law(mean: Tensor, covariance: Tensor, model: LinearGaussian) -> MultivariateNormal:
    """p(a_t) = N(C μ, C Σ Cᵀ + R) for z_t ~ N(μ, Σ)."""
    C = model.emission
    S = C @ covariance @ C.mT + model.emission_noise
    L = torch.linalg.cholesky(0.5 * (S + S.mT))
    return MultivariateNormal((C @ mean.unsqueeze(-1)).squeeze(-1), scale_tril=L, validate_args=False)


def predict(mean: Tensor, covariance: Tensor, push: Tensor, model: LinearGaussian) -> tuple[Tensor, Tensor]:
    """One time update: the moments of z_t from those of z_t-1, B_t u_t and frame t's matrices."""
    A = model.transition
    mean = (A @ mean.unsqueeze(-1)).squeeze(-1) + push
    covariance = A @ covariance @ A.mT + model.transition_noise
    return mean, 0.5 * (covariance + covariance.mT)


def _root(covariance: Tensor) -> Tensor:
    """The lower triangular root; what rounding has taken from the smallest eigenvalues is given back first."""
    size = covariance.shape[-1]
    rounding = torch.finfo(covariance.dtype).eps * size * covariance.diagonal(dim1=-2, dim2=-1).amax(-1)
    identity = torch.eye(size, dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky(covariance + rounding[..., None, None] * identity)


@_precise
def kalman_filter(a: Tensor, u: Tensor, model: LinearGaussian, initial_covariance: Tensor) -> Filtered:
    """Filter a batch of sequences.

    Args:
        a: observations, ``(batch, time, observation)``.
        u: known inputs, ``(batch, time, input)``; the first is not used.
        model: the matrices of all frames, ``(batch, time, ...)``.
        initial_covariance: P_0, ``(state, state)``.

    Example:
        >>> one = torch.ones(1, 3, 1, 1)
        >>> walk = LinearGaussian(one, 0 * one, one, torch.eye(1), torch.eye(1))
        >>> kalman_filter(torch.ones(1, 3, 1), torch.zeros(1, 3, 1), walk, torch.eye(1)).mean.flatten()
        tensor([0.5000, 0.8000, 0.9231])
    """
    batch = a.shape[0]
    mean = a.new_zeros(batch, initial_covariance.shape[-1])
    covariance = initial_covariance.expand(batch, -1, -1)
    rows: list[tuple[Tensor, ...]] = []
    for observed, pushed, frame in zip(a.unbind(1), model.push(u).unbind(1), model.frames(), strict=True):
        if rows:
            mean, covariance = predict(mean, covariance, pushed, frame)
        predicted = mean, covariance
        law, mean, covariance = condition(mean, covariance, observed, frame)
        rows.append((*predicted, mean, covariance, law.loc, law.scale_tril))
    *moments, location, triangle = (torch.stack(column, 1) for column in zip(*rows, strict=True))
    predicted_mean, predicted_covariance, means, covariances = moments
    observation = MultivariateNormal(location, scale_tril=triangle, validate_args=False)
    return Filtered(predicted_mean, predicted_covariance, means, covariances, observation)


@_precise
def kalman_smoother(filtered: Filtered, model: LinearGaussian, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and covariance of z_t given the whole sequence (Rauch, Tung and Striebel, 1965).

    Args:
        filtered: from :func:`kalman_filter`.
        model: the same matrices.
        lengths: ``(batch,)``; after its end a sequence keeps its filtered moments.
    """
    time = filtered.mean.shape[1]
    valid = None if lengths is None else time_mask(lengths, time)
    mean, covariance = filtered.mean[:, -1], filtered.covariance[:, -1]
    means, covariances = [mean], [covariance]
    for t in reversed(range(time - 1)):
        here, spread = filtered.mean[:, t], filtered.covariance[:, t]
        next_mean, next_spread = filtered.predicted_mean[:, t + 1], filtered.predicted_covariance[:, t + 1]
        gain = torch.cholesky_solve(model.transition[:, t + 1] @ spread, _root(next_spread)).mT
        smooth_mean = here + (gain @ (mean - next_mean).unsqueeze(-1)).squeeze(-1)
        smooth = spread + gain @ (covariance - next_spread) @ gain.mT
        if valid is not None:
            smooth_mean = smooth_mean.where(valid[:, t + 1, None], here)
            smooth = smooth.where(valid[:, t + 1, None, None], spread)
        mean, covariance = smooth_mean, 0.5 * (smooth + smooth.mT)
        means.append(mean)
        covariances.append(covariance)
    return torch.stack(means[::-1], 1), torch.stack(covariances[::-1], 1)
