"""Models × shapes × threads × tasks: both codes in turn on each."""

from __future__ import annotations

__all__ = ["Sweep"]

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import tasks
from benchmarks.cases import CASES, Case
from benchmarks.command import Choices, numbers, pick, shapes
from benchmarks.measure import clock_of, interleave, matmul_rates, peak_memory, ratio
from benchmarks.reference import Reference
from benchmarks.results import Row
from benchmarks.sounds import recorded, speech_like
from dynvae.models import DVAE

Run = Callable[[], object]
TASKS = ("training", "analysis", "generation")


@dataclass(frozen=True)
class Sweep:
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
    threads: tuple[str, ...]
    models: tuple[str, ...] = tuple(CASES)
    steps: int = 5

    def jobs(self, choices: Choices) -> list[Callable[[], list[Row]]]:
        """A contest for each point."""
        cases = pick("model", choices.models or self.models, CASES)
        todo = pick("task", choices.tasks or self.tasks, {task: task for task in TASKS})
        steps = choices.steps or self.steps
        return [
            partial(contest, Setting(self.name, task, case, batch, time, threads, steps), choices)
            for threads in numbers(choices.threads or self.threads)
            for batch, time in shapes(choices.shapes or self.shapes)
            for task in todo
            for case in cases.values()
        ]


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


class Entrant(NamedTuple):
    """A code in a contest.

    Attributes:
        run: what is timed.
        parameters: number of trained numbers.
        deviation: relative difference of its loss from the reference's.
    """

    run: Run
    parameters: int
    deviation: float | None = None


def contest(setting: Setting, choices: Choices) -> list[Row]:
    """Both codes on one task: a row for each, the reference first."""
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    shape, case = (setting.batch, setting.time), setting.case
    ours = case.build()
    x = recorded(choices.data, *shape) if choices.data else speech_like(*shape, ours.x_dim)
    entrants = _entrants(setting, choices, ours, x)
    samples = interleave({name: entrant.run for name, entrant in entrants.items()}, setting.steps)
    clock, rate = clock_of(setting.threads), None
    if setting.task == "training":
        rate = max(getattr(it, clock) for it in matmul_rates().values())
    rows = []
    for name, (run, parameters, deviation) in entrants.items():
        middle = samples[name].median()
        rows.append(
            Row(
                setting.benchmark,
                setting.task,
                case.name,
                name,
                *shape,
                setting.threads,
                clock,
                1000 * middle.wall,
                1000 * middle.cpu,
                setting.steps,
                samples[name].spread(clock),
                ratio=ratio(samples, name, clock),
                floor_ms=rate and 1000 * math.prod(shape) * case.operations(ours).training / rate,
                gflops=rate and rate / 1e9,
                peak_mb=peak_memory(run),
                parameters=parameters,
                deviation=deviation,
            )
        )
    return rows


def _entrants(setting: Setting, choices: Choices, ours: DVAE, x: Tensor) -> dict[str, Entrant]:
    """The reference, if there is one, and each of our executors, from the same weights where they can be translated."""
    case, reference = setting.case, choices.reference
    entrants: dict[str, Entrant] = {}
    theirs, translated = None, False
    if reference is not None:
        theirs = reference.build(case)
        translated = tasks.same_weights(ours, theirs)
        run = _theirs(setting, reference, theirs, x)
        if run is not None:
            entrants["reference"] = Entrant(run, _count(theirs))
        if choices.as_shipped and setting.task == "training":
            shipped = reference.training(case, reference.build(case), x, anomaly=True)
            entrants["as shipped"] = Entrant(shipped, _count(theirs))
    for name, context in choices.executors.items():
        deviation = None
        if reference is not None and theirs is not None and translated:
            with context():
                deviation = tasks.deviation(case, ours, reference, theirs, x)
        run = _within(context, _ours(setting, copy.deepcopy(ours), x))
        entrants[name] = Entrant(run, _count(ours), deviation)
    return entrants


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
