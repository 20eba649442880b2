"""SORT: a Kalman filter of constant velocity for each box, and the Hungarian algorithm between frames."""

from __future__ import annotations

__all__ = ["Sort"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dynvae.errors import ConfigError
from dynvae.tracking.boxes import Array, Boxes, Scene, iou
from dynvae.tracking.matching import pairs

# The state of a box: centre x and y, area, width / height, and the velocities of the first three, in pixels a frame.
_STEP = np.eye(7)
_STEP[[0, 1, 2], [4, 5, 6]] = 1
_PROCESS = np.diag([1.0, 1, 1, 1, 1e-2, 1e-2, 1e-4])
_NOISE = np.diag([1.0, 1, 10, 10])
_START = np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])


@dataclass(frozen=True)
class Sort:
    """Simple online and realtime tracking (Bewley et al., 2016), with their settings.

    Args:
        overlap: least intersection over union of a detection and the box that is expected.
        hits: detections in a row, after which a track is shown; in the first frames all are.
        patience: frames that a track survives without a detection. Published is 1.

    Raises:
        ConfigError: a setting is out of range.

    Example:
        >>> detections = Boxes.of([(t, -1, 10 + t, 20, 30, 60, 1) for t in range(1, 9)])
        >>> Sort().track(detections, Scene("walk", 8, 640, 480)).tracks
        1
    """

    overlap: float = 0.3
    hits: int = 3
    patience: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 1 or self.hits < 0 or self.patience < 1:
            raise ConfigError(f"SORT needs an overlap from 0 to 1, hits from 0 and a patience from 1, not "
                              f"{self.overlap}, {self.hits} and {self.patience}")  # fmt: skip

    def track(self, detections: Boxes, scene: Scene, progress: Callable[[int, int], None] | None = None) -> Boxes:
        """Follow the boxes of a film, frame by frame.

        Args:
            detections: of the film.
            scene: the film; only its number of frames matters.
            progress: is told the frames done, and how many there are.

        Returns:
            Tracks, their ids counted from 1 in the order of their birth.
        """
        mean, covariance = np.empty((0, 7)), np.empty((0, 7, 7))
        age, streak, ids = np.empty(0, int), np.empty(0, int), np.empty(0, int)
        born, rows = 0, []
        for frame, row in enumerate(detections.split(scene.frames), 1):
            stopped = mean[:, 2] + mean[:, 6] <= 0
            mean[stopped, 6] = 0
            mean = mean @ _STEP.T
            covariance = _STEP @ covariance @ _STEP.T + _PROCESS
            streak[age > 0] = 0
            age += 1
            found = detections.box[row]
            expected = _boxes(mean)
            overlaps = iou(found, expected)
            which, track = pairs(overlaps, overlaps >= max(self.overlap, 1e-9))
            mean[track], covariance[track] = _updated(mean[track], covariance[track], _measured(found[which]))
            age[track], streak[track] = 0, streak[track] + 1
            new = np.setdiff1d(np.flatnonzero(found[:, 2:].prod(1) > 0), which)
            fresh = np.zeros((len(new), 7))
            fresh[:, :4] = _measured(found[new])
            mean = np.concatenate([mean, fresh])
            covariance = np.concatenate([covariance, np.broadcast_to(_START, (len(new), 7, 7))])
            age, streak = np.append(age, np.zeros(len(new), int)), np.append(streak, np.zeros(len(new), int))
            ids = np.append(ids, born + 1 + np.arange(len(new)))
            born += len(new)
            shown = (age < 1) & ((streak >= self.hits) | (frame <= self.hits))
            rows += [(frame, who, *box, 1.0) for who, box in zip(ids[shown], _boxes(mean[shown]), strict=True)]
            alive = age <= self.patience
            mean, covariance, age, streak, ids = (each[alive] for each in (mean, covariance, age, streak, ids))
            if progress is not None:
                progress(frame, scene.frames)
        return Boxes.of(rows)


def _measured(box: Array) -> Array:
    width, height = box[:, 2], box[:, 3]
    return np.stack([box[:, 0] + width / 2, box[:, 1] + height / 2, width * height, width / height], 1)


def _boxes(state: Array) -> Array:
    area, ratio = np.clip(state[:, 2], 0, None), np.clip(state[:, 3], 1e-6, None)
    width = np.sqrt(area * ratio)
    height = width / ratio
    return np.stack([state[:, 0] - width / 2, state[:, 1] - height / 2, width, height], 1)


def _updated(mean: Array, covariance: Array, measured: Array) -> tuple[Array, Array]:
    """The Kalman update of several boxes at once."""
    gain = covariance[:, :, :4] @ np.linalg.inv(covariance[:, :4, :4] + _NOISE)
    mean = mean + (gain @ (measured - mean[:, :4])[..., None])[..., 0]
    return mean, covariance - gain @ covariance[:, :4]
