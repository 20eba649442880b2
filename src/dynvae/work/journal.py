"""The diary of a run: a line for each item that was done or failed, written as soon as it is."""

from __future__ import annotations

__all__ = ["JOURNAL", "Journal"]

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from dynvae.errors import ConfigError, DataError
from dynvae.work.items import Item, Outcome

JOURNAL = "journal.jsonl"
SYNC_EVERY = 1.0
"""Seconds between two waits for the disk. A killed process loses nothing in them, a power failure that much."""


class Journal:
    """``journal.jsonl`` in the folder of a run; a context that keeps other processes out of it.

    Its first line holds the settings, each other one a key, a status (``done`` or ``failed``), and the value or the
    problem. The last line on a key counts. Half a line, as a killed process leaves it, is cut off; its item counts as
    not done.

    Args:
        folder: made where it is missing.
        settings: everything that decides the results, as JSON.
        overwrite: throw away what a run with other settings has noted.

    Raises:
        ConfigError: the folder is one of other settings, or another process works in it.
        DataError: it cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = folder / JOURNAL
        self._folder = folder
        self._synced = -math.inf
        settings = json.loads(json.dumps(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab+")
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder (--out)") from error
        try:
            self._lock()
            lines = self._whole_lines()
            old = lines[0].get("settings") if lines else settings
            if old != settings and not overwrite:
                raise ConfigError(
                    f"{folder} holds the work of {_difference(old, settings)}; "
                    "choose another folder (--out), or --overwrite"
                )
            if old != settings or not lines:
                lines = []
                self._file.truncate(0)
                self._write([{"format_version": 1, "settings": settings}])
        except BaseException:
            self._file.close()
            raise
        self._last = {line["key"]: line for line in lines if "key" in line}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def done(self, items: Iterable[Item]) -> dict[str, Any]:
        """The values of those items that are done: noted so, and with all their outputs there."""
        return {
            item.key: self._last[item.key]["value"]
            for item in items
            if self._last.get(item.key, {}).get("status") == "done"
            and all((self._folder / output).exists() for output in item.outputs)
        }

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Note what became of items; no kill of this process undoes it.

        Raises:
            DataError: the disk is full, say.
        """
        self._write(_line(outcome) for outcome in outcomes)

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        try:
            for line in lines:
                self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._file.flush()
            if time.monotonic() - self._synced > SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror}); then the same call goes on") from error

    def _lock(self) -> None:
        """Keep others out, as long as the file is open; where the system cannot lock, they are trusted."""
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another process works in {self._folder}; wait for it, or end it") from None

    def _whole_lines(self) -> list[dict[str, Any]]:
        """All whole lines, an empty one for each that cannot be read; the file is cut behind the last."""
        self._file.seek(0)
        data = self._file.read()
        end = data.rfind(b"\n") + 1
        self._file.truncate(end)
        lines: list[dict[str, Any]] = []
        for text in data[:end].splitlines():
            try:
                lines.append(dict(json.loads(text)))
            except (ValueError, TypeError):
                lines.append({})
        return lines


def _line(outcome: Outcome) -> dict[str, Any]:
    line = {"key": outcome.key, "status": "failed" if outcome.problem else "done"}
    if outcome.problem:
        line |= {"problem": outcome.problem} | ({"trace": outcome.trace} if outcome.trace else {})
    else:
        line["value"] = outcome.value
    return line | {"seconds": round(outcome.seconds, 6), "attempts": outcome.attempts}


def _difference(old: Any, new: Mapping[str, Any]) -> str:
    if not isinstance(old, dict):
        return "something else"
    name = next(name for name in [*new, *old] if old.get(name) != new.get(name))
    return f"another {name} ({old.get(name)}, now {new.get(name)})"
