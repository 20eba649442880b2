"""Results of an evaluation, file by file: kept as they come, so that a stopped evaluation goes on where it was."""

from __future__ import annotations

__all__ = ["FileScores", "Records", "read_scores"]

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynvae.errors import ConfigError, DataError
from dynvae.files import atomic_write
from dynvae.metrics import Score

SCORES = "scores.csv"
FIRST = ("path", "speaker", "seconds", "frames")
LAST = ("failures", "problem")


@dataclass(frozen=True)
class FileScores:
    """All that was measured of one file.

    Attributes:
        path: its name in the corpus.
        speaker: who speaks; empty if unknown.
        seconds: duration of what was measured (after trimming); 0 if nothing was.
        frames: the same in STFT frames.
        scores: the terms of the ELBO and the scores, by name.
        problem: why the file was not measured at all; empty if it was.
    """

    path: str
    speaker: str
    seconds: float
    frames: int
    scores: Mapping[str, Score]
    problem: str = ""

    def to_row(self) -> list[str]:
        """Cells of a table: numbers in full precision, empty where there is none, reasons as JSON."""
        failures = {name: score.reason for name, score in self.scores.items() if score.failed}
        numbers = ["" if score.failed else repr(float(score.value)) for score in self.scores.values()]
        reasons = json.dumps(failures, ensure_ascii=False) if failures else ""
        return [self.path, self.speaker, repr(float(self.seconds)), str(self.frames), *numbers, reasons, self.problem]

    @classmethod
    def from_row(cls, columns: Sequence[str], row: Sequence[str]) -> FileScores:
        """The inverse of :meth:`to_row`.

        Raises:
            ValueError: the row is not complete.
        """
        if len(row) != len(FIRST) + len(columns) + len(LAST):
            raise ValueError(f"a row has {len(row)} cells")
        path, speaker, seconds, frames, *numbers, failures, problem = row
        reasons = json.loads(failures) if failures else {}
        scores = {
            name: Score.failure(str(reasons[name])) if name in reasons else Score(float(number))
            for name, number in zip(columns, numbers, strict=True)
        }
        return cls(path, speaker, float(seconds), int(frames), scores, problem)


def read_scores(folder: str | os.PathLike[str]) -> dict[str, FileScores]:
    """What an evaluation has left in its folder so far, by path; empty if that is something else.

    A process that was killed may have left half a line at the end; that file counts as not measured.
    """
    with (Path(folder) / SCORES).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    header = next(lines, [])
    columns = header[len(FIRST) : -len(LAST)]
    if (*FIRST, *columns, *LAST) != tuple(header):
        return {}
    rows: dict[str, FileScores] = {}
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            row = FileScores.from_row(columns, line)
            rows[row.path] = row
    return rows


class Records:
    """The folder of an evaluation: ``settings.json``, ``scores.csv`` and, at the end, ``summary.json``.

    Args:
        folder: made if it is missing.
        settings: everything that decides the numbers.
        columns: names of the scores.
        overwrite: throw away what an evaluation with other settings has left.

    Attributes:
        rows: what is measured already, by path.

    Raises:
        ConfigError: the folder holds an evaluation with other settings.
        DataError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], columns: Sequence[str], *, overwrite: bool = False
    ) -> None:
        self.folder, self.columns = folder, tuple(columns)
        self.rows: dict[str, FileScores] = {}
        settings = json.loads(json.dumps(settings))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            old = self._old_settings()
            if old is not None and old != settings and not overwrite:
                raise ConfigError(f"{folder} holds an evaluation with {_difference(old, settings)}; "
                                  "choose another folder (--out), or --overwrite")  # fmt: skip
            if old == settings and self._csv.exists():
                found = read_scores(folder)
                self.rows = {path: row for path, row in found.items() if tuple(row.scores) == self.columns}
            self._write_rows(self.rows.values())
            self.write_json("settings.json", settings)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder (--out)") from error

    def append(self, row: FileScores) -> None:
        """Note the result of one file, at once."""
        self.rows[row.path] = row
        with self._csv.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(_line(row.to_row()))

    def finish(self, rows: Iterable[FileScores], summary: Mapping[str, Any]) -> None:
        """Bring the table into the order of the corpus, and write the summary."""
        self._write_rows(rows)
        self.write_json("summary.json", summary)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the folder's JSON files, whole or not at all."""
        with atomic_write(self.folder / name) as temp:
            temp.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")

    @property
    def _csv(self) -> Path:
        return self.folder / SCORES

    def _old_settings(self) -> dict[str, Any] | None:
        path = self.folder / "settings.json"
        if not path.exists():
            if self._csv.exists() or (self.folder / "summary.json").exists():
                return {}
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return {}

    def _write_rows(self, rows: Iterable[FileScores]) -> None:
        with (
            atomic_write(self._csv) as temp,
            temp.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
        ):
            file.write(_line([*FIRST, *self.columns, *LAST]))
            file.writelines(_line(row.to_row()) for row in rows)


def _line(cells: Sequence[str]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    for name, value in new.items():
        if old.get(name) != value:
            return f"another {name} ({old.get(name)}, now {value})" if name in old else f"no known {name}"
    return "other settings"
