"""Several jobs at a time, each in a process of its own, and their messages on one screen."""

from __future__ import annotations

__all__ = ["Stopped", "run_jobs"]

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dynvae.benchmark.plan import Job
from dynvae.files import atomic_write

SAY_EVERY = 20.0
"""Seconds between two lines about the epochs of one run."""
_EPOCH = re.compile(r"^epoch ")


class Stopped(BaseException):
    """A signal has ended the benchmark; the state of its runs is saved.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _Process:
    """The process of one job. What it says goes to ``log.txt`` in the run's folder, and in parts to the screen."""

    def __init__(self, job: Job, threads: int, say: Callable[[str], None]) -> None:
        self.job = job
        self.last_line = ""
        self._say = say
        self._said = time.monotonic()
        job.path.mkdir(parents=True, exist_ok=True)
        with atomic_write(job.path / "job.json") as temp:
            temp.write_text(json.dumps(job.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "passive",
            "PYTHONUNBUFFERED": "1",
        }
        # In a session of its own, so that Ctrl-C reaches it once, through us: a second signal would not let it save.
        self.process = subprocess.Popen(
            _command(job),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True, text=True, errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines, (self.job.path / "log.txt").open("a", encoding="utf-8") as log:
            for line in lines:
                log.write(line)
                log.flush()
                text = line.strip()
                if not text:
                    continue
                self.last_line = text
                now = time.monotonic()
                if _EPOCH.match(text):
                    if now - self._said < SAY_EVERY:
                        continue
                    self._said = now
                self._say(f"[{self.job.name}] {text}")

    def code(self) -> int | None:
        """The exit code, once it has ended and all it said is read."""
        code = self.process.poll()
        if code is not None:
            self._reader.join(timeout=10)
        return code

    def stop(self) -> None:
        """Ask it to save and to end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


def _command(job: Job) -> list[str]:
    return [sys.executable, "-m", "dynvae.benchmark.job", str(job.path / "job.json")]


def run_jobs(jobs: Sequence[Job], *, at_once: int, threads: int, say: Callable[[str], None]) -> dict[str, str]:
    """Do all jobs, and tell what went wrong.

    A job whose row starts from another one waits for it, and fails with it. Signals are handed on: the runs save their
    state before this ends.

    Args:
        jobs: in the order in which they are to begin.
        at_once: processes at a time.
        threads: of each process.
        say: takes a line for the screen.

    Returns:
        The reasons of the jobs that failed, by name.

    Raises:
        Stopped: SIGINT or SIGTERM came.
    """
    waiting: deque[Job] = deque(jobs)
    running: list[_Process] = []
    unfinished = {job.folder for job in jobs}
    failed: dict[str, str] = {}
    with _signals() as asked:
        try:
            while waiting or running:
                for process in [each for each in running if each.code() is not None]:
                    running.remove(process)
                    unfinished.discard(process.job.folder)
                    if code := process.code():
                        failed[process.job.name] = _reason(process, code)
                        say(f"[{process.job.name}] failed: {failed[process.job.name]}")
                while len(running) < at_once and (job := _next(waiting, unfinished)) is not None:
                    source = Path(job.init).name
                    if source in failed:
                        failed[job.name] = f"it starts from {source}, which failed"
                        unfinished.discard(job.folder)
                        say(f"[{job.name}] failed: {failed[job.name]}")
                        continue
                    running.append(_Process(job, threads, say))
                if asked:
                    raise Stopped(asked[0])
                time.sleep(0.1)
        finally:
            _end(running, say)
    return failed


def _next(waiting: deque[Job], unfinished: set[str]) -> Job | None:
    """Take the first job that can begin."""
    for job in waiting:
        if not job.init or job.init not in unfinished:
            waiting.remove(job)
            return job
    return None


def _reason(process: _Process, code: int) -> str:
    line = process.last_line.removeprefix("error: ")
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-code).name}"
    return f"{line or f'exit code {code}'} (more in {process.job.path / 'log.txt'})"


def _end(running: list[_Process], say: Callable[[str], None]) -> None:
    """Have what still runs save and end."""
    if not running:
        return
    say(f"stopping {len(running)} runs, which save their state first")
    for process in running:
        process.stop()
    deadline = time.monotonic() + 60
    for process in running:
        while process.code() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if process.code() is None:
            process.kill()


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that have come, in a list, instead of what they would do."""
    asked: list[int] = []
    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not in the main thread: then signals are somebody else's
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[int(number)] = signal.signal(number, lambda signum, frame: asked.append(signum))
    try:
        yield asked
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
