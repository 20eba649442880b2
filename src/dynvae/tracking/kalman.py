"""A mixture whose sources move at constant velocity: the variational Kalman filter, in place of trained models."""

from __future__ import annotations

__all__ = ["KalmanMixture"]

from dataclasses import dataclass

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.mixtures import Estimate, GaussianAssignment, Observations
from dynvae.mixtures.values import Evidence


@dataclass(frozen=True)
class KalmanMixture:
    r"""Assignment and smoothing in turn, each source by a Kalman smoother (Ban et al., 2021).

    A coordinate has the state :math:`(s_t, v_t)`, :math:`s_{t+1} = s_t + v_t + \epsilon / 2`, :math:`v_{t+1} = v_t +
    \epsilon`, with a deviation of ε in proportion to the box.

    Args:
        assignment: of the observations, as in `dynvae.mixtures.Mixture`.
        iterations: of both.
        acceleration: deviation of ε, as a share of the first box's width or height.
        speed: deviation of the first velocity, likewise.

    Raises:
        ConfigError: a number is not positive.
    """

    assignment: GaussianAssignment
    iterations: int = 20
    acceleration: float = 0.01
    speed: float = 0.1

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.acceleration <= 0 or self.speed <= 0:
            raise ConfigError("iterations, acceleration and speed must be positive, not "
                              f"{self.iterations}, {self.acceleration} and {self.speed}")  # fmt: skip

    def run(self, observed: Observations, start: Estimate, guess: Estimate | None = None) -> Estimate:
        """The sources, ``(batch, source, time, feature)``.

        Args:
            observed: as of `dynvae.mixtures.Mixture`.
            start: the law of the first frame, ``(batch, source, feature)``.
            guess: what the first assignment sees; by default what the filter expects of each frame in its turn.
        """
        size = (start.mean[..., 2:] - start.mean[..., :2]).abs().clamp(min=1e-4).tile(2)
        motion = start, size * self.acceleration, size * self.speed
        active = torch.ones(start.mean.shape[:2], dtype=torch.bool)
        assigning = self.assignment.begin(observed, active)
        estimate = self._filtered(observed, active, *motion) if guess is None else guess
        for iteration in range(self.iterations):
            assigning.assign(estimate, iteration)
            estimate = smoothed(assigning.evidence(), *motion)
            assigning.update(estimate)
        return estimate

    def _filtered(
        self, observed: Observations, active: Tensor, start: Estimate, acceleration: Tensor, speed: Tensor
    ) -> Estimate:
        """From frame to frame: expect, assign, update."""
        filtering = _Filter(start, acceleration, speed)
        found = []
        for t in range(observed.values.shape[1]):
            filtering.expect(moved=t > 0)
            assigning = self.assignment.begin(observed.frames(t, t + 1), active)
            assigning.assign(Estimate(*(part.unsqueeze(2).to(start.mean) for part in filtering.place)), 0)
            said = assigning.evidence()
            filtering.update(said.log_precision[:, :, 0].double().exp(), said.target[:, :, 0].double())
            found.append(filtering.place)
        return Estimate(*(torch.stack(part, 2).to(start.mean) for part in zip(*found, strict=True)))


class _Filter:
    """Mean and covariance of place and velocity, of every coordinate by itself, all at once."""

    def __init__(self, start: Estimate, acceleration: Tensor, speed: Tensor) -> None:
        self.step = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
        unit = torch.tensor([[0.25, 0.5], [0.5, 1.0]], dtype=torch.float64)
        self.noise = unit * acceleration.double()[..., None, None] ** 2
        self.mean = torch.stack([start.mean, torch.zeros_like(start.mean)], -1).double()
        self.covariance = torch.diag_embed(torch.stack([start.variance, speed**2], -1).double())

    @property
    def place(self) -> tuple[Tensor, Tensor]:
        return self.mean[..., 0], self.covariance[..., 0, 0]

    def expect(self, *, moved: bool) -> None:
        if moved:
            self.mean = (self.step @ self.mean[..., None])[..., 0]
            self.covariance = self.step @ self.covariance @ self.step.mT + self.noise

    def update(self, precision: Tensor, target: Tensor) -> None:
        gain = self.covariance[..., 0] * (precision / (1 + precision * self.covariance[..., 0, 0]))[..., None]
        self.mean = self.mean + gain * (target - self.mean[..., 0])[..., None]
        self.covariance = self.covariance - gain[..., None] * self.covariance[..., :1, :]


def smoothed(evidence: Evidence, start: Estimate, acceleration: Tensor, speed: Tensor) -> Estimate:
    """The Rauch-Tung-Striebel smoother of every coordinate by itself, all at once.

    Args:
        evidence: what is said of the places, ``(..., time, feature)``.
        start: the law of the first place, ``(..., feature)``.
        acceleration: deviation of ε, ``(..., feature)``.
        speed: deviation of the first velocity, ``(..., feature)``.
    """
    precision, target = (part.double() for part in (evidence.log_precision.exp(), evidence.target))
    filtering = _Filter(start, acceleration, speed)
    predicted, filtered = [], []
    for t in range(target.shape[-2]):
        filtering.expect(moved=t > 0)
        predicted.append((filtering.mean, filtering.covariance))
        filtering.update(precision[..., t, :], target[..., t, :])
        filtered.append((filtering.mean, filtering.covariance))
    found = [filtered[-1]]
    for (ahead, spread), (mean, covariance) in zip(predicted[:0:-1], filtered[-2::-1], strict=True):
        gain = torch.linalg.solve(spread, filtering.step @ covariance).mT
        later, its = found[-1]
        mean = mean + (gain @ (later - ahead)[..., None])[..., 0]
        found.append((mean, covariance + gain @ (its - spread) @ gain.mT))
    means, variances = ([part[..., 0] for part, _ in found[::-1]], [part[..., 0, 0] for _, part in found[::-1]])
    return Estimate(torch.stack(means, -2).to(start.mean), torch.stack(variances, -2).to(start.mean))
