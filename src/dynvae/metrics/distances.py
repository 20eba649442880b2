"""How far apart two sets of features are: the Fréchet distance and the kernel distance, each beside its floor.

Both are estimates from samples. That of the Fréchet distance is far too large where there are few samples to a
dimension (two sets of 2,048 standard normal vectors of 1,600 dimensions are 626 apart, where the truth is 0), so that
numbers compare at equal sample counts only, and say little without the distance between two real sets.
"""

from __future__ import annotations

__all__ = ["Comparison", "Spread", "compare", "frechet_distance", "kernel_distance"]

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

_ROWS = 1024  # of the kernel's matrix at a time


class Spread(NamedTuple):
    """A distance over disjoint parts of the samples.

    Attributes:
        mean: over the parts.
        deviation: of the parts about their mean (not of the mean), with n in the denominator as in the published
            code; 0 for one part.
    """

    mean: float
    deviation: float


@dataclass(frozen=True)
class Comparison:
    """Generated samples against real ones, and real ones against other real ones.

    Attributes:
        n: samples on each side.
        d: features of a sample.
        splits: disjoint parts that each distance was computed on.
        frechet: Fréchet distance of the generated samples to the reference.
        kernel: their kernel distance.
        frechet_floor: Fréchet distance of other real samples to the reference.
        kernel_floor: their kernel distance.
    """

    n: int
    d: int
    splits: int
    frechet: Spread
    kernel: Spread
    frechet_floor: Spread
    kernel_floor: Spread

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        found = dataclasses.asdict(self)
        return {name: value._asdict() if isinstance(value, Spread) else value for name, value in found.items()}


def compare(generated: Tensor, reference: Tensor, floor: Tensor, *, splits: int = 5) -> Comparison:
    """Both distances of generated samples to a reference, and those of other real samples to it.

    Args:
        generated: features ``(n, d)``.
        reference: features of real samples, as many.
        floor: features of other real samples, as many.
        splits: disjoint parts; n must be a multiple.

    Raises:
        ValueError: the sets differ in size, or cannot be split so.
    """
    frechet, kernel = (
        [distance(samples, reference, splits) for samples in (generated, floor)]
        for distance in (frechet_distance, kernel_distance)
    )
    n, d = reference.shape
    return Comparison(n, d, splits, frechet[0], kernel[0], frechet[1], kernel[1])


def frechet_distance(a: Tensor, b: Tensor, splits: int = 1) -> Spread:
    r"""Fréchet (2-Wasserstein) distance, squared, of the Gaussians that have the samples' moments.

    .. math:: |m_a - m_b|^2 + \mathrm{Tr}\, S_a + \mathrm{Tr}\, S_b - 2\, \mathrm{Tr} (S_a S_b)^{1/2},

    as in the Fréchet inception distance (Heusel et al., 2017); ``S`` has n - 1 in the denominator. With the centred
    samples ``A`` and ``B`` the last trace is the nuclear norm of :math:`A B^T / (n - 1)`, and there is no square root
    of a matrix. That product has n rows and columns; where d is smaller, the triangular factors of A and B take their
    places, whose product has d.

    Args:
        a: features ``(n, d)``; computed in float64.
        b: as many.
        splits: the distance is computed on so many disjoint parts, in the order of the samples.

    Returns:
        Mean over the parts, and their deviation.

    Raises:
        ValueError: the sets differ in size, hold NaN or infinity, or cannot be split so.

    Example:
        >>> a = torch.tensor([[-1.0], [1.0]])
        >>> frechet_distance(a, 3 * a + 5).mean  # (m, S) = (0, 2) and (5, 18): 25 + (3√2 - √2)²
        33.0
    """
    return _over_parts(_frechet, a, b, splits)


def kernel_distance(a: Tensor, b: Tensor, splits: int = 1) -> Spread:
    r"""Unbiased estimate of the squared maximum mean discrepancy under a cubic kernel (Bińkowski et al., 2018).

    .. math::
        \frac{1}{n (n-1)} \sum_{i \ne j} [k(a_i, a_j) + k(b_i, b_j)] - \frac{2}{n^2} \sum_{i, j} k(a_i, b_j), \quad
        k(x, y) = (x \cdot y / d + 1)^3.

    Between samples of one law it is 0 on average, and as often negative as positive.

    Args:
        a: features ``(n, d)``; computed in float64.
        b: as many.
        splits: the distance is computed on so many disjoint parts, in the order of the samples.

    Returns:
        Mean over the parts, and their deviation.

    Raises:
        ValueError: the sets differ in size, hold NaN or infinity, or cannot be split so.

    Example:
        >>> kernel_distance(torch.zeros(4, 2), torch.ones(4, 2)).mean  # 1 + 2³ - 2 · 1
        7.0
    """
    return _over_parts(_kernel, a, b, splits)


def _over_parts(distance: Callable[[Tensor, Tensor], float], a: Tensor, b: Tensor, splits: int) -> Spread:
    for features in (a, b):
        if features.dim() != 2 or not features.shape[1]:
            raise ValueError(f"features must be (n, d), not {tuple(features.shape)}")
        if not bool(torch.isfinite(features).all()):
            raise ValueError("the features hold NaN or infinity")
    if a.shape != b.shape:
        raise ValueError(f"both sets need equally many samples and features, not {tuple(a.shape)} and "
                         f"{tuple(b.shape)}: the estimates depend on the number")  # fmt: skip
    if splits < 1 or len(a) % splits or len(a) < 2 * splits:
        raise ValueError(f"{len(a)} samples cannot be split into {splits} equal parts of two or more")
    pairs = zip(a.double().chunk(splits), b.double().chunk(splits), strict=True)
    found = torch.tensor([distance(*pair) for pair in pairs], dtype=torch.float64)
    return Spread(float(found.mean()), float(found.std(correction=0)))


def _frechet(a: Tensor, b: Tensor) -> float:
    n, d = a.shape
    means = (a.mean(0) - b.mean(0)).square().sum()
    a, b = a - a.mean(0), b - b.mean(0)
    traces = (a.square().sum() + b.square().sum()) / (n - 1)
    if d < n:
        a, b = torch.linalg.qr(a, mode="r").R, torch.linalg.qr(b, mode="r").R
    overlap = torch.linalg.svdvals(a @ b.T).sum() / (n - 1)
    return float((means + traces - 2 * overlap).clamp(min=0))


def _kernel(a: Tensor, b: Tensor) -> float:
    n = len(a)
    within = sum(_kernel_sum(x, x) - float(_cube((x * x).sum(1), x.shape[1]).sum()) for x in (a, b))
    return within / (n * (n - 1)) - 2 * _kernel_sum(a, b) / n**2


def _kernel_sum(a: Tensor, b: Tensor) -> float:
    return sum(float(_cube(rows @ b.T, a.shape[1]).sum()) for rows in a.split(_ROWS))


def _cube(products: Tensor, d: int) -> Tensor:
    return (products / d + 1) ** 3
