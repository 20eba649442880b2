"""Some frames further: where known sources are in the next frames, by variational EM from what is known of them."""

from __future__ import annotations

__all__ = ["Follower"]

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.mixtures import Estimate, GaussianAssignment, Mixture, Observations
from dynvae.mixtures.values import Evidence
from dynvae.models import DVAE
from dynvae.motion import BoxView
from dynvae.tracking.matching import pairs

_PINNED = 1e-4  # share of a box: the deviation of what is known


class Step(NamedTuple):
    """The next frames of all sources, in the picture.

    Attributes:
        expected: what the model expects without looking, ``(batch, source, time, 4)``.
        mean: of q(s), in the same shape.
        variance: of q(s).
        assignment: chances, ``(batch, source, time, observation)``.
    """

    expected: Tensor
    mean: Tensor
    variance: Tensor
    assignment: Tensor


class Follower:
    """Sources that are known up to some frame, and detections of the frames after it.

    What is known enters as evidence that cannot be doubted, so that the model's memory is full when new frames begin;
    only they have assignments. The first guess of them is what the model expects of each source by itself.

    Args:
        model: of boxes; without a `dynvae.motion.BoxView`, it sees them in the picture.
        assignment: whose each detection is.
        iterations: of VEM.
        gate: if given, E-W is over one-to-one pairs alone: a detection is of one source at most, and a source has one
            in a frame at most. The pairs are taken whose densities sum to most, among those whose squared distance is
            less: in deviations, tempered as in E-W, and with the doubt about the source.

    Raises:
        ConfigError: the model is not one of boxes.
    """

    def __init__(
        self,
        model: DVAE,
        assignment: GaussianAssignment,
        *,
        iterations: int = 3,
        gate: float | None = None,
    ) -> None:
        if model.x_dim != 4:
            raise ConfigError(
                f"this {type(model).__name__} is no model of boxes: it takes frames of {model.x_dim} features, not of 4"
            )
        self.view = model.front_end if isinstance(model.front_end, BoxView) else BoxView("picture")
        self.settings, self.gate = assignment, gate
        self.mixture = Mixture(model, assignment, iterations=iterations)
        self.expecting = Mixture(model, assignment, iterations=1)

    def temper(self, temper: float) -> None:
        """Set the inverse temperature of E-W."""
        self.settings = dataclasses.replace(self.settings, temper=temper)

    def follow(
        self, known: Tensor, observed: Observations, active: Tensor | None = None, doubt: Tensor | None = None
    ) -> Step:
        """The next frames.

        Args:
            known: the frames before, ``(batch, source, time, 4)``, of the picture.
            observed: of the next frames only.
            active: which sources exist, ``(batch, source)``.
            doubt: factor on the deviation of where a source is expected, ``(batch, source)``; 1 by default.
        """
        placed = _Placed(self, known, known.new_ones(known.shape[:2]) if doubt is None else doubt)
        before, ahead = known.shape[2], observed.values.shape[1]
        mean = torch.cat([placed.known, placed.known[:, :, -1:].expand(-1, -1, ahead, -1)], 2)
        guess = Estimate(mean, torch.full_like(mean, _PINNED**2))
        nothing = observed._replace(present=torch.zeros_like(observed.present))
        steps = []
        for mixture, seen in ((self.expecting, nothing), (self.mixture, observed)):
            mixture.assignment = placed  # type: ignore[assignment]
            found = mixture.run(seen, guess, active=active)
            guess = Estimate(torch.cat([placed.known, found.mean[:, :, before:]], 2), found.variance)
            steps.append(placed.of_picture(guess))
        return Step(steps[0].mean, steps[1].mean, steps[1].variance, found.assignment)


class _Placed:
    """The assignment of the last frames, between the picture and what each source sees."""

    def __init__(self, follower: Follower, known: Tensor, doubt: Tensor) -> None:
        self.follower, self.doubt = follower, doubt
        self.place, self.size = (part.unsqueeze(2) for part in follower.view.origin(known[:, :, -1]))
        self.known = (known - self.place) / self.size

    def of_picture(self, q: Estimate) -> Estimate:
        """The new frames of what sources see."""
        before = self.known.shape[2]
        return Estimate(q.mean[:, :, before:] * self.size + self.place, q.variance[:, :, before:] * self.size**2)

    def begin(self, observed: Observations, active: Tensor) -> _Placing:
        return _Placing(self, self.follower.settings.begin(observed, active))


class _Placing:
    """What `Mixture` asks of an assignment that has begun."""

    def __init__(self, placed: _Placed, inner: Any) -> None:
        self.placed, self.inner = placed, inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def assign(self, q: Estimate, iteration: int) -> None:
        seen, gate = self.placed.of_picture(q), self.placed.follower.gate
        if gate is None:
            self.inner.assign(seen, iteration)
            return
        possible = self.inner.given.present.unsqueeze(1) & self.inner.active[:, :, None, None]
        temper, doubt = self.placed.follower.settings.temper, self.placed.doubt[:, :, None, None]
        distance = self.inner.distances(seen) * temper / doubt**2
        gain = (-distance / (2 * seen.mean.shape[-1])).exp() / doubt**2
        self.inner.assignment = _best_pairs(gain, possible & (distance < gate))

    def update(self, q: Estimate) -> None:
        self.inner.update(self.placed.of_picture(q))

    def evidence(self) -> Evidence:
        placed, said = self.placed, self.inner.evidence()
        precision = said.log_precision + 2 * placed.size.log()
        target = (said.target - placed.place) / placed.size
        sure = torch.full_like(placed.known, -2 * float(np.log(_PINNED)))
        return Evidence(torch.cat([sure, precision], 2), torch.cat([placed.known, target], 2))

    def observed(self) -> Tensor:
        new = self.inner.observed()
        return torch.cat([new.new_ones(*new.shape[:2], self.placed.known.shape[2]), new], 2)


def _best_pairs(gain: Tensor, possible: Tensor) -> Tensor:
    """One where a source and an observation are among the pairs of their frame that gain most, else zero."""
    gains, allowed = (each.movedim(2, 1).double().numpy() for each in (gain, possible))
    taken = np.zeros_like(gains)
    for place in np.ndindex(*gains.shape[:2]):
        row, column = pairs(gains[place], allowed[place] > 0)
        taken[place][row, column] = 1
    return torch.from_numpy(taken).to(gain).movedim(1, 2)
