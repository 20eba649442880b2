"""What a discrete state says of its frame: a Gaussian, or the spectrum of a complex Gaussian."""

from __future__ import annotations

__all__ = ["Emissions", "Gaussians", "Spectra"]

import math
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

from dynvae.distributions import ComplexGaussian
from dynvae.errors import ConfigError

Covariance = Literal["full", "diagonal"]


class Emissions(Protocol):
    """The laws of a frame in each of several states."""

    @property
    def states(self) -> int:
        """How many there are."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Of frames ``(..., feature)``: ``(..., states)``."""
        ...

    def learned(self, x: Tensor, weight: Tensor) -> Self:
        """The most likely laws for frames ``(frames, feature)``, in states by ``weight`` ``(frames, states)``."""
        ...

    def sample(self, state: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Frames in states ``(...)``: ``(..., feature)``."""
        ...


class Gaussians:
    r"""Frames :math:`x | k \sim \mathcal N(\mu_k, \Sigma_k)`.

    The variance in no direction falls below ``floor``: eigenvalues are cut there, which is the maximum of the
    likelihood under that bound, so that EM still ascends.

    Args:
        mean: μ, ``(states, feature)``.
        covariance: Σ, ``(states, feature, feature)``, or variances ``(states, feature)``.
        floor: least variance.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, floor: float = 0.0) -> None:
        self.mean, self.covariance, self.floor = mean, covariance, floor

    @classmethod
    def start(
        cls, x: Tensor, states: int, *, covariance: Covariance = "full", generator: torch.Generator | None = None
    ) -> Gaussians:
        """Means at frames far from each other (k-means++: Arthur and Vassilvitskii, 2007), all of x's own covariance.

        Args:
            x: ``(frames, feature)``.
            states: how many.
            covariance: ``"full"`` or ``"diagonal"``.
            generator: where frames are drawn from.
        """
        far = x.new_ones(len(x))
        chosen: list[int] = []
        for _ in range(states):
            chosen.append(int(torch.multinomial(far.cpu(), 1, generator=generator)))
            distance = (x - x[chosen[-1]]).square().sum(1)
            far = distance if len(chosen) == 1 else torch.minimum(far, distance)
            far = far if bool(far.any()) else torch.ones_like(far)  # fewer frames than states are different
        spread = (x - x.mean(0)).square().mean(0).clamp(min=1e-12)
        floor = 1e-6 * float(spread.mean())
        whole = spread if covariance == "diagonal" else torch.cov(x.T, correction=0).reshape(x.shape[1], -1)
        result = cls(x[chosen], whole.expand(states, *whole.shape), floor)
        return cls(result.mean, result._bounded(result.covariance), floor)

    @property
    def states(self) -> int:
        return len(self.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        error = x.unsqueeze(-2) - self.mean
        if self.covariance.dim() == 2:
            return -0.5 * (error.square() / self.covariance + (2 * math.pi * self.covariance).log()).sum(-1)
        root = torch.linalg.cholesky(self.covariance)
        white = torch.linalg.solve_triangular(root, error.unsqueeze(-1), upper=False).squeeze(-1)
        size = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return -0.5 * white.square().sum(-1) - size - 0.5 * x.shape[-1] * math.log(2 * math.pi)

    def learned(self, x: Tensor, weight: Tensor) -> Gaussians:
        count = weight.sum(0).clamp(min=torch.finfo(x.dtype).tiny).unsqueeze(1)
        mean = weight.T @ x / count
        if self.covariance.dim() == 2:
            spread = torch.stack([(w @ (x - m).square()) for w, m in zip(weight.T, mean, strict=True)]) / count
        else:
            errors = ((x - m) for m in mean)
            spread = torch.stack([(w.unsqueeze(1) * e).T @ e for w, e in zip(weight.T, errors, strict=True)])
            spread = spread / count.unsqueeze(2)
        lost = weight.sum(0) < 1e-6  # nobody is in this state: it stays as it was
        mean, spread = mean.clone(), self._bounded(spread)
        mean[lost], spread[lost] = self.mean[lost], self.covariance[lost]
        return Gaussians(mean, spread, self.floor)

    def _bounded(self, covariance: Tensor) -> Tensor:
        if covariance.dim() == 2:
            return covariance.clamp(min=self.floor)
        values, vectors = torch.linalg.eigh(0.5 * (covariance + covariance.mT))
        return (vectors * values.clamp(min=self.floor).unsqueeze(-2)) @ vectors.mT

    def sample(self, state: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, covariance = self.mean[state], self.covariance[state]
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        if self.covariance.dim() == 2:
            return mean + covariance.sqrt() * noise
        return mean + (torch.linalg.cholesky(covariance) @ noise.unsqueeze(-1)).squeeze(-1)


class Spectra:
    r"""STFT frames :math:`s | k \sim \mathcal N_c(0, \mathrm{diag}\,\sigma_k^2)`, seen through their power.

    Args:
        variance: σ², ``(states, bins)``.
        floor: least variance.

    Raises:
        ConfigError: a variance is not positive.
    """

    def __init__(self, variance: Tensor, floor: float = 0.0) -> None:
        if variance.dim() != 2 or not bool((variance > 0).all()):
            raise ConfigError("variances are (states, bins), and positive in every bin")
        self.variance, self.floor = variance, floor

    @classmethod
    def start(cls, power: Tensor, states: int, *, generator: torch.Generator | None = None) -> Spectra:
        """As many frames, drawn by chance, each drawn nearer to the mean.

        Args:
            power: ``(frames, bins)``.
            states: how many.
            generator: where frames are drawn from.
        """
        chosen = torch.randperm(len(power), generator=generator)[:states].to(power.device)
        floor = 1e-6 * float(power.mean())
        return cls((power[chosen] + power.mean(0)).clamp(min=floor), floor)

    @property
    def states(self) -> int:
        return len(self.variance)

    def log_prob(self, x: Tensor) -> Tensor:
        cost = x @ self.variance.reciprocal().T + self.variance.log().sum(1)
        return -cost - x.shape[-1] * math.log(math.pi)

    def learned(self, x: Tensor, weight: Tensor) -> Spectra:
        count = weight.sum(0)
        fitted = (weight.T @ x) / count.clamp(min=torch.finfo(x.dtype).tiny).unsqueeze(1)
        variance = torch.where((count > 1e-6).unsqueeze(1), fitted, self.variance)
        return Spectra(variance.clamp(min=self.floor), self.floor)

    def sample(self, state: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return ComplexGaussian(self.variance.log()[state], floor=0.0).sample(generator=generator)
