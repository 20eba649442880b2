"""Where the mouth is: a face is looked for, followed through the frames, and its lower part cut out."""

from __future__ import annotations

__all__ = ["Tracking", "find_lips"]

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import ConfigError, require
from dynvae.video.files import read_frames
from dynvae.video.lips import LIP_PIXELS, LIP_SIDE, Lips

Box = NDArray[np.float64]
"""Of a face: horizontal and vertical place of its middle, and its width, in pixels."""


@dataclass(frozen=True)
class Tracking:
    """How a mouth is found.

    A face is looked for every so often by OpenCV's cascade of Haar features for frontal faces (Viola and Jones, 2001).
    Of several faces the largest is taken first, and then the one that is nearest to the last. Its path between the
    looks is a line, smoothed by a running median and then a running mean, each within a stretch of the video in which
    the face stays in sight. The mouth lies below the middle of the face.

    Attributes:
        every: seconds from look to look.
        gap: seconds without a face that are bridged; what is longer has no lips.
        median: seconds of the running median.
        mean: seconds of the running mean.
        below: how far the middle of the mouth lies below that of the face, in widths of the face.
        side: of the square that is cut out, in widths of the face.
        smallest: width of the smallest face, as a part of the frame's shorter side.
        longest: pixels of the longer side of the pictures in which faces are looked for; larger ones are shrunk.

    Raises:
        ConfigError: a number is not positive.
    """

    every: float = 0.08
    gap: float = 0.4
    median: float = 0.44
    mean: float = 1.0
    below: float = 0.30
    side: float = 0.52
    smallest: float = 0.15
    longest: int = 640

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"tracking: {name} is positive, not {value}")


def find_lips(path: str | os.PathLike[str], tracking: Tracking | None = None) -> Lips:
    """The lips of the one who speaks in a video, as 67 × 67 grey pictures.

    The file is read twice, once to find and once to cut, so that memory holds nothing but the crops. A frame without a
    face has a black picture and is marked as absent: that is no error.

    Args:
        path: a video file.
        tracking: how the mouth is found.

    Raises:
        DataError: the file is missing, no video, or damaged.
        MissingExtraError: PyAV or OpenCV is not installed.
    """
    cv2 = require("cv2", "video")
    tracking = tracking or Tracking()
    moments, seen = _look(read_frames(path), tracking, cv2)
    present, boxes = follow(moments, seen, tracking)
    values = np.zeros((len(moments), LIP_PIXELS), np.uint8)
    for index, (_, picture) in enumerate(read_frames(path)):
        if present[index]:
            values[index] = _mouth(picture, boxes[index], tracking, cv2).ravel()
    return Lips(values, present, moments)


def _look(
    frames: Iterable[tuple[float, NDArray[np.uint8]]], tracking: Tracking, cv2: Any
) -> tuple[NDArray[np.float64], dict[int, list[Box]]]:
    """The times of all frames, and the faces in those that were looked at."""
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml")
    moments: list[float] = []
    seen: dict[int, list[Box]] = {}
    due = -np.inf
    for index, (moment, picture) in enumerate(frames):
        # A clock that stands still or goes back is a fault of the file; the order of the frames is not.
        moments.append(max(moment, moments[-1] + 1e-3) if moments else moment)
        if moment < due:
            continue
        due = moment + tracking.every - 1e-6
        scale = min(1.0, tracking.longest / max(picture.shape))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        least = max(20, round(tracking.smallest * min(small.shape)))
        found = cascade.detectMultiScale(small, 1.1, 5, minSize=(least, least))
        seen[index] = [np.array([x + w / 2, y + h / 2, w]) / scale for x, y, w, h in found]
    return np.array(moments), seen


def follow(
    moments: NDArray[np.float64], seen: dict[int, list[Box]], tracking: Tracking
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """One face through all frames.

    Args:
        moments: times of all frames.
        seen: the faces in the frames that were looked at, by their index.
        tracking: how it is followed.

    Returns:
        Where it is in sight, ``(time,)``, and its box there, ``(time, 3)``.
    """
    present, boxes = np.zeros(len(moments), bool), np.zeros((len(moments), 3))
    path = _one_face(moments, seen, tracking.gap)
    period = float(np.median(np.diff(moments))) if len(moments) > 1 else 1.0
    for looks in _stretches(moments, sorted(path), tracking.gap):
        if len(looks) == 1 and len(seen) > 1:  # what was seen once and never again was no face
            continue
        # A look also speaks for the frames up to half the way to the next, and to the end of the video.
        reach = max(tracking.every, period) / 2
        first, last = np.searchsorted(moments, [moments[looks[0]] - reach, moments[looks[-1]] + reach + 1e-9])
        inside = slice(int(first), len(moments) if looks[-1] == max(seen) else int(last))
        known = np.array([path[look] for look in looks])
        line = np.stack([np.interp(moments[inside], moments[looks], column) for column in known.T], 1)
        line = _running(line, round(tracking.median / period), np.median)
        boxes[inside] = _running(line, round(tracking.mean / period), np.mean)
        present[inside] = True
    return present, boxes


def _one_face(moments: NDArray[np.float64], seen: dict[int, list[Box]], gap: float) -> dict[int, Box]:
    """Of the faces of each look, the largest at first and after a gap, else the one nearest to the last."""
    path: dict[int, Box] = {}
    last: int | None = None
    for index, faces in seen.items():
        if not faces:
            continue
        if last is None or moments[index] - moments[last] > gap:
            chosen = max(faces, key=lambda face: float(face[2]))
        else:
            before = path[last]
            chosen = min(faces, key=lambda face: float(np.abs(face - before).sum()))
            if np.abs(chosen - before).max() > before[2]:  # somewhere else: another face
                continue
        path[index] = chosen
        last = index
    return path


def _stretches(moments: NDArray[np.float64], looks: Sequence[int], gap: float) -> list[list[int]]:
    """The looks, parted where more than a gap lies between two."""
    parts: list[list[int]] = []
    for look in looks:
        if parts and moments[look] - moments[parts[-1][-1]] <= gap:
            parts[-1].append(look)
        else:
            parts.append([look])
    return parts


def _running(line: NDArray[np.float64], width: int, summary: Any) -> NDArray[np.float64]:
    """A running median or mean over an odd number of frames, the ends repeated."""
    half = max(0, width // 2)
    padded = np.pad(line, ((half, half), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    return np.asarray(summary(windows, axis=-1))


def _mouth(picture: NDArray[np.uint8], box: Box, tracking: Tracking, cv2: Any) -> NDArray[np.uint8]:
    x, y, width = box
    side = max(1, round(tracking.side * width))
    patch = cv2.getRectSubPix(picture, (side, side), (float(x) - 0.5, float(y + tracking.below * width) - 0.5))
    shrinks = cv2.INTER_AREA if side > LIP_SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(patch, (LIP_SIDE, LIP_SIDE), interpolation=shrinks))
