"""What a page shows: figures for light and dark, and sound for players."""

from __future__ import annotations

__all__ = ["picture", "plain_picture", "played", "spectra", "took"]

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynvae.app.limits import Sound
from dynvae.audio import FrontEnd, resample
from dynvae.report import spectrograms
from dynvae.report.style import figure, png

WIDTH = 6.4
"""Inches of a figure; half of the page is as wide."""
_SHARP = 150  # dots an inch


def picture(drawing: Any, alt: str) -> str:
    """A figure of matplotlib as HTML, once in light and once in dark; the page's style shows one of them.

    Args:
        drawing: the figure.
        alt: what it shows, for those who do not see it.
    """
    drawing.set_dpi(_SHARP)
    return plain_picture(png(drawing), alt, "on-light") + plain_picture(png(drawing, dark=True), alt, "on-dark")


def plain_picture(content: bytes, alt: str, kind: str = "") -> str:
    """A PNG file's content as HTML."""
    source = base64.b64encode(content).decode("ascii")
    return f'<img class="picture {kind}" alt="{escape(alt)}" src="data:image/png;base64,{source}">'


def played(sound: Sound) -> tuple[int, NDArray[np.int16]]:
    """What a player takes: rate, and 16-bit samples ``(samples, channels)``; what is beyond full scale is clipped."""
    full = np.rint(np.clip(sound.waveform, -1, 1) * 32767).astype(np.int16)
    return sound.rate, np.ascontiguousarray(full.T if len(full) > 1 else full[0])


def took(sound: Sound, seconds: float) -> str:
    """How long work on a recording has taken, as Markdown."""
    return f"{sound.seconds:.1f} s of sound in **{seconds:.1f} s**, {seconds / sound.seconds:.2f} of real time"


def spectra(sounds: Mapping[str, Sound], front_end: FrontEnd, columns: int = 1) -> Any:
    """Spectrograms of the first channel of sounds, on one scale of colours, as a model of this front end sees them.

    Args:
        sounds: by title, the one that the scale is for first.
        front_end: of the model.
        columns: of the grid.
    """
    powers = {}
    for title, sound in sounds.items():
        slow = resample(np.ascontiguousarray(sound.waveform[0]), sound.rate, front_end.sample_rate)
        powers[title] = front_end.power(torch.from_numpy(slow)).numpy()
    rows = -(-len(powers) // columns)
    drawing = figure(WIDTH, 0.6 + 1.75 * rows)
    axes = list(drawing.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for empty in axes[len(powers) :]:
        empty.set_visible(False)
    spectrograms(powers, front_end, axes[: len(powers)])
    return drawing
