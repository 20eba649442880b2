"""What a model gets to see of a speaker: crops of the mouth, and where there are none."""

from __future__ import annotations

__all__ = ["lips_figure"]

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynvae.audio import FrontEnd
from dynvae.report.style import COLOURS, figure, tidy
from dynvae.video import Alignment, Lips

COLUMNS, ROWS = 15, 4


def lips_figure(
    lips: Lips, sound: NDArray[np.float32] | None = None, front_end: FrontEnd | None = None, spoilt: ArrayLike = ()
) -> Any:
    """Crops at even distances, and below them the sound and the frames that have lips, on one axis of time.

    A crop without a mouth is crossed out, a spoilt one framed.

    Args:
        lips: pictures of 67 × 67.
        sound: the waveform that they belong to, ``(samples,)``, at the front end's rate.
        front_end: of a model, whose frames are marked; the default one if there is sound.
        spoilt: which pictures were spoilt on purpose, ``(time,)``.

    Returns:
        The figure.
    """
    wrong = np.zeros(len(lips), bool)
    wrong[: np.size(spoilt)] = spoilt
    shown = np.unique(np.linspace(0, len(lips) - 1, min(len(lips), COLUMNS * ROWS)).round().astype(int))
    rows = -(-len(shown) // COLUMNS)
    fig = figure(9.0, 0.72 * rows + (2.0 if sound is None else 2.9))
    grid = fig.add_gridspec(rows + (1 if sound is None else 2), COLUMNS,
                            height_ratios=[1] * rows + ([0.6] if sound is None else [1.1, 0.6]))  # fmt: skip
    pictures = lips.pictures
    for place, index in enumerate(shown):
        ax = fig.add_subplot(grid[place // COLUMNS, place % COLUMNS])
        ax.imshow(pictures[index], cmap="gray", vmin=0, vmax=255)
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{lips.times[index]:.2f}", fontsize=6, pad=2)
        ax.spines[:].set_visible(False)
        if wrong[index]:
            ax.plot([0, 66, 66, 0, 0], [0, 0, 66, 66, 0], color=COLOURS[7], linewidth=2)
        if not lips.present[index]:
            ax.plot([0, 66], [0, 66], [0, 66], [66, 0], color=COLOURS[7], linewidth=0.8)
    last = fig.add_subplot(grid[-1, :])
    front_end = front_end or FrontEnd()
    end = float(lips.times[-1] + lips.period)
    if sound is not None:
        end = max(end, len(sound) / front_end.sample_rate)
        ax = tidy(fig.add_subplot(grid[-2, :], sharex=last), grid="")
        ax.plot(np.arange(len(sound)) / front_end.sample_rate, sound, linewidth=0.4, color=COLOURS[0])
        ax.set(yticks=[])
        ax.set_ylabel("sound")
        ax.tick_params(labelbottom=False)
    moments = np.append(lips.times, lips.times[-1] + lips.period)
    lines = {"video": (moments, np.append(lips.present, lips.present[-1]))}
    if wrong.any():
        lines["spoilt"] = (moments, np.append(wrong, False))
    if sound is not None:
        seen = Alignment.of(lips, front_end.frames(len(sound)), front_end)
        lines["model"] = (np.arange(len(seen)) * front_end.hop_length / front_end.sample_rate, seen.present)
    for level, (name, (places, marks)) in enumerate(reversed(lines.items())):
        colour = COLOURS[7] if name == "spoilt" else COLOURS[2]
        last.fill_between(places, level, level + 0.8 * np.asarray(marks, float), step="post", color=colour, linewidth=0)
    last.set(xlim=(0, end), ylim=(-0.2, len(lines)), xlabel="time (s)")
    last.set_yticks([level + 0.4 for level in range(len(lines))], list(reversed(lines)))
    return tidy(last, grid="x").figure
