"""Scores of many pairs of waveforms, in this process or in several."""

from __future__ import annotations

__all__ = ["Pair", "Scored", "score_pairs"]

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import DynvaeError
from dynvae.metrics.score import Score
from dynvae.metrics.table import score

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
AHEAD = 4


class Pair(NamedTuple):
    """Two waveforms to be compared, ``(samples,)`` each, and a name for the result."""

    name: str
    reference: NDArray[np.float32]
    estimate: NDArray[np.float32]


class Scored(NamedTuple):
    """The scores of a pair, and the seconds that they took."""

    name: str
    scores: dict[str, Score]
    seconds: float


def score_pairs(pairs: Iterator[Pair], sample_rate: int, metrics: Sequence[str], workers: int) -> Iterator[Scored]:
    """Score pairs while they come.

    Args:
        pairs: drawn only as fast as they are scored, so that memory does not grow with their number.
        sample_rate: in Hz.
        metrics: names out of :data:`METRICS`.
        workers: number of processes, started afresh (``spawn``) with one thread each; 0 scores in this one.

    Yields:
        The scores, in the order in which they get ready.

    Raises:
        DynvaeError: a worker process died.
    """
    if workers == 0:
        yield from (_score(pair, sample_rate, metrics) for pair in pairs)
        return
    with _one_thread_each():
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_leave_interrupts)
        try:
            waiting: set[Future[Scored]] = set()
            for pair in pairs:
                waiting.add(pool.submit(_score, pair, sample_rate, metrics))
                if len(waiting) >= AHEAD * workers:
                    ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in ready)
            while waiting:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ready)
        except BrokenProcessPool as error:
            raise DynvaeError(
                "a scoring process died: out of memory, or a script without an `if __name__ == '__main__':` guard; "
                "what is measured is kept; go on with fewer workers, or with workers=0"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _score(pair: Pair, sample_rate: int, metrics: Sequence[str]) -> Scored:
    start = time.perf_counter()
    scores = score(pair.reference, pair.estimate, sample_rate, metrics)
    return Scored(pair.name, scores, time.perf_counter() - start)


def _leave_interrupts() -> None:
    """Ctrl-C goes to every process of a terminal; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start in this block use one thread; their numerical libraries ask the environment for it."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
