"""Plots of what was measured."""

from __future__ import annotations

__all__ = ["draw"]

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Row
from benchmarks.tables import short
from dynvae.errors import require
from dynvae.report import style

CODES = ["reference", "as shipped", "plain", "compiled", "dynvae", "clipped", "4 chains", "vae"]
"""In this order, each with its colour in all plots."""

BARS: dict[str, tuple[str, Callable[[Row], float | None]]] = {
    "ms": ("ms", lambda row: row.ms),
    "frames": ("frames/s", lambda row: row.frames_per_second),
    "sound": ("seconds of sound per second", lambda row: row.sound_rate),
    "ratio": ("times as fast as the reference", lambda row: None if row.code == "reference" else row.ratio),
    "floor": ("times the floor", lambda row: row.floor_ratio),
    "memory": ("peak memory (MB)", lambda row: row.peak_mb),
}
LINES: dict[str, tuple[str, Callable[[Row], float | None]]] = {
    "us": ("µs/frame", lambda row: row.us_per_frame),
    "memory": ("peak memory (MB)", lambda row: row.peak_mb),
}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the plots: bars over the models for each shape, lines over time where there are many lengths."""
    written = []
    groups: dict[tuple[str, str, int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.benchmark, row.task, row.threads, row.batch), []).append(row)
    for (benchmark, task, threads, batch), those in groups.items():
        times = sorted({row.time for row in those})
        stem = f"{benchmark}-{task}" if task != benchmark else task
        if len(times) > 2:
            for name, (label, read) in LINES.items():
                path = folder / f"{stem}-{batch}-{threads}thr-{name}.png"
                written += _save(_lines(those, label, read), path)
            continue
        for time in times:
            for name, (label, read) in BARS.items():
                path = folder / f"{stem}-{batch}x{time}-{threads}thr-{name}.png"
                written += _save(_bars([row for row in those if row.time == time], label, read), path)
    return written


def _save(fig: Any, path: Path) -> list[Path]:
    if fig is None:
        return []
    style.save(fig, path)
    return [path]


def _bars(rows: Sequence[Row], label: str, read: Callable[[Row], float | None]) -> Any:
    """A group of bars for each model, a bar for each code; None if nothing is known."""
    known = [row for row in rows if read(row) is not None]
    if not known:
        return None
    models, codes = _unique(row.model for row in known), _codes(known)
    colours = style.palette(CODES)
    ax = style.axes(width=1.5 + 0.75 * len(models), height=3.2)
    width = 0.8 / len(codes)
    for place, code in enumerate(codes):
        those = [row for row in known if row.code == code]
        left = [models.index(row.model) + (place - (len(codes) - 1) / 2) * width for row in those]
        bars = ax.bar(left, [read(row) for row in those], width, color=colours[code], label=code)
        ax.bar_label(bars, fmt=short, fontsize=6.5, padding=1)
    ax.set_xticks(range(len(models)), models)
    ax.set_ylabel(label)
    first = known[0]
    ax.set_title(f"{first.task}, {first.shape}, {_threads(first)}")
    ax.legend(fontsize=8, frameon=False)
    return style.tidy(ax).figure


def _lines(rows: Sequence[Row], label: str, read: Callable[[Row], float | None]) -> Any:
    """A panel for each model, a line for each code over the length; None if nothing is known."""
    known = [row for row in rows if read(row) is not None]
    if not known:
        return None
    ticker = require("matplotlib.ticker", "report")
    models, codes = _unique(row.model for row in known), _codes(known)
    colours, columns = style.palette(CODES), min(3, len(models))
    fig = style.figure(0.6 + 2.6 * columns, 0.7 + 2.1 * -(-len(models) // columns))
    grid = list(fig.subplots(-(-len(models) // columns), columns, squeeze=False).flat)
    for ax in grid[len(models) :]:
        ax.set_visible(False)
    for ax, model in zip(grid, models, strict=False):
        for code in codes:
            points = sorted((row.time, read(row)) for row in known if (row.model, row.code) == (model, code))
            ax.plot(*zip(*points, strict=True), "o-", color=colours[code], markersize=3, linewidth=1.4, label=code)
        ax.set(xscale="log", yscale="log", title=model, xlabel="frames", ylabel=label)
        times = sorted({row.time for row in known})
        ax.set_xticks(times, [str(time) for time in times])
        ax.xaxis.minorticks_off()
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        ax.yaxis.set_major_formatter(lambda value, place: short(value))
        ax.yaxis.minorticks_off()
        style.tidy(ax)
    grid[0].legend(fontsize=7.5, frameon=False)
    fig.suptitle(f"{known[0].task}, batch {known[0].batch}, {_threads(known[0])}", size=10)
    return fig


def _threads(row: Row) -> str:
    return "1 thread" if row.threads == 1 else f"{row.threads} threads"


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _codes(rows: Iterable[Row]) -> list[str]:
    return sorted({row.code for row in rows}, key=CODES.index)
