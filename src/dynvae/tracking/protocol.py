"""Ways to follow the people of clips, for comparison: all see the same detections, and begin with those of frame 1."""

from __future__ import annotations

__all__ = ["by_following", "by_kalman", "by_sort", "by_vem"]

import dataclasses
from typing import Any

import numpy as np
import torch

from dynvae.mixtures import Estimate, GaussianAssignment, Mixture, cascade, legacy
from dynvae.models import DVAE
from dynvae.tracking.boxes import Array, Boxes, Scene
from dynvae.tracking.kalman import KalmanMixture
from dynvae.tracking.sort import Sort
from dynvae.tracking.tracker import Tracker, on_lines
from dynvae.tracking.triplets import Clips, observations_of

# E-W as published: far less sharp than the noise of the detections says.
_TEMPER, _FLOOR = 0.008, 1e-10


def by_following(clips: Clips, model: DVAE, tracker: Tracker) -> Array:
    """Frame after frame as in whole films, of people who neither come nor go: ``(clip, person, time, 4)``.

    E-W has the published temperature: as every detection is somebody's, it may be far from where that one is expected.
    """
    follower = dataclasses.replace(tracker, spread=tracker.deviation / _TEMPER**0.5).follower(model)
    known = torch.from_numpy(clips.values[:, 0]).float().unsqueeze(2).expand(-1, -1, tracker.history, -1)
    places, detected = [clips.values[:, 0]], [np.ones(clips.values.shape[:1] + clips.values.shape[2:3], bool)]
    missed = torch.zeros(known.shape[:2])
    for t in range(1, clips.values.shape[1]):
        values, present = clips.values[:, t : t + 1], clips.present[:, t : t + 1]
        observed = observations_of(values, present, values, tracker.deviation)
        step = follower.follow(known, observed, doubt=1 + tracker.doubt * missed)
        found = step.assignment[:, :, 0].sum(-1) > 0.5
        mean = step.mean[:, :, 0].where(found.unsqueeze(-1), step.expected[:, :, 0])
        known = torch.cat([known[:, :, 1:], mean.unsqueeze(2)], 2)
        missed = (missed + 1).where(~found, 0)
        places.append(mean.double().numpy())
        detected.append(found.numpy())
    means, seen = np.stack(places, 2), np.stack(detected, 2)
    if tracker.fill == "line":
        for place in np.ndindex(*seen.shape[:2]):
            means[place] = on_lines(means[place], seen[place])
    return means


def by_vem(clips: Clips, model: DVAE, *, published: bool = False, iterations: int | None = None) -> Array:
    """Whole clips by VEM from a cascade of pieces of 30 frames, as published, or with z from the prior in gaps.

    Args:
        clips: with boxes in the picture, which the model sees so.
        model: trained on boxes in the picture.
        published: all settings as published.
        iterations: 70 as published, 20 otherwise.
    """
    observed = clips.observations()
    first = Estimate(observed.values[:, 0], observed.variance[:, 0])
    if published:
        start = Estimate(first.mean, torch.full_like(first.mean, legacy.FIRST_VARIANCE))
        short = legacy.tracking(model, iterations=20)
        guess = cascade(short, observed, first, sure=legacy.FIRST_VARIANCE, refined=False)
        found = legacy.tracking(model, iterations=iterations or 70).run(observed, guess, start=start)
    else:
        assignment = GaussianAssignment(temper=_TEMPER, floor=_FLOOR)
        guess = cascade(Mixture(model, assignment, iterations=20), observed, first)
        found = Mixture(model, assignment, iterations=iterations or 20).run(observed, guess, start=first)
    return found.mean.double().numpy()


def by_kalman(clips: Clips, *, resting: bool = False, **settings: Any) -> Array:
    """Assignment by E-W, and a Kalman smoother for each person.

    Args:
        clips: the clips.
        resting: the first assignment sees resting boxes, piece by piece as the published cascade does; otherwise what a
            Kalman filter expects from frame to frame.
        settings: of `KalmanMixture`.
    """
    observed = clips.observations()
    first = Estimate(observed.values[:, 0], observed.variance[:, 0])
    kalman = KalmanMixture(GaussianAssignment(temper=_TEMPER, floor=_FLOOR), **settings)
    if not resting:
        return kalman.run(observed, first).mean.double().numpy()
    time, place, parts = observed.values.shape[1], first, []
    for begin in range(0, time, 30):
        end = min(begin + 30, time)
        found = kalman.run(observed.frames(begin, end), place, Estimate.constant(place, end - begin))
        parts.append(found)
        place = Estimate(found.mean[:, :, -1], first.variance)
    guess = Estimate(*(torch.cat(part, 2) for part in zip(*parts, strict=True)))
    return kalman.run(observed, first, guess).mean.double().numpy()


def by_sort(clips: Clips, sort: Sort) -> list[Boxes]:
    """SORT, clip by clip."""
    frames = clips.values.shape[1]
    return [
        sort.track(clips.detections(index), Scene(name, frames, *clips.sizes[index]))
        for index, name in enumerate(clips.names)
    ]
