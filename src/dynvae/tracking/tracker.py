"""Whole films: sources that are born and die, followed by a mixture of DVAEs."""

from __future__ import annotations

__all__ = ["Tracker", "on_lines"]

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.mixtures import GaussianAssignment
from dynvae.models import DVAE
from dynvae.tracking.boxes import Array, Boxes, Scene, Whole, to_boxes, to_frames
from dynvae.tracking.following import Follower, Step
from dynvae.tracking.triplets import observations_of

_LEARNING = 0.005  # weight of one pair in what has been seen of late
_WIDEST = 0.5
_LEAST = 1e-5


@dataclass(frozen=True)
class Tracker:
    """Many people by MixDVAE, frame after frame, with births and deaths.

    In each frame the follower's VEM says which detection is whose. A detection that nobody wants begins a source; a
    source without detections is carried on by the model's expectation, and dies after ``patience`` frames. In the end
    sources with few detections are left out, and what is missing between detections is filled.

    Args:
        confidence: detections with less are not looked at.
        deviation: of a detection's edges, as a share of its width and height.
        spread: of detections about where their sources are expected, likewise, at first. It is far more than the
            deviation, and sets the temper of E-W.
        learn: the spread follows the film: this times the root mean square of what pairs were off by, of late; 0 keeps
            what it is at first. Where a camera moves, less can be expected than where it stands.
        gate: a detection is of a source only if it is nearer than so many spreads: root of the mean square over edges.
        doubt: share by which the spread grows with each frame without a detection.
        iterations: of VEM in a frame.
        history: frames that the model sees before a new one.
        hits: detections that a source needs to count.
        patience: frames that a source lives without a detection.
        longest: gap between detections that is filled, in frames.
        fill: boxes for frames between detections: on a ``"line"``, what the ``"model"`` has expected, or ``"none"``.

    Raises:
        ConfigError: a setting is out of range.
    """

    confidence: float = 0.0
    deviation: float = 0.04
    spread: float = 0.2
    learn: float = 2.0
    gate: float = 2.5
    doubt: float = 0.03
    iterations: int = 2
    history: int = 15
    hits: int = 3
    patience: int = 30
    longest: int = 10
    fill: Literal["line", "model", "none"] = "line"

    def __post_init__(self) -> None:
        if not (self.gate > 0 and self.spread >= self.deviation > 0 and self.doubt >= 0):
            raise ConfigError("gate and deviation are positive, spread is no less than deviation, doubt not negative; "
                              f"not {self.gate}, {self.deviation}, {self.spread} and {self.doubt}")  # fmt: skip
        if self.learn < 0 or self.longest < 0:
            raise ConfigError(f"learn and longest are not negative, not {self.learn} and {self.longest}")
        if self.iterations < 1 or self.history < 2 or self.hits < 1 or self.patience < 0:
            raise ConfigError(
                "there is at least one iteration and one hit, a history of two frames, and patience is not negative; "
                f"not {self.iterations}, {self.hits}, {self.history} and {self.patience}"
            )
        if self.fill not in ("line", "model", "none"):
            raise ConfigError(f"fill is line, model or none, not '{self.fill}'")

    def follower(self, model: DVAE) -> Follower:
        """What finds the sources of the next frame, with these settings."""
        assignment = GaussianAssignment(temper=(self.deviation / self.spread) ** 2)
        return Follower(model, assignment, iterations=self.iterations, gate=4 * self.gate**2)

    def track(
        self,
        model: DVAE,
        detections: Boxes,
        scene: Scene,
        progress: Callable[[int, int], None] | None = None,
    ) -> Boxes:
        """Follow everybody in a film.

        Args:
            model: of boxes.
            detections: of the film.
            scene: the film.
            progress: is told the frames done, and how many there are.

        Returns:
            Tracks, their ids counted from 1 in the order of their birth.
        """
        detections = detections.where((detections.confidence >= self.confidence) & (detections.box[:, 2:] > 0).all(1))
        state = _Film(self, self.follower(model), scene)
        for frame, rows in enumerate(detections.split(scene.frames), 1):
            state.see(frame, detections.box[rows])
            if progress is not None:
                progress(frame, scene.frames)
        return state.tracks()


def on_lines(places: Array, detected: NDArray[np.bool_]) -> Array:
    """Places ``(time, 4)`` with those between detections on straight lines; those after the last one stay."""
    seen = np.flatnonzero(detected)
    moved = np.stack([np.interp(np.arange(len(places)), seen, side[seen]) for side in places.T], 1)
    return np.where(np.arange(len(places))[:, None] <= seen[-1], moved, places)


def _gaps(detected: NDArray[np.bool_]) -> Whole:
    """How many frames without a detection there are in a row, at each frame; the first and the last have one."""
    seen = np.flatnonzero(detected)
    place = np.searchsorted(seen, np.arange(len(detected)))
    return np.where(detected, 0, seen[place] - seen[place - 1] - 1)


@dataclass(eq=False)
class _Source:
    """One of the tracked."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Array] = field(default_factory=list)
    detected: list[bool] = field(default_factory=list)

    @property
    def missed(self) -> int:
        return len(self.detected) - 1 - max(place for place, found in enumerate(self.detected) if found)


class _Film:
    """A film up to some frame."""

    def __init__(self, tracker: Tracker, follower: Follower, scene: Scene) -> None:
        self.tracker, self.follower, self.scene = tracker, follower, scene
        self.sources: list[_Source] = []
        self.alive: list[_Source] = []
        self.known = torch.empty(0, tracker.history, 4)
        self.off = (tracker.spread / max(tracker.learn, 1e-9)) ** 2

    def see(self, frame: int, found: Array) -> None:
        """One frame more."""
        seen = to_frames(found, self.scene.size)
        taken: Whole = np.empty(0, np.int64)
        if self.alive:
            step = self._step(seen)
            expected, mean = (part[0, :, 0].double().numpy() for part in (step.expected, step.mean))
            rows, taken = np.nonzero(step.assignment[0, :, 0].numpy())
            self._learn(expected[rows], seen[taken])
            mean = np.where(np.isin(np.arange(len(mean)), rows)[:, None], mean, expected)
            for index, source in enumerate(self.alive):
                source.frames.append(frame)
                source.boxes.append(mean[index])
                source.detected.append(index in rows)
            self._remember(torch.from_numpy(mean).float())
        for place in np.setdiff1d(np.arange(len(seen)), taken):
            self._born(frame, seen[place])

    def _step(self, seen: Array) -> Step:
        observed = observations_of(seen[None, None], np.ones((1, 1, len(seen)), bool), seen[None, None],
                                   self.tracker.deviation)  # fmt: skip
        doubt = torch.tensor([[1 + self.tracker.doubt * source.missed for source in self.alive]])
        return self.follower.follow(self.known.unsqueeze(0), observed, doubt=doubt)

    def _learn(self, expected: Array, seen: Array) -> None:
        """The spread, from what the pairs of this frame are off by."""
        if not len(seen) or not self.tracker.learn:
            return
        sizes = np.abs(np.stack([seen[:, 2] - seen[:, 0], seen[:, 1] - seen[:, 3]] * 2, 1))
        off = float(np.square((seen - expected) / np.maximum(sizes, _LEAST)).mean())
        self.off += (off - self.off) * min(1.0, len(seen) * _LEARNING)
        spread = min(max(self.tracker.learn * self.off**0.5, 2 * self.tracker.deviation), _WIDEST)
        self.follower.temper((self.tracker.deviation / spread) ** 2)

    def _remember(self, mean: Tensor) -> None:
        self.known = torch.cat([self.known[:, 1:], mean.unsqueeze(1)], 1)
        kept = [index for index, source in enumerate(self.alive) if source.missed <= self.tracker.patience]
        self.known, self.alive = self.known[kept], [self.alive[index] for index in kept]

    def _born(self, frame: int, place: Array) -> None:
        source = _Source([frame], [place], [True])
        self.sources.append(source)
        self.alive.append(source)
        still = torch.from_numpy(place).float().expand(1, self.tracker.history, 4)
        self.known = torch.cat([self.known, still])

    def tracks(self) -> Boxes:
        """What is to be told of everybody."""
        rows, who = [], 0
        for source in self.sources:
            detected = np.array(source.detected)
            if detected.sum() < self.tracker.hits:
                continue
            who += 1
            last = int(np.flatnonzero(detected)[-1]) + 1
            frames, places, detected = np.array(source.frames[:last]), np.stack(source.boxes[:last]), detected[:last]
            if self.tracker.fill == "line":
                places = on_lines(places, detected)
            shown = detected if self.tracker.fill == "none" else _gaps(detected) <= self.tracker.longest
            boxes = to_boxes(places, self.scene.size)
            rows += [(frames[i], who, *boxes[i], 1.0) for i in np.flatnonzero(shown)]
        return Boxes.of(rows)
