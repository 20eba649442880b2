"""Drawings of bodies: stick figures, and films of several futures."""

from __future__ import annotations

__all__ = ["film", "stick_figures"]

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dynvae.errors import MissingExtraError, require
from dynvae.files import atomic_write
from dynvae.motion import Skeleton
from dynvae.report.style import COLOURS, INK, figure

SEEN = "#8b929c"
"""The colour of what a model was given."""
_TALL = 0.9  # inches of a body on a sheet
_VIEW = math.radians(35)  # from which side a body is seen, turned about the vertical


def stick_figures(
    movements: Mapping[str, Tensor], skeleton: Skeleton, *, observed: int = 0, columns: int = 12, azimuth: float = _VIEW
) -> Any:
    """Movements as rows of poses, from left to right.

    Args:
        movements: by title: places of the joints, ``(time, joints, 3)``, from `Skeleton.places`.
        skeleton: what connects the joints, and which axis is up.
        observed: frames at the beginning that were given, and are drawn in grey.
        columns: poses in a row, evenly spread.
        azimuth: of the view, in radians.

    Returns:
        A figure of matplotlib.
    """
    flat = {title: _project(places, skeleton, azimuth) for title, places in movements.items()}
    low, high = _bounds(flat.values())
    width, height = high - low
    reach = width * (1 + 0.8 * (columns - 1))
    fig = figure(0.4 + _TALL * reach / height, 0.2 + (_TALL + 0.25) * len(flat))
    axes = fig.subplots(len(flat), squeeze=False)[:, 0]
    for index, ((title, places), ax) in enumerate(zip(flat.items(), axes, strict=True)):
        shown = np.unique(np.linspace(0, len(places) - 1, columns).round().astype(int))
        for place, frame in enumerate(shown):
            colour = SEEN if frame < observed else COLOURS[index % len(COLOURS)]
            lines = _bones(places[frame] + (place * width * 0.8, 0), skeleton)
            ax.add_collection(_collection(lines, colour))
        ax.set(xlim=(low[0], low[0] + reach), ylim=(low[1], low[1] + height))
        ax.set_title(title.replace("$", r"\$"), fontsize=8.5, loc="left")
        ax.set_aspect("equal")
        ax.axis("off")
    return fig


def film(
    path: str | os.PathLike[str],
    movements: Mapping[str, Tensor],
    skeleton: Skeleton,
    *,
    observed: int = 0,
    columns: int = 5,
    azimuth: float = _VIEW,
) -> None:
    """Write movements side by side as a film: GIF (by Pillow), or MP4 where ffmpeg is installed.

    Args:
        path: ends in ``.gif`` or ``.mp4``.
        movements: by title: places of the joints, ``(time, joints, 3)``, all of one length.
        skeleton: what connects the joints, which axis is up, and how fast it goes.
        observed: frames at the beginning that were given, and are drawn in grey.
        columns: bodies in a row.
        azimuth: of the view, in radians.

    Raises:
        MissingExtraError: matplotlib is not installed; for MP4, ffmpeg is not.
    """
    animation = require("matplotlib.animation", "report")
    mp4 = str(path).lower().endswith(".mp4")
    if mp4 and not animation.FFMpegWriter.isAvailable():
        raise MissingExtraError("ffmpeg is not installed, and MP4 needs it; write a .gif instead")
    writer = (animation.FFMpegWriter if mp4 else animation.PillowWriter)(fps=round(skeleton.frame_rate))
    flat = {title: _project(places, skeleton, azimuth) for title, places in movements.items()}
    low, high = _bounds(flat.values())
    columns = min(columns, len(flat))
    rows = -(-len(flat) // columns)
    fig = figure(1.5 * columns, 1.9 * rows)
    require("matplotlib.backends.backend_agg", "report").FigureCanvasAgg(fig)
    drawn = []
    for index, (ax, (title, places)) in enumerate(zip(fig.subplots(rows, columns, squeeze=False).flat, flat.items(),
                                                      strict=False)):  # fmt: skip
        lines = ax.add_collection(_collection(_bones(places[0], skeleton), SEEN))
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        ax.set_title(title.replace("$", r"\$"), fontsize=8, color=INK[False])
        drawn.append((lines, places, COLOURS[index % len(COLOURS)]))
    for ax in fig.axes:
        ax.axis("off")
    fig.canvas.draw()
    fig.set_layout_engine("none")  # the layout of the first frame is that of all
    with atomic_write(path) as temp, writer.saving(fig, str(temp), dpi=80):
        for frame in range(max(len(places) for _, places, _ in drawn)):
            for lines, places, colour in drawn:
                lines.set_segments(_bones(places[min(frame, len(places) - 1)], skeleton))
                lines.set_color(SEEN if frame < observed else colour)
            writer.grab_frame()


def _project(places: Tensor, skeleton: Skeleton, azimuth: float) -> NDArray[np.float64]:
    """Seen from the side, without perspective: ``(time, joints, 3)`` to ``(time, joints, 2)``."""
    values = places.detach().cpu().double().numpy()
    one, other = (axis for axis in range(3) if axis != skeleton.up)
    across = math.cos(azimuth) * values[..., one] + math.sin(azimuth) * values[..., other]
    return np.stack([across, values[..., skeleton.up]], -1)


def _bounds(flat: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = np.concatenate([places.reshape(-1, 2) for places in flat])
    low, high = points.min(0), points.max(0)
    margin = 0.05 * (high - low).max()
    return low - margin, high + margin


def _bones(places: NDArray[np.float64], skeleton: Skeleton) -> NDArray[np.float64]:
    """From each joint to its parent, ``(bones, 2, 2)``."""
    return np.stack([places[1:], places[list(skeleton.parents[1:])]], 1)


def _collection(lines: NDArray[np.float64], colour: str) -> Any:
    return require("matplotlib.collections", "report").LineCollection(lines, colors=colour, linewidths=1.6,
                                                                      capstyle="round")  # fmt: skip
