"""Workers on the machines of a Ray cluster."""

from __future__ import annotations

__all__ = ["RayActors"]

import itertools
import logging
import os
from collections.abc import Sequence
from typing import Any, Self

from dynvae.errors import require
from dynvae.work.crew import Answer, Died, begin, perform, pickled
from dynvae.work.items import Item, Make, Work


class RayActors:
    """A crew of Ray actors, one CPU each.

    The cluster is the one that this process has joined (``ray.init``), or that ``RAY_ADDRESS`` names (``auto`` for the
    one of this machine); else a cluster of this machine alone, which ends with the crew. Its machines need the same
    dynvae, and the files under the same paths.

    Args:
        make: gets a worker ready.
        workers: CPUs of the cluster that is started where there is none.
        gpus: that each worker gets, a fraction for workers that share one.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(self, make: Make, workers: int, gpus: float = 0) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        self._ray: Any = require("ray", "ray")
        self._make = pickled(make)
        self._workers, self._gpus = workers, gpus
        self._numbers = itertools.count()
        self._actors: dict[int, Any] = {}
        self._awaited: dict[Any, int] = {}

    def __enter__(self) -> Self:
        self._own = not self._ray.is_initialized()
        if self._own:
            size = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": self._workers, "include_dashboard": False}
            self._ray.init(log_to_driver=False, logging_level=logging.ERROR, **size)
        self._made = self._ray.put(self._make)
        self._kind = self._ray.remote(num_cpus=1, num_gpus=self._gpus, max_restarts=0)(_Actor)
        return self

    def __exit__(self, *error: object) -> None:
        for worker in list(self._actors):
            self.dismiss(worker)
        if self._own:
            self._ray.shutdown()

    def hire(self) -> int:
        worker = next(self._numbers)
        self._actors[worker] = self._kind.remote()
        self._awaited[self._actors[worker].begin.remote(self._made)] = worker
        return worker

    def give(self, worker: int, items: Sequence[Item]) -> None:
        self._awaited[self._actors[worker].perform.remote(items)] = worker

    def listen(self, seconds: float) -> list[tuple[int, Answer]]:
        spoken, _ = self._ray.wait(list(self._awaited), timeout=seconds)
        heard: list[tuple[int, Answer]] = []
        for reference in spoken:
            worker = self._awaited.pop(reference)
            try:
                heard += [(worker, answer) for answer in self._ray.get(reference)]
            except self._ray.exceptions.RayError as error:
                heard.append((worker, Died(f"its Ray actor is gone ({_first_line(error)})")))
        return heard

    def dismiss(self, worker: int) -> None:
        self._awaited = {reference: other for reference, other in self._awaited.items() if other != worker}
        self._ray.kill(self._actors.pop(worker))


class _Actor:
    """The worker, in a process of the cluster."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def begin(self, make: bytes) -> list[Answer]:
        self._work, answer = begin(make)
        return [answer]

    def perform(self, items: Sequence[Item]) -> list[Answer]:
        assert self._work is not None
        return list(perform(self._work, items))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
