"""What was measured: rows, the file that keeps them, and the comparison with an earlier file."""

from __future__ import annotations

__all__ = ["THEIRS", "TOLERANCE", "Report", "Row", "regressions"]

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynvae.errors import DataError
from dynvae.files import atomic_write

TOLERANCE = 0.15
"""How much worse a ratio may become: what two runs on a machine that others share differ by."""


THEIRS = ("reference", "as shipped")
"""Codes that are not ours; the second detects anomalies, as the reference's scripts do."""


@dataclass(frozen=True)
class Row:
    """One code on one task.

    Attributes:
        benchmark: the command that measured it.
        task: what was timed, e.g. ``"training"``.
        model: a key of `benchmarks.cases.CASES`; of the input side, a stage.
        code: one of `THEIRS`, or the name of our executor.
        batch: number of sequences.
        time: frames of each.
        threads: of the process.
        clock: which time counts, ``"wall"`` or ``"cpu"``.
        wall_ms: median of a run.
        cpu_ms: median of the process's own time, all threads together.
        steps: number of runs.
        spread: half the range of the runs, as a part of their median.
        ratio: how often as fast as the reference in the same minute; None without a reference.
        floor_ms: what the products with weights cost at the best rate that matrix products had in the same minute.
        gflops: that rate.
        peak_mb: how far the resident memory rose in a run.
        parameters: number of trained numbers.
        deviation: relative difference of the losses of both codes, given the same weights and noise.
        seconds: of sound in a run, where sound is what goes in.
        si_sdr: of what comes out, in dB, where it is an estimate of speech.
        accuracy: share of detections that are given to their object, where there are any.
    """

    benchmark: str
    task: str
    model: str
    code: str
    batch: int
    time: int
    threads: int
    clock: str
    wall_ms: float
    cpu_ms: float
    steps: int
    spread: float
    ratio: float | None = None
    floor_ms: float | None = None
    gflops: float | None = None
    peak_mb: float | None = None
    parameters: int | None = None
    deviation: float | None = None
    seconds: float | None = None
    si_sdr: float | None = None
    accuracy: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two measurements comparable."""
        return (self.benchmark, self.task, self.model, self.code, self.batch, self.time, self.threads)

    @property
    def shape(self) -> str:
        return f"{self.batch} × {self.time}"

    @property
    def ms(self) -> float:
        """The time that counts."""
        return self.cpu_ms if self.clock == "cpu" else self.wall_ms

    @property
    def us_per_frame(self) -> float:
        return 1000 * self.ms / (self.batch * self.time)

    @property
    def frames_per_second(self) -> float:
        return 1e6 / self.us_per_frame

    @property
    def sound_rate(self) -> float | None:
        """Seconds of sound per second."""
        return None if self.seconds is None else 1000 * self.seconds / self.ms

    @property
    def floor_ratio(self) -> float | None:
        """How far from the floor: 1 would be nothing but matrix products at full speed."""
        return None if self.floor_ms is None else self.ms / self.floor_ms

    def __str__(self) -> str:
        ratio = "" if self.ratio is None or self.code in THEIRS else f"{self.ratio:6.2f} × reference"
        floor = "" if self.floor_ratio is None else f"{self.floor_ratio:5.2f} × floor"
        memory = "" if self.peak_mb is None else f"{self.peak_mb:6.0f} MB"
        return (
            f"{self.task:11} {self.model:11} {self.code:10} {self.shape:>9} {self.threads} thr  {self.ms:8.1f} ms"
            f"  {self.us_per_frame:7.1f} µs/frame  {floor:13} {memory:9} {ratio}"
        ).rstrip()


_DERIVED = ("us_per_frame", "frames_per_second", "floor_ratio", "sound_rate")


@dataclass(frozen=True)
class Report:
    """A run of a benchmark.

    Attributes:
        machine: what it ran on.
        settings: how it was measured.
        rows: the measurements.
    """

    machine: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write JSON; what follows from other figures is written too, for whoever reads the file."""
        rows = [dataclasses.asdict(row) | {name: getattr(row, name) for name in _DERIVED} for row in self.rows]
        content = {"machine": self.machine, "settings": self.settings, "rows": [_rounded(row) for row in rows]}
        with atomic_write(path) as temp:
            temp.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what :meth:`write` wrote.

        Raises:
            DataError: the file is missing, or holds something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = [Row(**{k: v for k, v in row.items() if k not in _DERIVED}) for row in content["rows"]]
            return cls(content["machine"], content["settings"], rows)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} does not hold the results of a benchmark ({error})") from error


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Four digits are more than any of these figures repeats to."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}


def regressions(now: Sequence[Row], before: Sequence[Row], tolerance: float = TOLERANCE) -> list[str]:
    """A line for each row of ours that has become slower by more than the tolerance.

    Speeds are compared as ratios to the reference, or to the floor where one side lacks a reference, since milliseconds
    of two runs do not compare.

    Raises:
        DataError: the two have no row in common that could be compared.
    """
    earlier = {row.key: row for row in before}
    lines, compared = [], 0
    for row in now:
        old = earlier.get(row.key)
        if old is None or row.code in THEIRS:
            continue
        for name, better in (("ratio", 1), ("floor_ratio", -1)):
            new_value, old_value = getattr(row, name), getattr(old, name)
            if new_value is None or old_value is None:
                continue
            compared += 1
            change = (new_value / old_value) ** better
            if change < 1 - tolerance:
                word = "× the reference" if name == "ratio" else "× the floor"
                lines.append(
                    f"{row.task} {row.model} {row.code} {row.shape}, {row.threads} threads: "
                    f"{old_value:.2f} {word} before, {new_value:.2f} now"
                )
            break
    if not compared:
        raise DataError("there is nothing to compare: no measurement of ours is in both results")
    return lines
