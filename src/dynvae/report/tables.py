"""The table of the benchmark: models, their three properties, their scores; as Markdown, CSV and HTML."""

from __future__ import annotations

__all__ = ["COLUMNS", "Column", "Entry", "Ticks", "to_csv", "to_html", "to_markdown"]

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal, NamedTuple

from dynvae.metrics import Summary

TICK, MINUS = "✓", "−"


class Ticks(NamedTuple):
    """The three properties of the source's table (Bie et al., 2021)."""

    autoregressive: bool
    true_posterior: bool
    dynamical: bool


TICK_LABELS = Ticks("Autoregressive", "True posterior", "Dynamical z")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Entry:
    """One model in one mode.

    Attributes:
        name: what the table calls it.
        mode: ``"teacher-forced"``, ``"generation"``, or empty where the two are the same.
        ticks: its properties.
        static: nothing connects its frames, so that its encoder has the structure of the exact posterior for nothing;
            the tick is printed in brackets, where the literature leaves a blank.
        scores: summaries by name: scores as in `dynvae.metrics.METRICS`, terms of the ELBO in nats per frame.
        parameters: number of trained parameters.
        seconds: of training, per seed.
        epochs: of training until its end, per seed.
        spread: half the range of a score's mean over the seeds, by name; empty with one seed.
        seeds: number of seeds.
        failed: why there are no scores; empty if there are.
    """

    name: str
    mode: str
    ticks: Ticks
    static: bool = False
    scores: Mapping[str, Summary] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float | None = None
    epochs: float | None = None
    spread: Mapping[str, float] = field(default_factory=dict)
    seeds: int = 1
    failed: str = ""

    @property
    def label(self) -> str:
        """Name and, where it matters, mode."""
        return f"{self.name} ({self.mode})" if self.mode else self.name


class Column(NamedTuple):
    """How a score is printed: its heading, a factor, decimals, and which direction is better (0: neither)."""

    label: str
    factor: float
    digits: int
    better: int
    unit: str = ""


COLUMNS: dict[str, Column] = {
    "rmse": Column("RMSE", 100, 2, -1, "×10⁻²"),
    "si_sdr": Column("SI-SDR", 1, 2, 1, "dB"),
    "sdr": Column("SDR", 1, 2, 1, "dB"),
    "pesq_raw": Column("PESQ", 1, 2, 1, "raw"),
    "pesq_nb": Column("PESQ", 1, 2, 1, "NB"),
    "pesq_wb": Column("PESQ", 1, 2, 1, "WB"),
    "stoi": Column("STOI", 1, 3, 1),
    "estoi": Column("ESTOI", 1, 3, 1),
    "elbo": Column("ELBO", 1, 1, 1, "nats/frame"),
    "kl": Column("KL", 1, 2, 0, "nats/frame"),
}
"""The scores of the table, in its order."""


class _Cell(NamedTuple):
    """A cell: its text, what is said beside it in small type, and whether it is the best of its kind."""

    text: str
    small: str = ""
    best: bool = False


def _tick(entry: Entry, place: int) -> _Cell:
    if not entry.ticks[place]:
        return _Cell("")
    return _Cell(f"({TICK})" if entry.static else TICK)


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _score(entry: Entry, name: str, column: Column, best: float | None) -> _Cell:
    summary = entry.scores.get(name)
    if summary is None or summary.mean is None:
        return _Cell("failed" if entry.failed else "")
    text = f"{summary.mean * column.factor:.{column.digits}f}".replace("-", MINUS)
    small = ""
    if summary.low is not None and summary.high is not None:
        small = f"± {(summary.high - summary.low) / 2 * column.factor:.{column.digits}f}"
    return _Cell(text, small, best is not None and summary.mean == best)


def _best(entries: Sequence[Entry], name: str, column: Column) -> float | None:
    means = [entry.scores[name].mean for entry in entries if name in entry.scores]
    known = [mean for mean in means if mean is not None]
    if not column.better or len(known) < 2:
        return None
    return max(known, key=lambda mean: column.better * mean)


def _matrix(entries: Sequence[Entry]) -> tuple[list[str], list[list[_Cell]]]:
    """Headings of the table's lines, and the cells of each line, an entry a cell."""
    heads: list[str] = []
    lines: list[list[_Cell]] = []

    def add(head: str, cells: list[_Cell]) -> None:
        heads.append(head)
        lines.append(cells)

    for place, label in enumerate(TICK_LABELS):
        add(str(label), [_tick(entry, place) for entry in entries])
    for name, column in COLUMNS.items():
        if any(name in entry.scores for entry in entries):
            best = _best(entries, name, column)
            head = f"{column.label} ({column.unit})" if column.unit else column.label
            add(head, [_score(entry, name, column, best) for entry in entries])
    counts = [max((summary.n for summary in entry.scores.values()), default=0) for entry in entries]
    add("Files", [_Cell(str(count)) for count in counts])
    failures = [_failures(entry) for entry in entries]
    if any(failures):
        add("Failed scores", [_Cell(str(number) if number else "") for number in failures])
    add("Parameters", [_Cell("" if e.parameters is None else f"{e.parameters / 1000:.0f} k") for e in entries])
    add("Training", [_Cell(_minutes(entry.seconds)) for entry in entries])
    return heads, lines


def _failures(entry: Entry) -> int:
    return sum(sum(summary.failures.values()) for name, summary in entry.scores.items() if name in COLUMNS)


def _oriented(entries: Sequence[Entry], models: str) -> list[list[_Cell]]:
    """The whole table with its headings; models are its rows or its columns."""
    heads, lines = _matrix(entries)
    columns = [[_Cell(head), *line] for head, line in zip(heads, lines, strict=True)]
    table = [[_Cell("Model"), *(_Cell(entry.label) for entry in entries)], *columns]
    return [list(row) for row in zip(*table, strict=True)] if models == "rows" else table


def to_markdown(entries: Sequence[Entry], *, models: Literal["rows", "columns"] = "rows", interval: bool = True) -> str:
    """The table in Markdown; the best number of its kind is bold.

    Args:
        entries: the models.
        models: whether they are rows, or columns as in the source.
        interval: print half the width of the 95 % interval of each mean.

    Example:
        >>> ticks = Ticks(autoregressive=False, true_posterior=True, dynamical=True)
        >>> print(to_markdown([Entry("DKF", "", ticks, scores={"stoi": Summary(0.94, 0.94, 0.93, 0.95, 9, {})})]))
        | Model | Autoregressive | True posterior | Dynamical z | STOI | Files | Parameters | Training |
        |:--|:-:|:-:|:-:|--:|--:|--:|--:|
        | DKF |  | ✓ | ✓ | 0.940 ± 0.010 | 9 |  |  |
        <BLANKLINE>
    """

    def cell(item: _Cell) -> str:
        text = f"**{item.text}**" if item.best else item.text
        return (f"{text} {item.small}" if interval and item.small else text).replace("|", "\\|")

    head, *body = _oriented(entries, models)
    marks = [":--", *[":-:"] * 3, *["--:"] * (len(head) - 4)] if models == "rows" else [":--", *["--:"] * len(entries)]
    lines = [head, *body]
    text = [f"| {' | '.join(cell(item) for item in line)} |" for line in lines]
    return "\n".join([text[0], f"|{'|'.join(marks)}|", *text[1:]]) + "\n"


def to_html(entries: Sequence[Entry], *, models: Literal["rows", "columns"] = "rows", caption: str = "") -> str:
    """The table as an HTML element, with headings for screen readers; the best number of its kind is strong.

    Args:
        entries: the models.
        models: whether they are rows or columns.
        caption: what the table shows.
    """

    def cell(item: _Cell) -> str:
        text = f'<span role="img" aria-label="yes">{item.text}</span>' if TICK in item.text else escape(item.text)
        text = f"<strong>{text}</strong>" if item.best else text
        return f"<td>{text}{f' <small>{escape(item.small)}</small>' if item.small else ''}</td>"

    head, *body = _oriented(entries, models)
    top = "".join(f'<th scope="col">{escape(item.text)}</th>' for item in head)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(first.text)}</th>{"".join(cell(item) for item in rest)}</tr>'
        for first, *rest in body
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{top}</tr></thead><tbody>\n{rows}\n</tbody></table>"


_STATISTICS: dict[str, Callable[[Summary], object]] = {
    "mean": lambda summary: summary.mean,
    "low": lambda summary: summary.low,
    "high": lambda summary: summary.high,
    "median": lambda summary: summary.median,
    "n": lambda summary: summary.n,
    "failures": lambda summary: sum(summary.failures.values()),
}


def to_csv(entries: Sequence[Entry]) -> str:
    """The table as CSV, in full precision and plain units (RMSE without its factor), one row an entry.

    Each score has its mean, the ends of its 95 % interval, median, number of files, failures, and spread over seeds.
    """
    names = [name for name in COLUMNS if any(name in entry.scores for entry in entries)]
    names += sorted({name for entry in entries for name in entry.scores} - set(names))
    header = ["model", "mode", *Ticks._fields, "parameters", "train_seconds", "epochs", "seeds", "failed"]
    header += [f"{name}_{part}" for name in names for part in (*_STATISTICS, "spread")]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for entry in entries:
        row: list[object] = [entry.name, entry.mode, *(int(tick) for tick in entry.ticks)]
        row += [entry.parameters, entry.seconds, entry.epochs, entry.seeds, entry.failed]
        for name in names:
            summary = entry.scores.get(name)
            row += [None if summary is None else read(summary) for read in _STATISTICS.values()]
            row.append(entry.spread.get(name))
        writer.writerow(["" if value is None else value for value in row])
    return buffer.getvalue()
