"""Results as tables of Markdown."""

from __future__ import annotations

__all__ = ["short", "to_markdown"]

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from benchmarks.results import Report, Row

_COLUMNS: dict[str, Callable[[Row], str]] = {
    "ms": lambda row: short(row.ms),
    "frames/s": lambda row: f"{row.frames_per_second:,.0f}",
    "µs/frame": lambda row: short(row.us_per_frame),
    "s of sound/s": lambda row: "" if row.sound_rate is None else short(row.sound_rate),
    "SI-SDR": lambda row: "" if row.si_sdr is None else f"{row.si_sdr:.2f}",
    "accuracy": lambda row: "" if row.accuracy is None else f"{row.accuracy:.3f}",
    "× reference": lambda row: "" if row.ratio is None or row.code == "reference" else f"**{row.ratio:.2f}**",
    "× floor": lambda row: "" if row.floor_ratio is None else f"{row.floor_ratio:.2f}",
    "peak MB": lambda row: "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
    "± %": lambda row: f"{100 * row.spread:.0f}",
}


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def to_markdown(report: Report) -> str:
    """Tables of all rows: one for each shape, or where there are many lengths, one over the lengths."""
    cpu = report.machine["cpu"]
    lines = [
        f"{cpu['name']}, {cpu['usable']} cores, {cpu['capability']}; torch {report.machine['packages']['torch']}; "
        + "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in report.settings.items())
    ]
    for (benchmark, task, threads), group in _grouped(report.rows, lambda r: (r.benchmark, r.task, r.threads)):
        for batch, rows in _grouped(group, lambda r: r.batch):
            title = f"{benchmark}: {task}" if task != benchmark else task
            title = f"{title[0].upper()}{title[1:]}, {threads} thread{'s' if threads > 1 else ''}"
            if len({row.time for row in rows}) > 2:
                lines += _over_time(f"{title}, batch {batch}", rows)
                continue
            for time, those in _grouped(rows, lambda r: r.time):
                lines += _by_model(f"{title}, {batch} × {time}", those)
    return "\n".join(lines) + "\n"


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> list[tuple[Any, list[Row]]]:
    return [(value, list(those)) for value, those in groupby(sorted(rows, key=key), key)]


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---", "---", *["--:"] * (len(head) - 2)], *body]
    return ["", *(f"| {' | '.join(line)} |" for line in lines)]


def _by_model(title: str, rows: Sequence[Row]) -> list[str]:
    columns = {name: read for name, read in _COLUMNS.items() if any(read(row) for row in rows)}
    body = [[row.model, row.code, *(read(row) for read in columns.values())] for row in rows]
    return ["", f"### {title}", *_table(["model", "code", *columns], body)]


def _over_time(title: str, rows: Sequence[Row]) -> list[str]:
    """µs per frame and peak memory, a column for each length."""
    times = sorted({row.time for row in rows})
    lines = ["", f"### {title}"]
    for quantity, read in (("µs/frame", lambda row: row.us_per_frame), ("peak MB", lambda row: row.peak_mb)):
        body = []
        for (model, code), those in _by_first_seen(rows):
            values = {row.time: read(row) for row in those}
            if any(value is None for value in values.values()):
                continue
            growth = values[max(values)] / values[min(values)] if values[min(values)] else 0
            cells = [short(values[time]) if time in values else "" for time in times]
            body.append([model, code, *cells, *([f"{growth:.2f}"] if quantity == "µs/frame" else [])])
        last = ["last / first"] if quantity == "µs/frame" else []
        if body:
            lines += _table(["model", f"{quantity} at T =", *map(str, times), *last], body)
    return lines


def _by_first_seen(rows: Sequence[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.model, row.code), []).append(row)
    return list(found.items())
