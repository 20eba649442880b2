"""What a mixture takes and gives: estimates of sources, what was observed, and how the algorithm ended."""

from __future__ import annotations

__all__ = ["Estimate", "Evidence", "Solution"]

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """q(s), a Gaussian a feature: real, or circular complex.

    Attributes:
        mean: ``(batch, source, time, feature)``; of a single frame ``(batch, source, feature)``.
        variance: in the same shape, real.
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def constant(cls, frame: Estimate, time: int) -> Estimate:
        """A frame ``(batch, source, feature)``, held for so many frames.

        Example:
            >>> frame = Estimate(torch.zeros(2, 3, 4), torch.ones(2, 3, 4))
            >>> Estimate.constant(frame, 7).mean.shape
            torch.Size([2, 3, 7, 4])
        """
        return cls(*(part.unsqueeze(2).expand(-1, -1, time, -1).contiguous() for part in frame))

    def frames(self, start: int, stop: int) -> Estimate:
        """Those from ``start`` to before ``stop``."""
        return Estimate(self.mean[:, :, start:stop], self.variance[:, :, start:stop])


class Evidence(NamedTuple):
    """What the observations that are assigned to a source say of its frames: a Gaussian factor a feature.

    Attributes:
        log_precision: ``(batch, source, time, feature)``; about -87 where nothing is said.
        target: its mean, in the same shape.
    """

    log_precision: Tensor
    target: Tensor

    @classmethod
    def of(cls, precision: Tensor, target: Tensor) -> Evidence:
        """From a precision, which may be zero."""
        return cls(precision.clamp(min=torch.finfo(precision.dtype).tiny).log(), target)


@dataclass(eq=False)
class Solution:
    """Where variational EM has ended.

    Attributes:
        mean: of q(s), ``(batch, source, time, feature)``.
        variance: of q(s).
        assignment: η, the chance that an observation is of a source, ``(batch, source, time, observation)``; zero
            where there is none.
        clutter: the chance that it is of no source, ``(batch, time, observation)``.
        observed: frames in which an observation is rather this source's than not, ``(batch, source, time)``.
        noise: the variance of the observations' noise, ``(batch, time, observation, feature)``, or of a bin of the
            spectrum, ``(batch, time, bins)``.
        objective: the bound of ln p(observations) at the checked iterations, ``(checks, batch)``, in nats; more is
            better.
        iterations: the numbers of these iterations, counted from one.
        done: iterations that were done.
    """

    mean: Tensor
    variance: Tensor
    assignment: Tensor
    clutter: Tensor
    observed: Tensor
    noise: Tensor
    objective: Tensor
    iterations: list[int]
    done: int

    @property
    def estimate(self) -> Estimate:
        """q(s)."""
        return Estimate(self.mean, self.variance)
