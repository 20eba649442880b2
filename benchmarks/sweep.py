"""The command behind the benchmarks: models × shapes × threads × tasks, both codes in turn."""

from __future__ import annotations

__all__ = ["Plan", "main"]

import argparse
import copy
import datetime
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from benchmarks import tasks
from benchmarks.cases import CASES, Case
from benchmarks.machine import load, machine
from benchmarks.measure import Samples, interleave, matmul_rates, peak_memory
from benchmarks.plots import draw
from benchmarks.reference import Reference
from benchmarks.results import TOLERANCE, Report, Row, regressions, to_markdown
from benchmarks.sounds import recorded, speech_like
from dynvae.errors import ConfigError, DynvaeError
from dynvae.files import atomic_write
from dynvae.models import DVAE

Run = Callable[[], object]
Choice = TypeVar("Choice")
TASKS = ("training", "analysis", "generation")


@dataclass(frozen=True)
class Plan:
    """What a benchmark measures if nothing else is said.

    Attributes:
        name: of the benchmark.
        purpose: a sentence for ``--help``.
        tasks: of `TASKS`.
        shapes: batch × time.
        threads: numbers of threads.
        models: keys of `benchmarks.cases.CASES`.
        steps: runs of each code.
    """

    name: str
    purpose: str
    tasks: tuple[str, ...]
    shapes: tuple[str, ...]
    threads: tuple[int, ...]
    models: tuple[str, ...] = tuple(CASES)
    steps: int = 5


@dataclass(frozen=True)
class Setting:
    """One point of the sweep."""

    benchmark: str
    task: str
    case: Case
    batch: int
    time: int
    threads: int
    steps: int


def main(*plans: Plan, arguments: Sequence[str] | None = None) -> int:
    """Measure one plan after the other, write what was asked for, and compare.

    Args:
        plans: what to measure; an option of the command stands in for the same choice of all of them.
        arguments: of the command line.

    Returns:
        0; 1 where something has become slower than in the results to compare with; 2 after a mistake of the caller's.
    """
    options = _parser(plans).parse_args(arguments)
    try:
        return _run(plans, options)
    except DynvaeError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def _parser(plans: Sequence[Plan]) -> argparse.ArgumentParser:
    program = f"benchmarks.{plans[0].name}" if len(plans) == 1 else "benchmarks"
    purpose = " ".join(plan.purpose for plan in plans)
    parser = argparse.ArgumentParser(f"python -m {program}", description=purpose, allow_abbrev=False)
    parser.add_argument("--reference", type=Path, help="checkout of XiaoyuBIE1994/DVAE; without it, ours alone")
    parser.add_argument("--tasks", type=_list, help=f"of {','.join(TASKS)}")
    parser.add_argument("--models", type=_list, help=f"of {','.join(CASES)}")
    parser.add_argument("--shapes", type=_list, help="batch x time, e.g. 32x150,128x50")
    parser.add_argument("--threads", type=_list, help="numbers of threads, e.g. 1,2")
    parser.add_argument("--steps", type=int, help="runs of each code, of which the median counts")
    parser.add_argument("--executors", type=_list, default=tuple(tasks.executors()), help="ours, in turn")
    parser.add_argument("--data", type=Path, help="folder of sound files instead of spectrograms like speech")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--markdown", type=Path, help="file for tables")
    parser.add_argument("--plots", type=Path, help="folder for plots")
    parser.add_argument("--compare", type=Path, help="earlier results; exit status 1 where a ratio has become worse")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="by more than this part")
    return parser


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _run(plans: Sequence[Plan], options: argparse.Namespace) -> int:
    settings = [setting for plan in plans for setting in _settings(plan, options)]
    chosen = _choose("executor", options.executors, tasks.executors())
    before = Report.read(options.compare) if options.compare else None
    reference = Reference(options.reference) if options.reference else None
    torch.set_flush_denormal(True)  # for both codes: what denormal numbers cost depends on the data, not on the code
    report = Report(
        machine(list(chosen)),
        {
            "data": "recorded" if options.data else "speech-like",
            "date": datetime.date.today().isoformat(),
            "load_before": load(),
        },
    )
    for setting in settings:
        for row in contest(setting, reference, chosen, options.data):
            report.rows.append(row)
            print(_said(row), flush=True)
    report.settings["load_after"] = load()
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


def _settings(plan: Plan, options: argparse.Namespace) -> Iterator[Setting]:
    cases = _choose("model", options.models or plan.models, CASES)
    todo = _choose("task", options.tasks or plan.tasks, {task: task for task in TASKS})
    steps = plan.steps if options.steps is None else options.steps
    if steps < 1:
        raise ConfigError(f"there must be at least one step, not {steps}")
    for threads in (_positive(number) for number in options.threads or plan.threads):
        for shape in options.shapes or plan.shapes:
            batch, _, time = shape.partition("x")
            for task in todo:
                for case in cases.values():
                    yield Setting(plan.name, task, case, _positive(batch), _positive(time), threads, steps)


def _choose(kind: str, names: Sequence[str], known: dict[str, Choice]) -> dict[str, Choice]:
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no {kind} '{name}'; there are {', '.join(known)}")
    return {name: known[name] for name in names}


def _positive(text: str | int) -> int:
    if not str(text).isdigit() or not int(text):
        raise ConfigError(f"'{text}' is not a positive whole number; shapes are like 32x150, threads like 1,2")
    return int(text)


def contest(
    setting: Setting,
    reference: Reference | None,
    executors: dict[str, Callable[[], AbstractContextManager[object]]],
    data: Path | None = None,
) -> list[Row]:
    """Both codes on one task: a row for each, the reference first.

    All start from the same weights where the reference's can be translated.
    """
    case, threads = setting.case, setting.threads
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ours = case.build()
    x = recorded(data, setting.batch, setting.time) if data else speech_like(setting.batch, setting.time, ours.x_dim)
    runs: dict[str, Run] = {}
    parameters, deviation = {}, None
    if reference is not None:
        theirs = reference.build(case)
        if tasks.same_weights(ours, theirs):
            deviation = tasks.deviation(case, ours, reference, theirs, x)
        run = _theirs(setting, reference, theirs, x)
        if run is not None:
            runs["reference"] = run
            parameters["reference"] = _count(theirs)
    for name, context in executors.items():
        runs[name] = _within(context, _ours(setting, copy.deepcopy(ours), x))
        parameters[name] = _count(ours)
    samples = interleave(runs, setting.steps)
    clock = "cpu" if threads == 1 else "wall"
    rate = max(getattr(it, clock) for it in matmul_rates().values()) if setting.task == "training" else None
    rows = []
    for name, those in samples.items():
        middle = those.median()
        rows.append(
            Row(
                setting.benchmark,
                setting.task,
                case.name,
                name,
                setting.batch,
                setting.time,
                threads,
                clock,
                1000 * middle.wall,
                1000 * middle.cpu,
                setting.steps,
                those.spread(clock),
                ratio=_ratio(samples, name, clock),
                floor_ms=rate and 1000 * setting.batch * setting.time * case.operations(ours).training / rate,
                gflops=rate and rate / 1e9,
                peak_mb=peak_memory(runs[name]),
                parameters=parameters[name],
                deviation=None if name == "reference" else deviation,
            )
        )
    return rows


def _ratio(samples: dict[str, Samples], name: str, clock: str) -> float | None:
    if "reference" not in samples:
        return None
    return float(getattr(samples["reference"].median(), clock) / getattr(samples[name].median(), clock))


def _ours(setting: Setting, model: DVAE, x: Tensor) -> Run:
    if setting.task == "training":
        return tasks.training(setting.case, model, x)
    if setting.task == "analysis":
        return tasks.analysis(setting.case, model, x)
    return tasks.generation(model, setting.batch, setting.time)


def _theirs(setting: Setting, reference: Reference, model: nn.Module, x: Tensor) -> Run | None:
    if setting.task == "training":
        return reference.training(setting.case, model, x)
    if setting.task == "analysis":
        return reference.analysis(setting.case, model, x)
    return reference.generation(model, setting.batch, setting.time)


def _within(context: Callable[[], AbstractContextManager[object]], run: Run) -> Run:
    def inside() -> object:
        with context():
            return run()

    return inside


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _said(row: Row) -> str:
    ratio = "" if row.ratio is None or row.code == "reference" else f"{row.ratio:6.2f} × reference"
    floor = "" if row.floor_ratio is None else f"{row.floor_ratio:5.2f} × floor"
    memory = "" if row.peak_mb is None else f"{row.peak_mb:6.0f} MB"
    return (
        f"{row.task:10} {row.model:11} {row.code:9} {row.shape:>9} {row.threads} thr  {row.ms:8.1f} ms"
        f"  {row.us_per_frame:7.1f} µs/frame  {floor:13} {memory:9} {ratio}"
    ).rstrip()
