"""What was measured: rows, the file that keeps them, tables, and the comparison with an earlier file."""

from __future__ import annotations

__all__ = ["TOLERANCE", "Report", "Row", "regressions", "to_markdown"]

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from dynvae.errors import DataError
from dynvae.files import atomic_write

TOLERANCE = 0.15
"""How much worse a ratio may become: what two runs on a machine that others share differ by."""


@dataclass(frozen=True)
class Row:
    """One code on one task.

    Attributes:
        benchmark: the command that measured it.
        task: what was timed, e.g. ``"training"``.
        model: a key of `benchmarks.cases.CASES`.
        code: ``"reference"``, or the name of our executor.
        batch: number of sequences.
        time: frames of each.
        threads: of the process.
        clock: which time counts: ``"cpu"`` with one thread, whom other processes then hardly disturb; else ``"wall"``.
        wall_ms: median of a run.
        cpu_ms: median of the process's own time, all threads together.
        steps: number of runs.
        spread: half the range of the runs, as a part of their median.
        ratio: how often as fast as the reference in the same minute; None without a reference.
        floor_ms: what the products with weights cost at the best rate that matrix products had in the same minute.
        gflops: that rate.
        peak_mb: how far the resident memory rose in a run.
        parameters: number of trained numbers.
        deviation: relative difference of the losses of both codes, given the same weights and noise.
    """

    benchmark: str
    task: str
    model: str
    code: str
    batch: int
    time: int
    threads: int
    clock: str
    wall_ms: float
    cpu_ms: float
    steps: int
    spread: float
    ratio: float | None = None
    floor_ms: float | None = None
    gflops: float | None = None
    peak_mb: float | None = None
    parameters: int | None = None
    deviation: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two measurements comparable."""
        return (self.benchmark, self.task, self.model, self.code, self.batch, self.time, self.threads)

    @property
    def shape(self) -> str:
        return f"{self.batch} × {self.time}"

    @property
    def ms(self) -> float:
        """The time that counts."""
        return self.cpu_ms if self.clock == "cpu" else self.wall_ms

    @property
    def us_per_frame(self) -> float:
        return 1000 * self.ms / (self.batch * self.time)

    @property
    def frames_per_second(self) -> float:
        return 1e6 / self.us_per_frame

    @property
    def floor_ratio(self) -> float | None:
        """How far from the floor: 1 would be nothing but matrix products at full speed."""
        return None if self.floor_ms is None else self.ms / self.floor_ms


_DERIVED = ("us_per_frame", "frames_per_second", "floor_ratio")


@dataclass(frozen=True)
class Report:
    """A run of a benchmark.

    Attributes:
        machine: what it ran on.
        settings: how it was measured.
        rows: the measurements.
    """

    machine: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write JSON; what follows from other figures is written too, for whoever reads the file."""
        rows = [dataclasses.asdict(row) | {name: getattr(row, name) for name in _DERIVED} for row in self.rows]
        content = {"machine": self.machine, "settings": self.settings, "rows": [_rounded(row) for row in rows]}
        with atomic_write(path) as temp:
            temp.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what :meth:`write` wrote.

        Raises:
            DataError: the file is missing, or holds something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = [Row(**{k: v for k, v in row.items() if k not in _DERIVED}) for row in content["rows"]]
            return cls(content["machine"], content["settings"], rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} does not hold the results of a benchmark ({error})") from error


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Four digits are more than any of these figures repeats to."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}


def regressions(now: Sequence[Row], before: Sequence[Row], tolerance: float = TOLERANCE) -> list[str]:
    """A line for each row of ours that has become slower by more than the tolerance.

    Speeds are compared as ratios to the reference, or to the floor where one side lacks a reference, since milliseconds
    of two runs do not compare.

    Raises:
        DataError: the two have no row in common that could be compared.
    """
    earlier = {row.key: row for row in before}
    lines, compared = [], 0
    for row in now:
        old = earlier.get(row.key)
        if old is None or row.code == "reference":
            continue
        for name, better in (("ratio", 1), ("floor_ratio", -1)):
            new_value, old_value = getattr(row, name), getattr(old, name)
            if new_value is None or old_value is None:
                continue
            compared += 1
            change = (new_value / old_value) ** better
            if change < 1 - tolerance:
                word = "× the reference" if name == "ratio" else "× the floor"
                lines.append(
                    f"{row.task} {row.model} {row.code} {row.shape}, {row.threads} threads: "
                    f"{old_value:.2f} {word} before, {new_value:.2f} now"
                )
            break
    if not compared:
        raise DataError("there is nothing to compare: no measurement of ours is in both results")
    return lines


# ---- tables --------------------------------------------------------------------------------------------------------

_COLUMNS: dict[str, Callable[[Row], str]] = {
    "ms": lambda row: _number(row.ms),
    "frames/s": lambda row: f"{row.frames_per_second:,.0f}",
    "µs/frame": lambda row: _number(row.us_per_frame),
    "× reference": lambda row: "" if row.ratio is None or row.code == "reference" else f"**{row.ratio:.2f}**",
    "× floor": lambda row: "" if row.floor_ratio is None else f"{row.floor_ratio:.2f}",
    "peak MB": lambda row: "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
    "± %": lambda row: f"{100 * row.spread:.0f}",
}


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


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
            cells = [_number(values[time]) if time in values else "" for time in times]
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
