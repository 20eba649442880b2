"""The command behind the benchmarks: what it takes, what it writes, and when it complains."""

from __future__ import annotations

__all__ = ["Benchmark", "Choices", "main", "numbers", "pick", "shapes"]

import argparse
import datetime
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from benchmarks import tasks
from benchmarks.machine import load, machine
from benchmarks.plots import draw
from benchmarks.reference import Reference
from benchmarks.results import TOLERANCE, Report, Row, regressions
from benchmarks.tables import to_markdown
from dynvae.errors import ConfigError, DynvaeError
from dynvae.files import atomic_write

T = TypeVar("T")


@dataclass(frozen=True)
class Choices:
    """What the caller wants; what is empty or None is left to the benchmark.

    Attributes:
        reference: the published code, as the benchmark has imported it.
        executors: ours, by name.
        tasks: names.
        models: names.
        shapes: of batches, such as ``"32x150"``.
        threads: numbers of threads.
        steps: runs of each code.
        data: folder of sound files.
        as_shipped: measure the reference's training with anomaly detection, too.
    """

    reference: Any
    executors: dict[str, Callable[[], AbstractContextManager[object]]]
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    shapes: tuple[str, ...]
    threads: tuple[str, ...]
    steps: int | None
    data: Path | None
    as_shipped: bool


class Benchmark(Protocol):
    """Something that can be measured."""

    @property
    def purpose(self) -> str:
        """A sentence for ``--help``."""

    def jobs(self, choices: Choices) -> list[Callable[[], list[Row]]]:
        """What there is to do, each part with its rows.

        Raises:
            ConfigError: it cannot be done, which shows before anything is.
        """


def main(
    *benchmarks: Benchmark,
    arguments: Sequence[str] | None = None,
    reference: Callable[[Path], object] = Reference,
) -> int:
    """Measure one benchmark after the other, write what was asked for, and compare.

    Args:
        benchmarks: what to measure; a choice of the caller's holds for all of them.
        arguments: of the command line.
        reference: what imports the published code from its checkout.

    Returns:
        0; 1 where something has become slower than in the results to compare with; 2 after a mistake of the caller's.
    """
    options = _parser(benchmarks).parse_args(arguments)
    try:
        return _run(benchmarks, options, reference)
    except DynvaeError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parser(benchmarks: Sequence[Benchmark]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=" ".join(it.purpose for it in benchmarks), allow_abbrev=False)
    parser.add_argument("--reference", type=Path, help="checkout of the published code; without it, ours alone")
    parser.add_argument("--tasks", type=_list, default=(), help="e.g. training,analysis or vem,ldem")
    parser.add_argument("--models", type=_list, default=(), help="e.g. vrnn,srnn")
    parser.add_argument("--shapes", type=_list, default=(), help="batch x time, e.g. 32x150,128x50")
    parser.add_argument("--threads", type=_list, default=(), help="numbers of threads, e.g. 1,2")
    parser.add_argument("--steps", type=int, help="runs of each code, of which the median counts")
    parser.add_argument("--executors", type=_list, default=tuple(tasks.executors()), help="ours, in turn")
    parser.add_argument("--data", type=Path, help="folder of sound files, instead of what is drawn to resemble speech")
    parser.add_argument("--as-shipped", action="store_true", help="the reference with anomaly detection, too")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--markdown", type=Path, help="file for tables")
    parser.add_argument("--plots", type=Path, help="folder for plots")
    parser.add_argument("--compare", type=Path, help="earlier results; exit status 1 where a ratio has become worse")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="by more than this part")
    return parser


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _run(benchmarks: Sequence[Benchmark], options: argparse.Namespace, reference: Callable[[Path], object]) -> int:
    if options.steps is not None and options.steps < 1:
        raise ConfigError(f"there must be at least one step, not {options.steps}")
    before = Report.read(options.compare) if options.compare else None
    choices = Choices(
        reference(options.reference) if options.reference else None,
        pick("executor", options.executors, tasks.executors()),
        *(
            options.tasks,
            options.models,
            options.shapes,
            options.threads,
            options.steps,
            options.data,
            options.as_shipped,
        ),
    )
    jobs = [job for benchmark in benchmarks for job in benchmark.jobs(choices)]
    torch.set_flush_denormal(True)  # for both codes: what denormal numbers cost depends on the data, not on the code
    settings = {
        "data": "recorded" if options.data else "drawn",
        "date": datetime.date.today().isoformat(),
        "load_before": load(),
    }
    rows = []
    for job in jobs:
        for row in job():
            rows.append(row)
            print(row, flush=True)
    report = Report(machine(list(choices.executors)), settings | {"load_after": load()}, rows)
    if options.json:
        report.write(options.json)
    if options.markdown:
        with atomic_write(options.markdown) as temp:
            temp.write_text(to_markdown(report), encoding="utf-8")
    if options.plots:
        draw(report.rows, options.plots)
    if before is None:
        return 0
    slower = regressions(report.rows, before.rows, options.tolerance)
    print("\n".join(slower) or "nothing has become slower", file=sys.stderr)
    return int(bool(slower))


def pick(kind: str, names: Sequence[str], known: dict[str, T]) -> dict[str, T]:
    """The chosen ones.

    Raises:
        ConfigError: one is unknown.
    """
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no {kind} '{name}'; there are {', '.join(known)}")
    return {name: known[name] for name in names}


def shapes(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Batch and time of texts like ``"32x150"``."""
    return [(_positive(batch), _positive(time)) for batch, _, time in (text.partition("x") for text in texts)]


def numbers(texts: Sequence[str]) -> list[int]:
    """Of threads."""
    return [_positive(text) for text in texts]


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise ConfigError(f"'{text}' is not a positive whole number; shapes are like 32x150, threads like 1,2")
    return int(text)
