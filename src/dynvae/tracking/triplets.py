"""Clips of a few people each, with the detections that are theirs: the MOT17-3T protocol."""

from __future__ import annotations

__all__ = ["Clips", "cut_clips", "matched_detections"]

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.mixtures import Observations
from dynvae.tracking.boxes import Array, Boxes, Scene, Whole, iou, to_boxes, to_frames
from dynvae.tracking.matching import pairs
from dynvae.tracking.metrics import TrackingScores, combine, score_tracks

_LEADING = 5  # frames at the beginning in which everybody must be detected


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one length, boxes as `dynvae.tracking.to_frames` gives them.

    Attributes:
        names: ``SEQUENCE@FRAME:IDS``.
        truth: who is where, ``(clip, time, person, 4)``.
        values: detections, ``(clip, time, person, 4)``; anything where none is present.
        present: ``(clip, time, person)``.
        sizes: width and height of the picture, ``(clip, 2)``.
    """

    names: list[str]
    truth: Array
    values: Array
    present: NDArray[np.bool_]
    sizes: Array

    def __len__(self) -> int:
        return len(self.names)

    def where(self, kept: Whole) -> Clips:
        """Some of them."""
        names = [self.names[index] for index in kept]
        return Clips(names, self.truth[kept], self.values[kept], self.present[kept], self.sizes[kept])

    def shuffled(self, seed: int = 0) -> Clips:
        """The detections of each frame in a random order, so that their order does not tell whose they are."""
        dice = np.random.default_rng(seed)
        order = np.argsort(dice.uniform(size=self.present.shape), -1)
        values = np.take_along_axis(self.values, order[..., None], 2)
        return Clips(self.names, self.truth, values, np.take_along_axis(self.present, order, 2), self.sizes)

    def thinned(self, share: float, seed: int = 0) -> Clips:
        """Without some of the detections, by chance, but for those of the first frames."""
        dice = np.random.default_rng(seed)
        present = self.present & (dice.uniform(size=self.present.shape) >= share)
        present[:, :_LEADING] = self.present[:, :_LEADING]
        return Clips(self.names, self.truth, self.values, present, self.sizes)

    def observations(self, deviation: float = 0.04) -> Observations:
        """For a mixture: the noise of a coordinate has this share of the first box's width or height."""
        return observations_of(self.values, self.present, self.values[:, 0], deviation)

    def detections(self, index: int) -> Boxes:
        """Those of one clip, as a film of its own."""
        time, person = np.nonzero(self.present[index])
        box = to_boxes(self.values[index, time, person], self.sizes[index].tolist())
        return Boxes(time + 1, np.full(len(time), -1), box, np.ones(len(time)))

    def score(self, means: Tensor | Array) -> TrackingScores:
        """The scores of tracks that have a box in every frame, ``(clip, person, time, 4)``, over all clips."""
        found = np.moveaxis(np.asarray(means, np.float64), 1, 2)
        return combine(
            score_tracks(self._boxes(index, self.truth[index]), self._boxes(index, found[index]))
            for index in range(len(self))
        )

    def score_boxes(self, tracks: list[Boxes]) -> TrackingScores:
        """The scores of one film of tracks for each clip."""
        return combine(score_tracks(self._boxes(i, self.truth[i]), each) for i, each in enumerate(tracks))

    def _boxes(self, index: int, frames: Array) -> Boxes:
        time, people, _ = frames.shape
        box = to_boxes(frames.reshape(-1, 4), self.sizes[index].tolist())
        frame, who = np.repeat(np.arange(1, time + 1), people), np.tile(np.arange(1, people + 1), time)
        return Boxes(frame, who, box, np.ones(len(box)))


def observations_of(values: Array, present: NDArray[np.bool_], sized: Array, deviation: float) -> Observations:
    """Detections with noise in proportion to boxes.

    Args:
        values: ``(batch, time, observation, 4)``.
        present: ``(batch, time, observation)``.
        sized: boxes that tell the size, ``(batch, observation, 4)`` or ``(batch, time, observation, 4)``.
        deviation: of a coordinate, as a share of the width or height.
    """
    width, height = (np.maximum(deviation * np.abs(sized[..., i] - sized[..., i - 2]), 1e-5) for i in (2, 3))
    variance = np.stack([width, height, width, height], -1) ** 2
    variance = variance if variance.ndim == 4 else np.broadcast_to(variance[:, None], values.shape)
    numbers = (torch.from_numpy(np.ascontiguousarray(each)).float() for each in (values, variance))
    filled, noise = (number.nan_to_num(1.0) for number in numbers)
    return Observations(filled, torch.from_numpy(present), noise)


def cut_clips(
    truth: Boxes,
    detections: Boxes,
    scene: Scene,
    frames: int,
    *,
    people: int = 3,
    slide: int = 40,
    most: int = 20,
    coverage: float = 0.65,
    seed: int = 0,
) -> Clips:
    """Clips of a few people that are there all the time, each with the detections that match (Lin et al., 2023).

    A window begins every ``slide`` frames. Among the people who are in all its frames, detected in ``coverage`` of them
    and in the first five, ``most`` groups are drawn, of which the same ones count once.

    Args:
        truth: who is where.
        detections: of the film.
        scene: the film.
        frames: of a clip: 60, 120 or 300 as published.
        people: of a clip.
        slide: frames from window to window.
        most: groups in a window.
        coverage: least share of frames in which everybody is detected.
        seed: of the groups.

    Raises:
        ConfigError: a setting is out of range.
    """
    if frames < _LEADING or people < 1 or slide < 1 or most < 1 or not 0 <= coverage <= 1:
        raise ConfigError(
            f"clips have at least {_LEADING} frames and somebody in them, and slide and most are positive"
        )
    dice = np.random.default_rng(seed)
    ids = np.unique(truth.id)
    there, seen = np.zeros((2, len(ids), scene.frames), bool)
    places, found = np.zeros((2, len(ids), scene.frames, 4))
    inside = truth.frame <= scene.frames
    who, when = np.searchsorted(ids, truth.id[inside]), truth.frame[inside] - 1
    there[who, when] = True
    places[who, when] = to_frames(truth.box[inside], scene.size)
    matched = matched_detections(truth, detections, scene.frames)
    rows = np.flatnonzero(matched >= 0)
    who, when = np.searchsorted(ids, matched[rows]), detections.frame[rows] - 1
    seen[who, when] = True
    found[who, when] = to_frames(detections.box[rows], scene.size)
    names, parts = [], []
    for start in range(0, scene.frames - frames, slide):
        window = slice(start, start + frames)
        enough = seen[:, window].sum(1) >= int(frames * coverage)
        able = np.flatnonzero(there[:, window].all(1) & enough & seen[:, start : start + _LEADING].all(1))
        if len(able) < people:
            continue
        for group in np.unique([np.sort(dice.choice(able, people, replace=False)) for _ in range(most)], axis=0):
            names.append(f"{scene.name}@{start + 1}:{'-'.join(map(str, ids[group]))}")
            parts.append([each[group, window].swapaxes(0, 1) for each in (places, found, seen)])
    shape = (0, frames, people)
    arrays = [np.stack(each) for each in zip(*parts, strict=True)] if parts else [
        np.zeros((*shape, 4)), np.zeros((*shape, 4)), np.zeros(shape, bool)
    ]  # fmt: skip
    return Clips(names, arrays[0], arrays[1], arrays[2], np.tile(scene.size, (len(names), 1)))


def matched_detections(truth: Boxes, detections: Boxes, frames: int, threshold: float = 0.5) -> Whole:
    """Whose each detection is: the id of the person in the truth that it overlaps with, at most one each; else -1."""
    whose = np.full(len(detections), -1)
    for row, column in zip(truth.split(frames), detections.split(frames), strict=True):
        overlaps = iou(truth.box[row], detections.box[column])
        person, found = pairs(overlaps, overlaps >= threshold)
        whose[column[found]] = truth.id[row[person]]
    return whose
