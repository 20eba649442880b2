"""The folder of a run: one writer at a time, its settings, its log and its best weights."""

from __future__ import annotations

__all__ = ["RunFolder"]

import contextlib
import csv
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynvae.errors import ConfigError
from dynvae.files import atomic_write
from dynvae.models.base import DVAE
from dynvae.training.checkpoints import Checkpoints


class RunFolder:
    """``config.yaml``, ``metrics.csv``, ``checkpoints/`` and ``model/`` of one run.

    Args:
        path: the folder; made when it is locked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints")
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.csv"
        self.model = self.path / "model"

    # ---- one writer ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only run in the folder.

        A lock that its process has left behind (killed, power cut) is taken over.

        Raises:
            ConfigError: another run is at work here, or the folder cannot be written.
        """
        path = self.path / "run.lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"the run folder {self.path} cannot be written: {error.strerror}") from error
        with file:
            self._take(file)
            file.seek(0)
            file.truncate()
            json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}, file)
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def _take(self, file: Any) -> None:
        file.seek(0)
        text = file.read()
        owner: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            owner = dict(json.loads(text or "{}"))
        if owner and owner.get("host") != socket.gethostname():
            raise ConfigError(
                f"{self.path} is in use by process {owner.get('pid')} on {owner.get('host')}; "
                f"if that run is dead, remove {file.name}"
            )
        if not _lock_file(file, patience=0.0 if _alive(owner.get("pid")) else 10.0):
            raise ConfigError(
                f"{self.path} is in use by process {owner.get('pid')} since {owner.get('since')}; "
                "wait for it or choose another folder"
            )

    # ---- log -------------------------------------------------------------------------------------------------------

    def append(self, row: dict[str, Any]) -> None:
        """Add a row to the log; the first one brings the header."""
        new = not self.metrics.exists()
        with self.metrics.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def forget_after(self, step: int) -> None:
        """Drop the rows of the log that a resumed run will write again."""
        if not self.metrics.exists():
            return
        with self.metrics.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
        with atomic_write(self.metrics) as temp, temp.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *kept])

    # ---- best weights ----------------------------------------------------------------------------------------------

    def save_best(self, model: DVAE, card: dict[str, Any]) -> None:
        """Write the weights as they are now as the best; at every moment the old ones or the new ones are complete."""
        from dynvae.pretrained import save

        save(model, self.model, card=card)

    def clean(self) -> None:
        """Remove the temporary files that a killed writer has left."""
        self.checkpoints.clean()
        for temp in self.path.glob(".tmp-*"):
            temp.unlink(missing_ok=True)


def _lock_file(file: Any, patience: float) -> bool:
    """Take the system's lock of a file, which ends with its process; helpers of a dead run may take a while to go."""
    try:
        import fcntl
    except ImportError:  # not on Windows, where an open file cannot be removed: the lock file itself must do
        return patience > 0
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.2)


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
