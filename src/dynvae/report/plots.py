"""Plots of spectrograms, learning, latents and scores. Each takes the axes to draw on, or makes its own."""

from __future__ import annotations

__all__ = [
    "kl_bars",
    "latent_trajectories",
    "learning_curves",
    "loss_split",
    "read_log",
    "score_distributions",
    "spectrogram",
    "spectrograms",
]

import csv
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynvae.audio import FrontEnd
from dynvae.metrics import Summary, summarize
from dynvae.report.style import COLOURS, axes, figure, palette, tidy

Log = list[dict[str, float]]

ACTIVE = 0.01
"""Nats per frame; a latent dimension with less KL is called inactive (the threshold of Burda et al., 2016)."""


def _decibels(power: ArrayLike, peak: float) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(np.asarray(power, np.float64), 1e-20) / peak)


def spectrogram(
    power: ArrayLike,
    front_end: FrontEnd | None = None,
    ax: Any = None,
    *,
    peak: float | None = None,
    decibels: float = 70.0,
    title: str = "",
) -> Any:
    """A power spectrogram in decibels.

    Args:
        power: ``(time, bins)``.
        front_end: tells seconds and kilohertz; without it the axes count frames and bins.
        ax: axes to draw on.
        peak: the power that is 0 dB; the spectrogram's own highest by default.
        decibels: range of the colours.
        title: above it.

    Returns:
        The axes; ``ax.images[0]`` is the image, for a colour bar.
    """
    ax = axes(ax, 6, 2.6)
    power = np.asarray(power)
    peak = float(power.max()) if peak is None else peak
    extent, names = (0.0, float(len(power)), 0.0, float(power.shape[1])), ("frame", "bin")
    if front_end is not None:
        seconds = len(power) * front_end.hop_length / front_end.sample_rate
        extent, names = (0.0, seconds, 0.0, front_end.sample_rate / 2000), ("time (s)", "frequency (kHz)")
    ax.imshow(_decibels(power, peak or 1.0).T, origin="lower", aspect="auto", extent=extent, cmap="magma",
              vmin=-decibels, vmax=0, interpolation="nearest")  # fmt: skip
    ax.set(xlabel=names[0], ylabel=names[1], title=title)
    return tidy(ax, grid="")


def spectrograms(
    powers: Mapping[str, ArrayLike],
    front_end: FrontEnd | None = None,
    ax: Sequence[Any] | None = None,
    *,
    columns: int = 2,
    decibels: float = 70.0,
) -> Sequence[Any]:
    """Several spectrograms of one utterance on one scale of colours, the first one's highest power being 0 dB.

    Args:
        powers: title and ``(time, bins)``, the original first.
        front_end: as for :func:`spectrogram`.
        ax: one axes for each.
        columns: of the grid that is made where no axes are given.
        decibels: range of the colours.

    Returns:
        The axes, in the order of ``powers``.
    """
    if ax is None:
        columns = min(columns, len(powers))
        rows = math.ceil(len(powers) / columns)
        fig = figure(0.8 + 3.4 * columns, 0.5 + 1.75 * rows)
        grid = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        ax = list(grid.flat)[: len(powers)]
        for empty in list(grid.flat)[len(powers) :]:
            empty.set_visible(False)
    peak = float(np.asarray(next(iter(powers.values()))).max())
    for each, (title, power) in zip(ax, powers.items(), strict=True):
        spectrogram(power, front_end, each, peak=peak, decibels=decibels, title=title)
        if (place := each.get_subplotspec()) is not None:
            each.set_ylabel(each.get_ylabel() if place.is_first_col() else "")
            each.set_xlabel(each.get_xlabel() if place.is_last_row() else "")
    bar = ax[0].figure.colorbar(ax[0].images[0], ax=list(ax), fraction=0.025, pad=0.02)
    bar.set_label("dB", size=9)
    bar.ax.tick_params(length=0, labelsize=8.5)
    bar.outline.set_visible(False)
    return ax


def read_log(path: str | os.PathLike[str]) -> Log:
    """The rows of a run's ``metrics.csv`` as numbers; what is empty is left out."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def _limit_to_late(ax: Any, curves: Sequence[Sequence[float]]) -> None:
    """Have the axis show the curves without their first steep part, which would flatten all the rest."""
    late = [value for curve in curves for value in list(curve)[len(curve) // 8 :] if math.isfinite(value)]
    if len(late) > 1 and max(late) > min(late):
        margin = 0.06 * (max(late) - min(late))
        ax.set_ylim(min(late) - margin, max(late) + margin)


def learning_curves(logs: Mapping[str, Log], ax: Any = None, *, quantity: str = "valid_elbo") -> Any:
    """One quantity of several runs over their epochs, its best value marked.

    Args:
        logs: label and rows, from :func:`read_log`.
        ax: axes to draw on.
        quantity: a column of the log.
    """
    ax = axes(ax, 7, 3.4)
    colours = palette(list(logs))
    curves = []
    for label, log in logs.items():
        points = [(row["epoch"], row[quantity]) for row in log if quantity in row]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        curves.append(values)
        best = int(np.argmax(values))
        ax.plot(epochs, values, color=colours[label], linewidth=1.5, label=label)
        ax.plot(epochs[best], values[best], "o", color=colours[label], markersize=4)
    _limit_to_late(ax, curves)
    ax.set(xlabel="epoch", ylabel=f"{quantity.replace('_', ' ').replace('elbo', 'ELBO')} (nats/frame)")
    if curves:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return tidy(ax)


def loss_split(log: Log, ax: Any = None, *, title: str = "") -> Any:
    """The loss of one run, split: -ln p(x|z) on the left scale, KL on the right one; validation drawn, training dashed.

    Args:
        log: rows, from :func:`read_log`.
        ax: axes to draw on; it gets a twin, ``ax.figure.axes[-1]``.
        title: above it.
    """
    ax = axes(ax, 5, 3)
    twin = ax.twinx()
    epochs = [row["epoch"] for row in log]
    for axis, name, sign, colour, label in (
        (ax, "log_likelihood", -1, COLOURS[0], "-ln p(x|z)"),
        (twin, "kl", 1, COLOURS[1], "KL"),
    ):
        curves = {split: [sign * row.get(f"{split}_{name}", math.nan) for row in log] for split in ("train", "valid")}
        if name == "kl":  # a sequence-level latent's KL belongs to it
            for split, curve in curves.items():
                curves[split] = [value + row.get(f"{split}_kl_w", 0.0) for value, row in zip(curve, log, strict=True)]
        axis.plot(epochs, curves["train"], "--", color=colour, linewidth=1, alpha=0.7)
        axis.plot(epochs, curves["valid"], color=colour, linewidth=1.6)
        _limit_to_late(axis, list(curves.values()))
        axis.set_ylabel(f"{label} (nats/frame)", color=colour, gid="own")
        tidy(axis, grid="y" if axis is ax else "")
    ax.set(xlabel="epoch", title=title)
    return tidy(ax)


def kl_bars(kl: ArrayLike, ax: Any = None, *, title: str = "") -> Any:
    """The KL of each latent dimension, largest first; inactive ones are grey, and the title counts the active ones.

    Args:
        kl: ``(z_dim,)``, nats per frame; ``(1,)`` where it is not known by dimension (a prior of full covariance).
        ax: axes to draw on.
        title: what stands before the count.
    """
    ax = axes(ax, 4.5, 2.6)
    values = np.sort(np.asarray(kl, np.float64))[::-1]
    active = values > ACTIVE
    colours = [COLOURS[0] if alive else "#a9b0ba" for alive in active]
    ax.bar(np.arange(1, len(values) + 1), values, color=colours, width=0.75)
    ax.set(xlabel="latent dimension, by KL", ylabel="KL (nats/frame)")
    said = f"{active.sum()} of {len(values)} active"
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(values) == 1:
        said = f"{values[0]:.1f} nats/frame in all"
        ax.set(xticks=[], xlabel="all latent dimensions together", xlim=(-3, 5))
    ax.set_title(f"{title}: {said}" if title else said)
    return tidy(ax)


def latent_trajectories(
    mean: ArrayLike,
    std: ArrayLike,
    ax: Any = None,
    *,
    order: Sequence[int] | None = None,
    count: int = 6,
    hop_seconds: float | None = None,
    title: str = "",
) -> Any:
    """The posterior of some latent dimensions over time, mean and ± one standard deviation, one above the other.

    Args:
        mean: ``(time, z_dim)``.
        std: ``(time, z_dim)``.
        ax: axes to draw on.
        order: dimensions, the most interesting first; by the variance of their mean if not given.
        count: number of dimensions to draw.
        hop_seconds: seconds from frame to frame; without it the axis counts frames.
        title: above it.
    """
    ax = axes(ax, 6, 3)
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    chosen = list(np.argsort(-mean.var(0)) if order is None else order)[:count]
    time = np.arange(len(mean)) * (hop_seconds or 1)
    spread = max(float(np.ptp(mean[:, chosen], axis=0).max()), 2 * float(np.median(std[:, chosen])), 1e-6)
    for place, dimension in enumerate(chosen):
        offset = (len(chosen) - 1 - place) * spread
        line = offset + mean[:, dimension] - mean[:, dimension].mean()
        colour = COLOURS[place % len(COLOURS)]
        ax.fill_between(time, line - std[:, dimension], line + std[:, dimension], color=colour, alpha=0.25, linewidth=0)
        ax.plot(time, line, color=colour, linewidth=1.1)
    places = [(len(chosen) - 1 - place) * spread for place in range(len(chosen))]
    ax.set_yticks(places, [f"$z_{{{dimension + 1}}}$" for dimension in chosen])
    ax.set(xlabel="time (s)" if hop_seconds else "frame", title=title, xlim=(time[0], time[-1] or 1))
    return tidy(ax)


def score_distributions(
    scores: Mapping[str, Sequence[float]],
    ax: Any = None,
    *,
    label: str = "",
    summaries: Mapping[str, Summary] | None = None,
    groups: Mapping[str, str] | None = None,
    hollow: Collection[str] = (),
) -> Any:
    """The scores of all files, a line a model: every file a dot, the mean with its 95 % interval on top.

    Args:
        scores: values by model, the first on top; NaN is left out.
        ax: axes to draw on.
        label: name and unit of the score.
        summaries: means and intervals, where they are known already.
        groups: what gives a line its colour, e.g. the model of a line for one mode; its own name by default.
        hollow: lines whose diamonds are not filled, to tell them from others of the same colour.
    """
    ax = axes(ax, 7, 0.9 + 0.32 * len(scores))
    groups = groups or {name: name for name in scores}
    colours = palette(list(dict.fromkeys(groups[name] for name in scores)))
    random = np.random.default_rng(0)
    for place, (name, values) in enumerate(scores.items()):
        finite = np.asarray([value for value in values if math.isfinite(value)])
        colour = colours[groups[name]]
        jitter = random.uniform(-0.22, 0.22, len(finite))
        ax.scatter(finite, place + jitter, s=9, color=colour, alpha=0.35, linewidths=0)
        summary = summaries[name] if summaries else summarize(finite)
        if summary.mean is None:
            continue
        if summary.low is not None and summary.high is not None:
            ax.plot([summary.low, summary.high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
        fill, edge, width = ("white", colour, 1.6) if name in hollow else (colour, "white", 0.8)
        ax.plot(summary.mean, place, "D", color=fill, markeredgecolor=edge, markeredgewidth=width, markersize=6.5)
    ax.set_yticks(range(len(scores)), list(scores))
    ax.set_ylim(len(scores) - 0.5, -0.5)
    ax.set_xlabel(label)
    return tidy(ax, grid="x")
