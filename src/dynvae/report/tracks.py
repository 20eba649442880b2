"""Drawings of tracks: some frames of a film side by side, and the film."""

from __future__ import annotations

__all__ = ["track_film", "track_strip"]

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import require
from dynvae.files import atomic_write
from dynvae.report.style import COLOURS
from dynvae.tracking import Boxes, Scene

_PAPER, _FAINT, _INK = "#16191f", "#59616e", "#d7dbe2"
_TAIL = 30  # frames of a path behind a box
_LONGEST = 3000  # frames of a film


def track_strip(
    path: str | os.PathLike[str], tracks: Boxes, scene: Scene, *, detections: Boxes | None = None, pictures: int = 6
) -> None:
    """Write frames at even distances side by side, as PNG.

    Args:
        path: of the file.
        tracks: drawn in a colour of their own each, with their ids and the way behind them.
        scene: the film.
        detections: drawn as faint frames.
        pictures: how many.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    frames = np.unique(np.linspace(1, max(1, scene.frames), pictures).round().astype(int))
    canvas = _Canvas(tracks, scene, detections, width=420)
    drawn = [canvas.frame(int(frame)) for frame in frames]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    width, height = drawn[0].size
    sheet = canvas.image.new("RGB", (columns * width, rows * height), _PAPER)
    for place, picture in enumerate(drawn):
        sheet.paste(picture, (place % columns * width, place // columns * height))
    with atomic_write(path) as temp:
        sheet.save(temp, format="PNG")


def track_film(
    path: str | os.PathLike[str], tracks: Boxes, scene: Scene, *, detections: Boxes | None = None, width: int = 640
) -> None:
    """Write the film: MP4 and other containers by PyAV, GIF by Pillow. Not more than 3,000 frames are shown.

    Args:
        path: its suffix tells the format.
        tracks: drawn in a colour of their own each, with their ids and the way behind them.
        scene: the film.
        detections: drawn as faint frames.
        width: of the pictures.

    Raises:
        MissingExtraError: Pillow or PyAV is not installed.
    """
    canvas = _Canvas(tracks, scene, detections, width=width)
    frames = (canvas.frame(frame) for frame in range(1, min(max(1, scene.frames), _LONGEST) + 1))
    if str(path).lower().endswith(".gif"):
        first = next(frames)
        with atomic_write(path) as temp:
            first.save(temp, format="GIF", save_all=True, append_images=frames, duration=1000 / scene.rate, loop=0)
        return
    av = require("av", "video")
    with atomic_write(path) as temp:
        _encode(av, temp, (np.asarray(frame) for frame in frames), scene.rate)


def _encode(av: Any, path: Any, frames: Iterator[NDArray[np.uint8]], rate: float) -> None:
    with av.open(str(path), "w") as container:
        stream = None
        for picture in frames:
            even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if stream is None:
                stream = container.add_stream("mpeg4", rate=Fraction(rate).limit_denominator(1000))
                stream.width, stream.height, stream.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
                stream.bit_rate = 2_000_000
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())


class _Canvas:
    """Draws the frames of one film."""

    def __init__(self, tracks: Boxes, scene: Scene, detections: Boxes | None, width: int) -> None:
        self.image, self.drawing = (require(f"PIL.{name}", "report") for name in ("Image", "ImageDraw"))
        self.tracks, self.scene, self.detections = tracks, scene, detections
        self.scale = width / scene.width
        self.size = width, max(2, round(scene.height * self.scale))
        self.rows = tracks.split(scene.frames)
        self.found = None if detections is None else detections.split(scene.frames)

    def frame(self, number: int) -> Any:
        """One of them, counted from 1."""
        picture = self.image.new("RGB", self.size, _PAPER)
        pen = self.drawing.Draw(picture)
        if self.detections is not None and self.found is not None and number <= self.scene.frames:
            for row in self.found[number - 1]:
                pen.rectangle(self._edges(self.detections.box[row]), outline=_FAINT)
        for row in self.rows[number - 1] if number <= self.scene.frames else ():
            who = int(self.tracks.id[row])
            colour = COLOURS[who % len(COLOURS)]
            left, top, right, bottom = self._edges(self.tracks.box[row])
            pen.line(self._path(who, number), fill=colour)
            pen.rectangle((left, top, right, bottom), outline=colour, width=2)
            pen.text((left + 2, top - 11), str(who), fill=colour)
        pen.text((6, self.size[1] - 14), f"frame {number}", fill=_INK)
        return picture

    def _edges(self, box: NDArray[np.float64]) -> tuple[float, float, float, float]:
        left, top, width, height = (box * self.scale).tolist()
        return left, top, left + width, top + height

    def _path(self, who: int, number: int) -> list[tuple[float, float]]:
        """Where somebody's feet were in the last frames."""
        first = self.rows[max(0, number - _TAIL)]
        begin = int(first[0]) if len(first) else int(np.searchsorted(self.tracks.frame, number - _TAIL + 1))
        end = int(np.searchsorted(self.tracks.frame, number, side="right"))
        mine = self.tracks.box[begin:end][self.tracks.id[begin:end] == who] * self.scale
        return [(x + w / 2, y + h) for x, y, w, h in mine.tolist()]
