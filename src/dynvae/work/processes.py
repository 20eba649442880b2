"""Workers on this machine: processes that start afresh, with one thread each."""

from __future__ import annotations

__all__ = ["Processes"]

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Self

from dynvae.work.crew import Answer, Died, begin, perform, pickled
from dynvae.work.items import Item, Make

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Processes:
    """A crew of processes on this machine.

    They leave Ctrl-C to this process, and end with it even where it is killed.

    Args:
        make: gets a worker ready.
    """

    def __init__(self, make: Make) -> None:
        # Pickled once and sent as bytes: multiprocessing's own way would move a model's weights to shared memory, which
        # is scarce in containers.
        self._make = pickled(make)
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, tuple[SpawnProcess, Connection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in list(self._workers):
            self.dismiss(worker)

    def hire(self) -> int:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._make), daemon=False)
        with _one_thread_each():
            process.start()
        theirs.close()
        assert process.pid is not None
        self._workers[process.pid] = (process, ours)
        return process.pid

    def give(self, worker: int, items: Sequence[Item]) -> None:
        with contextlib.suppress(OSError):  # it has died meanwhile, which the next listening tells
            self._workers[worker][1].send(items)

    def listen(self, seconds: float) -> list[tuple[int, Answer]]:
        ends = {pid: (connection, process.sentinel) for pid, (process, connection) in self._workers.items()}
        speaking = wait([end for both in ends.values() for end in both], seconds)
        heard: list[tuple[int, Answer]] = []
        for pid, (connection, sentinel) in ends.items():
            if connection in speaking or sentinel in speaking:
                heard += [(pid, answer) for answer in self._heard(pid)]
        return heard

    def _heard(self, pid: int) -> Iterator[Answer]:
        """What a worker has said, up to its death."""
        process, connection = self._workers[pid]
        dead = not process.is_alive()  # asked first: what it said before lies in the pipe
        try:
            while connection.poll():
                yield connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # it died, perhaps in the middle of a word
            process.join(5)
            dead = True
        if dead:
            yield Died(_cause(process.exitcode))

    def dismiss(self, worker: int) -> None:
        process, connection = self._workers.pop(worker)
        connection.close()
        process.kill()
        process.join()
        process.close()


def _serve(connection: Connection, make: bytes) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work, answer = begin(make)
    connection.send(answer)
    if work is None:
        return
    with contextlib.suppress(EOFError, OSError):  # nobody listens any more
        while True:
            for answer in perform(work, connection.recv()):
                connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            return f"its process was ended by {name}{hint}"
    return f"its process ended with exit code {code}"


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
