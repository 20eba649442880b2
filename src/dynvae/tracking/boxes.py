"""Boxes in the frames of a film, as tables of numbers."""

from __future__ import annotations

__all__ = ["Boxes", "Scene", "iou", "to_boxes", "to_frames"]

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """The film that boxes are from.

    Args:
        name: its name.
        frames: how many it has.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        rate: frames a second.
    """

    name: str
    frames: int
    width: float
    height: float
    rate: float = 30.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, in pixels."""
        return self.width, self.height


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes, a row each, in the order of their frames.

    Args:
        frame: of each, counted from 1, ``(n,)``.
        id: who is in it, from 1; -1 where nobody knows, as in detections.
        box: left, top, width and height in pixels, ``(n, 4)``.
        confidence: of the detector.

    Example:
        >>> Boxes.of([(2, 7, 10, 20, 5, 8), (1, 7, 9, 20, 5, 8)]).frame
        array([1, 2])
    """

    frame: Whole
    id: Whole
    box: Array
    confidence: Array

    @classmethod
    def of(cls, rows: Any) -> Boxes:
        """From rows of frame, id, left, top, width, height and perhaps confidence, in any order of frames."""
        table = np.asarray(rows, np.float64)
        table = table.reshape(-1, table.shape[-1] if table.size else 7)
        table = table[np.argsort(table[:, 0], kind="stable")]
        confidence = table[:, 6] if table.shape[1] > 6 else np.ones(len(table))
        return cls(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:6].copy(), confidence.copy())

    def __len__(self) -> int:
        return len(self.frame)

    def where(self, kept: Any) -> Boxes:
        """Some of the rows, by a mask or indices."""
        return Boxes(self.frame[kept], self.id[kept], self.box[kept], self.confidence[kept])

    def split(self, frames: int) -> list[Whole]:
        """The rows of each frame 1, 2, ..., ``frames``."""
        places = np.searchsorted(self.frame, np.arange(1, frames + 2))
        return [np.arange(first, last) for first, last in pairwise(places)]

    @property
    def last_frame(self) -> int:
        """The last frame that has a box; 0 without any."""
        return int(self.frame[-1]) if len(self) else 0

    @property
    def tracks(self) -> int:
        """How many different ids there are."""
        return len(np.unique(self.id))


def iou(one: Array, other: Array) -> Array:
    """Intersection over union of boxes by left, top, width and height: ``(n, 4)`` and ``(m, 4)`` to ``(n, m)``.

    A box without area overlaps with nothing, itself included.

    Example:
        >>> iou(np.array([[0.0, 0, 4, 4]]), np.array([[0.0, 0, 4, 2], [5, 5, 1, 1]]))
        array([[0.5, 0. ]])
    """
    a, b = one[:, None], other[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def to_frames(box: Array, size: Sequence[float]) -> Array:
    """What a model of boxes takes, ``(..., 4)``: left, top, right, and top less height, as shares of the picture.

    The last one is published so, where others have the lower edge; it is the same box.

    Args:
        box: left, top, width, height in pixels, ``(..., 4)``.
        size: width and height of the picture.
    """
    left, top, width, height = np.moveaxis(np.asarray(box, np.float64), -1, 0)
    across, down = size
    return np.stack([left / across, top / down, (left + width) / across, (top - height) / down], -1)


def to_boxes(frames: Array, size: Sequence[float]) -> Array:
    """The opposite of :func:`to_frames`; a negative width or height becomes 0."""
    left, top, right, above = np.moveaxis(np.asarray(frames, np.float64), -1, 0)
    across, down = size
    width, height = np.clip((right - left) * across, 0, None), np.clip((top - above) * down, 0, None)
    return np.stack([left * across, top * down, width, height], -1)
