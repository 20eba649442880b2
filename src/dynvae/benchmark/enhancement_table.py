"""The table of speech enhancement, as Markdown, CSV and HTML."""

from __future__ import annotations

__all__ = ["SCORES", "Row", "differences_html", "files_csv", "to_csv", "to_html", "to_markdown"]

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from dynvae.metrics import Summary
from dynvae.report.tables import COLUMNS, Column

MINUS = "−"
SCORES: dict[str, Column] = {
    **{name: COLUMNS[name] for name in ("si_sdr", "sdr", "pesq_raw", "pesq_nb", "pesq_wb", "stoi", "estoi", "rmse")},
    "dnsmos": Column("DNSMOS", 1, 2, 1, "overall"),
}
"""How each score is printed, in the order of the columns."""


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        label: what the table calls it.
        supervision: what its training had to know; empty for none.
        trained_on: the corpus of its training.
        matched: whether that is the corpus of the test; None if it is unknown or there is none.
        scores: their summaries over files, by name.
        differences: to another method on the same files, by name.
        rtf: real-time factor: wall seconds of the enhancement alone over seconds of sound; median over files.
        cpu: processor seconds over seconds of sound; median over files.
        collapsed: files of which less than a thousandth of the energy is left.
        files: how many there were.
        failed: the reasons of those that were not enhanced, by file.
    """

    label: str
    supervision: str = ""
    trained_on: str = ""
    matched: bool | None = None
    scores: Mapping[str, Summary] = field(default_factory=dict)
    differences: Mapping[str, Summary] = field(default_factory=dict)
    rtf: float | None = None
    cpu: float | None = None
    collapsed: int = 0
    files: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def corpus(self) -> str:
        """The corpus of the training, and whether it is the test's."""
        if self.matched is None:
            return self.trained_on
        return f"{self.trained_on} ({'matched' if self.matched else 'mismatched'})"

    @property
    def failures(self) -> dict[str, int]:
        """How many scores are missing, by reason."""
        counts: dict[str, int] = {}
        for summary in self.scores.values():
            for reason, count in summary.failures.items():
                counts[reason] = counts.get(reason, 0) + count
        return counts


def _names(rows: Sequence[Row]) -> list[str]:
    return [name for name in SCORES if any(name in row.scores for row in rows)]


def _head(name: str) -> str:
    column = SCORES[name]
    return f"{column.label} ({column.unit})" if column.unit else column.label


def _number(summary: Summary | None, column: Column, *, signed: bool = False) -> str:
    """A mean ± half the width of its interval."""
    if summary is None or summary.mean is None:
        return ""
    text = f"{summary.mean * column.factor:{'+' if signed else ''}.{column.digits}f}".replace("-", MINUS)
    if summary.low is None or summary.high is None:
        return text
    return f"{text} ± {(summary.high - summary.low) / 2 * column.factor:.{column.digits}f}"


def _best(rows: Sequence[Row], name: str) -> float | None:
    means = [row.scores[name].mean for row in rows if name in row.scores]
    known = [mean for mean in means if mean is not None]
    return max(known, key=lambda mean: SCORES[name].better * mean) if len(known) > 1 else None


def _cells(rows: Sequence[Row], bold: str) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the table; ``bold`` is what stands round the best number of a column."""
    names = _names(rows)
    collapsed, failing = any(row.collapsed for row in rows), any(row.failures for row in rows)
    head = ["Method", "Trained with", "Trained on", *map(_head, names), "Real-time factor", "CPU", "Files"]
    head += ["Collapsed"] * collapsed + ["Failed scores"] * failing
    lines = []
    for row in rows:
        line = [row.label, row.supervision, row.corpus]
        for name in names:
            text = _number(row.scores.get(name), SCORES[name])
            summary = row.scores.get(name)
            best = summary is not None and summary.mean is not None and summary.mean == _best(rows, name)
            line.append(bold.format(text) if best else text)
        line += ["" if factor is None else f"{factor:.2g}" for factor in (row.rtf, row.cpu)]
        line.append(str(row.files - len(row.failed)))
        line += [str(row.collapsed or "")] * collapsed + [str(sum(row.failures.values()) or "")] * failing
        lines.append(line)
    return head, lines


def _differences(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    names = [name for name in SCORES if any(name in row.differences for row in rows)]
    lines = [
        [row.label, *(_number(row.differences.get(name), SCORES[name], signed=True) for name in names)]
        for row in rows
        if row.differences
    ]
    return ["Method", *map(_head, names)], lines


def to_markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown, and below it the differences to one of the methods, file by file.

    Each number is a mean ± half the width of its 95 % interval; the best of a column is bold.

    Example:
        >>> print(to_markdown([Row("Noisy", scores={"stoi": Summary(0.94, 0.94, 0.93, 0.95, 9, {})}, files=9)]))
        | Method | Trained with | Trained on | STOI | Real-time factor | CPU | Files |
        |:--|:--|:--|--:|--:|--:|--:|
        | Noisy |  |  | 0.940 ± 0.010 |  |  | 9 |
        <BLANKLINE>
    """
    head, lines = _cells(rows, "**{}**")
    text = _markdown(head, lines, left=3)
    more, differences = _differences(rows)
    return text + "\nDifference on the same files:\n\n" + _markdown(more, differences, left=1) if differences else text


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> str:
    marks = [":--"] * left + ["--:"] * (len(head) - left)
    texts = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in (head, *lines)]
    return "\n".join([texts[0], f"|{'|'.join(marks)}|", *texts[1:]]) + "\n"


def to_html(rows: Sequence[Row]) -> str:
    """The table as an HTML element; the best number of a column is strong."""
    return _html(*_cells([_escaped(row) for row in rows], "<strong>{}</strong>"))


def differences_html(rows: Sequence[Row]) -> str:
    """The differences as an HTML element; empty if there are none."""
    head, lines = _differences([_escaped(row) for row in rows])
    return _html(head, lines) if lines else ""


def _escaped(row: Row) -> Row:
    texts = {name: escape(getattr(row, name)) for name in ("label", "supervision", "trained_on")}
    return replace(row, **texts)  # type: ignore[arg-type]


def _html(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in lines
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def to_csv(rows: Sequence[Row]) -> str:
    """The table as CSV, in full precision: of each score mean, interval, median, counts, and the difference."""
    names = _names(rows)
    parts = ("mean", "low", "high", "median", "n", "failures", "difference", "difference_low", "difference_high")
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    fixed = ["method", "supervision", "trained_on", "matched", "files", "failed", "collapsed", "rtf", "cpu"]
    writer.writerow([*fixed, *(f"{name}_{part}" for name in names for part in parts)])
    for row in rows:
        line: list[object] = [row.label, row.supervision, row.trained_on, row.matched, row.files, len(row.failed)]
        line += [row.collapsed, row.rtf, row.cpu]
        for name in names:
            mine, other = row.scores.get(name), row.differences.get(name)
            line += [None] * 6 if mine is None else [mine.mean, mine.low, mine.high, mine.median, mine.n,
                                                     sum(mine.failures.values())]  # fmt: skip
            line += [None] * 3 if other is None else [other.mean, other.low, other.high]
        writer.writerow(["" if cell is None else cell for cell in line])
    return buffer.getvalue()


def files_csv(values: Mapping[str, Mapping[str, Any]]) -> str:
    """The numbers of every file, as CSV; of what `dynvae.work` has kept of each method, by its label."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    names = [name for name in SCORES if any(name in v["scores"] for found in values.values() for v in found.values())]
    writer.writerow(["method", "path", "seconds", *names, "rtf", "cpu", "energy"])
    for label, found in values.items():
        for path, value in found.items():
            numbers = [value["scores"].get(name, "") for name in names]
            writer.writerow([label, path, value["seconds"], *numbers, value["rtf"], value["cpu"], value["energy"]])
    return buffer.getvalue()
