"""Who does what when: items to workers, again after a death, and to an end in any case."""

from __future__ import annotations

__all__ = ["Schedule"]

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from dynvae.errors import DynvaeError
from dynvae.work.crew import Answer, Crew, Died, End, Raised, Ready, Result, Unfit
from dynvae.work.items import Item, Outcome

GRACE = 10.0
"""Seconds that running items get to come to their end, once a stop is asked for."""
FALSE_STARTS = 3
"""Workers that may die before they are ready, until one has been."""
DEATHS_IN_A_ROW = 30
"""Workers that may die without an item done between them: then something else is wrong than the items."""
_LISTEN = 0.2


class Schedule:
    """Has a crew do batches of items.

    A batch that fails or whose worker dies comes again, each of its items alone; so an item that ruins its worker harms
    no other. Such an item is begun a bounded number of times. An error that is meant for the user (`DynvaeError`) is
    final at once.

    Args:
        batches: drawn as they are needed, a few ahead.
        crew: who works; empty at first.
        workers: of the crew at a time, at most.
        attempts: for each item.
        asked: whether a stop is asked for.
    """

    def __init__(
        self, batches: Iterable[Sequence[Item]], crew: Crew, workers: int, attempts: int, asked: Callable[[], bool]
    ) -> None:
        self._fresh = iter(batches)
        self._crew, self._size, self._attempts, self._asked = crew, workers, attempts, asked
        self._queue: deque[Sequence[Item]] = deque()
        self._starting: set[int] = set()
        self._idle: set[int] = set()
        self._busy: dict[int, deque[Item]] = {}
        self._failures: Counter[str] = Counter()
        self._deaths = 0
        self._began = False

    def outcomes(self) -> Iterator[Outcome]:
        """What becomes of the items, in the order in which they get ready; ends early if a stop is asked for.

        Raises:
            DynvaeError: no worker can begin, or one after the other dies.
        """
        deadline = None
        while True:
            if self._asked():
                now = time.monotonic()
                deadline = deadline or now + GRACE
                if not self._busy or now > deadline:
                    return
            else:
                self._hand_out()
                if not self._busy and not self._starting and not self._queue:
                    return
            for worker, answer in self._crew.listen(_LISTEN):
                yield from self._hear(worker, answer)

    def _hand_out(self) -> None:
        while len(self._queue) < self._size and (batch := next(self._fresh, None)) is not None:
            self._queue.append(batch)
        while self._queue and self._idle:
            worker = self._idle.pop()
            batch = self._queue.popleft()
            self._busy[worker] = deque(batch)
            self._crew.give(worker, batch)
        while (
            len(self._starting) < len(self._queue)
            and len(self._starting) + len(self._idle) + len(self._busy) < self._size
        ):
            self._starting.add(self._crew.hire())

    def _hear(self, worker: int, answer: Answer) -> Iterator[Outcome]:
        match answer:
            case Ready():
                self._starting.discard(worker)
                self._idle.add(worker)
                self._began = True
            case Unfit(problem):
                raise DynvaeError(problem)
            case Result(value, seconds):
                item = self._busy[worker].popleft()
                self._deaths = 0
                yield Outcome(item.key, value, seconds=seconds, attempts=self._failures[item.key] + 1)
            case End():
                left = self._busy.pop(worker)
                if left:
                    raise RuntimeError(f"the work gave no value for {left[0].key!r}")
                self._idle.add(worker)
            case Raised(problem, trace):
                items = self._busy.pop(worker)
                self._idle.add(worker)
                yield from self._failed(items, problem, trace, final=not trace)
            case Died(problem):
                yield from self._buried(worker, problem)

    def _buried(self, worker: int, problem: str) -> Iterator[Outcome]:
        self._crew.dismiss(worker)
        self._starting.discard(worker)
        self._idle.discard(worker)
        self._deaths += 1
        if self._deaths >= (DEATHS_IN_A_ROW if self._began else FALSE_STARTS):
            raise DynvaeError(
                f"workers die one after the other; of the last one, {problem}. Go on with fewer workers if memory is "
                "short; a script needs an `if __name__ == '__main__':` guard; with workers=0 there are no processes"
            )
        items = self._busy.pop(worker, deque())
        if items and not self._asked():
            yield from self._failed(items, problem)

    def _failed(
        self, items: Sequence[Item], problem: str, trace: str = "", *, final: bool = False
    ) -> Iterator[Outcome]:
        """Another attempt for items that were begun, or the end of one."""
        if len(items) > 1:  # alone, each shows whether it was the one
            self._queue.extend([item] for item in items)
            return
        (item,) = items
        self._failures[item.key] += 1
        if final or self._failures[item.key] >= self._attempts:
            yield Outcome(item.key, problem=problem, attempts=self._failures[item.key], trace=trace)
        else:
            self._queue.append([item])
