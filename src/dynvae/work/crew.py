"""What a worker says while it works, and what every kind of workers can do; among them, none but this process."""

from __future__ import annotations

__all__ = ["Alone", "Answer", "Crew", "Died", "End", "Raised", "Ready", "Result", "Unfit", "begin", "perform",
           "pickled"]  # fmt: skip

import os
import pickle
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from dynvae.errors import ConfigError, DynvaeError
from dynvae.work.items import Item, Make, Work


@dataclass(frozen=True)
class Ready:
    """The worker can be given items."""


@dataclass(frozen=True)
class Unfit:
    """The worker could not get ready, and no other could."""

    problem: str


@dataclass(frozen=True)
class Result:
    """The value of the next of its items."""

    value: Any
    seconds: float


@dataclass(frozen=True)
class End:
    """All its items are through."""


@dataclass(frozen=True)
class Raised:
    """The work has raised an error on the next of its items.

    Attributes:
        problem: in one line.
        trace: the whole traceback, of an error that nobody has meant; else empty, and another attempt is no use.
    """

    problem: str
    trace: str = ""


@dataclass(frozen=True)
class Died:
    """The worker is gone."""

    problem: str


Answer = Ready | Unfit | Result | End | Raised | Died


class Crew(Protocol):
    """Workers of one kind, known by numbers. A context, at whose end they are gone."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def hire(self) -> int:
        """Start a worker, which says :class:`Ready` when it is."""
        ...

    def give(self, worker: int, items: Sequence[Item]) -> None:
        """Give items to a worker that has none."""
        ...

    def listen(self, seconds: float) -> list[tuple[int, Answer]]:
        """What the workers have said, in order; waits so long for something."""
        ...

    def dismiss(self, worker: int) -> None:
        """End a worker at once, whatever it does."""
        ...


def begin(make: bytes) -> tuple[Work | None, Answer]:
    """In a worker's own process: unpickle what makes the work, and make it."""
    try:
        work = pickle.loads(make)()
        if "torch" in sys.modules:  # denormal numbers are slow; work without torch need not wait for its import
            sys.modules["torch"].set_flush_denormal(True)
        return work, Ready()
    except DynvaeError as error:
        return None, Unfit(str(error))
    except Exception as error:
        return None, Unfit(f"a worker could not begin: {_line(error)}\n{traceback.format_exc()}")


def perform(work: Work, items: Sequence[Item]) -> Iterator[Answer]:
    """Do items, and say how it goes."""
    start = time.perf_counter()
    try:
        for value in work(items):
            now = time.perf_counter()
            yield Result(value, now - start)
            start = now
    except DynvaeError as error:
        yield Raised(str(error))
    except Exception as error:
        yield Raised(_line(error), traceback.format_exc())
    else:
        yield End()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def pickled(make: Make) -> bytes:
    """What makes the work, for another process.

    Raises:
        ConfigError: it cannot be pickled.
    """
    try:
        return pickle.dumps(make)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"this work cannot be handed to workers ({' '.join(str(error).split())}): what it is made of must be "
            "functions and classes of modules; with workers=0 it need not"
        ) from error


class Alone:
    """No workers but this process, which does all itself when it is listened to."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._work: Work | None = None
        self._answers: Iterator[Answer] = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def hire(self) -> int:
        self._work = self._make()
        self._answers = iter([Ready()])
        return os.getpid()

    def give(self, worker: int, items: Sequence[Item]) -> None:
        assert self._work is not None
        self._answers = perform(self._work, items)

    def listen(self, seconds: float) -> list[tuple[int, Answer]]:
        return [(os.getpid(), answer) for answer in [next(self._answers, None)] if answer is not None]

    def dismiss(self, worker: int) -> None:
        self._answers = iter(())
