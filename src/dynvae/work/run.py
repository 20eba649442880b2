"""Work over any number of items, by any workers, to its end: over as many starts as it takes."""

from __future__ import annotations

__all__ = ["Engine", "Summary", "outcomes", "run"]

import contextlib
import dataclasses
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dynvae.errors import ConfigError
from dynvae.work.cluster import RayActors
from dynvae.work.crew import Alone, Crew
from dynvae.work.items import Batches, Item, Make, Outcome, singly
from dynvae.work.journal import Journal
from dynvae.work.processes import Processes
from dynvae.work.schedule import Schedule
from dynvae.work.stopping import Stopped, stop_signals

logger = logging.getLogger(__name__)

Engine = Literal["processes", "ray"]
"""Workers on this machine, or on a Ray cluster."""


@dataclass(frozen=True)
class Summary:
    """What a run has come to.

    Attributes:
        values: of the items that are done, now or before, by key and in the order of the items.
        failed: why the others are not, by key.
        before: how many were done before this run began.
        seconds: that this run took.
        work_seconds: that its items took, summed over the workers.
    """

    values: Mapping[str, Any]
    failed: Mapping[str, str]
    before: int
    seconds: float
    work_seconds: float

    @property
    def items_per_second(self) -> float:
        """Items of this run, failed ones included, per second."""
        return (len(self.values) - self.before + len(self.failed)) / max(self.seconds, 1e-9)

    def lines(self, things: str = "files") -> list[str]:
        """The same for people: a line for what is done, and one for each reason of a failure."""
        total = len(self.values) + len(self.failed)
        now = total - self.before
        rate = f"{self.items_per_second:.3g} {things} a second" if now else "nothing was left to do"
        before = f", {self.before} of them before" if self.before else ""
        lines = [f"{len(self.values)} of {total} {things} done{before}; {now} in {self.seconds:.1f} s: {rate}"]
        for reason, count in Counter(self.failed.values()).most_common():
            example = next(key for key, other in self.failed.items() if other == reason)
            lines.append(f"{count} failed: {reason} (e.g. {example})" if count > 1 else f"{example} failed: {reason}")
        return lines


def outcomes(
    batches: Iterable[Sequence[Item]],
    make: Make,
    *,
    engine: Engine = "processes",
    workers: int = 2,
    attempts: int = 3,
    gpus: float = 0,
) -> Generator[Outcome, None, None]:
    """Have workers do batches of items; each comes out once, done or failed.

    A worker that dies is replaced, and what it had in hand is begun again, item by item. An item fails when the work
    raises a `DynvaeError` on it, or after so many attempts that raised another error or killed the worker. The first
    SIGINT or SIGTERM lets running items come to their end (for ten seconds), a second one ends them.

    Args:
        batches: drawn as they are needed.
        make: gets a worker ready; pickled, but where ``workers`` is 0.
        engine: whose workers; Ray's are described at :class:`~dynvae.work.cluster.RayActors`.
        workers: at a time; 0 for none besides this process, on any engine.
        attempts: for an item.
        gpus: that each worker of a Ray cluster gets.

    Yields:
        What became of the items, in the order in which they get ready.

    Raises:
        ConfigError: an unknown engine, or a number out of range.
        DynvaeError: no worker can begin, or one after the other dies.
        MissingExtraError: Ray is not installed.
        Stopped: a signal has come; what has not come out is to be done again.
    """
    if engine not in ("processes", "ray"):
        raise ConfigError(f"the engine is processes or ray, not {engine!r}")
    if workers < 0 or attempts < 1:
        raise ConfigError(f"workers ({workers}) must not be negative, and attempts ({attempts}) positive")
    batches = iter(batches)
    first = next(batches, None)
    if first is None:  # then no cluster needs to start
        return
    crew: Crew
    if workers == 0:
        crew = Alone(make)
    elif engine == "ray":
        crew = RayActors(make, workers, gpus)
    else:
        crew = Processes(make)
    with crew, stop_signals() as signum:  # in this order: Ray sets handlers of its own
        schedule = Schedule(itertools.chain([first], batches), crew, max(workers, 1), attempts, lambda: bool(signum()))
        yield from schedule.outcomes()
        if signum():
            raise Stopped(signum())


def run(
    items: Sequence[Item],
    make: Make,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    engine: Engine = "processes",
    workers: int = 2,
    batches: Batches = singly,
    attempts: int = 3,
    gpus: float = 0,
    overwrite: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Summary:
    """Do all items that are not done yet, each exactly once, and note it in the folder.

    An item counts as done when the journal says so (:class:`~dynvae.work.journal.Journal`) and its outputs exist. A run
    that was stopped or killed is gone on with by the same call, which does what is missing and tries what has failed
    again. Results do not depend on workers, order or starts, if the work draws its random numbers from
    :func:`~dynvae.work.items.item_seed`.

    Args:
        items: with different keys.
        make: gets a worker ready: pickled, called once in each worker, gives the work. That takes items and gives each
            one's value, plain enough for JSON.
        folder: of the journal, and of outputs with relative paths; made where it is missing.
        settings: everything that decides the results, plain enough for JSON; other ones are refused.
        engine: whose workers.
        workers: at a time; 0 for none besides this process.
        batches: puts together what goes to a worker at a time.
        attempts: for an item whose worker dies.
        gpus: that each worker of a Ray cluster gets.
        overwrite: replace the work of other settings.
        report: called with the number of items that are through, and of all.

    Returns:
        The values, the failures, and the speed.

    Raises:
        ConfigError: other settings' work is there, another process works in the folder, or an argument is wrong.
        DataError: the folder cannot be written.
        DynvaeError: no worker can begin, or one after the other dies.
        MissingExtraError: Ray is not installed.
        Stopped: a signal has come; its text says how far the work is.

    Example:
        The work is a function of a module, so that workers on other machines find it:

        >>> import tempfile
        >>> from dynvae.work import Item, run
        >>> def lengths():
        ...     return lambda items: [len(item.payload) for item in items]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = run([Item("a", "one"), Item("b", "three")], lengths, Path(folder), settings={}, workers=0)
        >>> found.values
        {'a': 3, 'b': 5}
    """
    keys = [item.key for item in items]
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise ConfigError(f"two items are called {twice!r}")
    start = time.perf_counter()
    with Journal(folder, settings, overwrite=overwrite) as journal:
        values = journal.done(items)
        before, work_seconds = len(values), 0.0
        failed: dict[str, str] = {}
        tell = report or (lambda done, total: None)
        tell(before, len(items))
        todo = [item for item in items if item.key not in values]
        try:
            stream = outcomes(batches(todo), make, engine=engine, workers=workers, attempts=attempts, gpus=gpus)
            with contextlib.closing(stream):  # so that an error in this loop ends the workers at once
                for outcome in map(_plain, stream):
                    journal.add([outcome])
                    work_seconds += outcome.seconds
                    if outcome.problem:
                        failed[outcome.key] = outcome.problem
                        logger.warning("%s failed: %s", outcome.key, outcome.problem)
                    else:
                        values[outcome.key] = outcome.value
                    tell(len(values) + len(failed), len(items))
        except Stopped as stop:
            text = f"stopped with {len(values)} of {len(items)} done in {folder}; the same command goes on"
            raise Stopped(stop.signum, text) from None
    return Summary(
        {key: values[key] for key in keys if key in values},
        {key: failed[key] for key in keys if key in failed},
        before,
        time.perf_counter() - start,
        work_seconds,
    )


def _plain(outcome: Outcome) -> Outcome:
    """An outcome that the journal can hold: a NaN of one item must not end the others."""
    try:
        json.dumps(outcome.value, allow_nan=False)
    except (TypeError, ValueError) as error:
        return dataclasses.replace(outcome, value=None, problem=f"the work gave a value that is no JSON: {error}")
    return outcome
