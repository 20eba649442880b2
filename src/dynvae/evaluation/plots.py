"""Spectrograms side by side, on one colour scale."""

from __future__ import annotations

__all__ = ["draw_spectrogram", "save_spectrograms"]

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from dynvae.audio import FrontEnd
from dynvae.errors import require
from dynvae.files import atomic_write

RANGE = 80.0
"""Decibels from the brightest to the darkest colour."""


def draw_spectrogram(power: Tensor, front_end: FrontEnd, *, ax: Any, brightest: float | None = None) -> Any:
    """Draw a power spectrogram in decibels.

    Args:
        power: ``(time, bins)``.
        front_end: it gives seconds and kilohertz.
        ax: where to draw.
        brightest: level of the brightest colour in dB; the maximum by default. The darkest is 80 dB below.

    Returns:
        ``ax``.
    """
    level = _decibels(power)
    brightest = float(level.max()) if brightest is None else brightest
    seconds = len(power) * front_end.hop_length / front_end.sample_rate
    ax.imshow(
        level.T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, front_end.sample_rate / 2000),
        vmin=brightest - RANGE,
        vmax=brightest,
        cmap="magma",
        interpolation="nearest",
    )
    return ax


def save_spectrograms(
    path: str | os.PathLike[str], powers: Sequence[Tensor], titles: Sequence[str], front_end: FrontEnd, columns: int
) -> None:
    """Write a sheet of spectrograms that share one colour scale.

    Args:
        path: of the image, e.g. ``sheet.png``.
        powers: each ``(time, bins)``.
        titles: one each.
        front_end: that the spectrograms belong to.
        columns: number of columns of the sheet.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure_module = require("matplotlib.figure", "report")
    columns = min(columns, len(powers))
    rows = -(-len(powers) // columns)
    figure = figure_module.Figure(figsize=(1 + 3.2 * columns, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    brightest = max(float(_decibels(power).max()) for power in powers)
    for index, ax in enumerate(axes.flat):
        if index >= len(powers):
            ax.set_visible(False)
            continue
        draw_spectrogram(powers[index], front_end, ax=ax, brightest=brightest)
        # A dollar sign would begin a formula.
        ax.set_title(titles[index].replace("$", r"\$"), fontsize=8)
    figure.supxlabel("time (s)", fontsize=9)
    figure.supylabel("frequency (kHz)", fontsize=9)
    figure.colorbar(axes.flat[0].images[0], ax=axes, label="power (dB)")
    with atomic_write(path) as temp:
        figure.savefig(temp, dpi=110)


def _decibels(power: Tensor) -> np.ndarray:
    return 10 * np.log10(np.maximum(power.detach().cpu().double().numpy(), 1e-12))
