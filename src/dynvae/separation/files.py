"""Separation of sound files from disk to disk: what the workers of ``dynvae separate`` do."""

from __future__ import annotations

__all__ = ["FileSeparator", "Separating", "SeparationJob"]

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dynvae.audio import read_audio
from dynvae.audio.blocks import Kept, Writer, read_blocks, survey
from dynvae.errors import AudioError
from dynvae.mixtures.engine import Progress
from dynvae.separation.long import separate_in_chunks
from dynvae.separation.scores import best_order, source_scores
from dynvae.separation.separator import Parted, Separator
from dynvae.testtime.long import Chunks
from dynvae.work import Item

SCORE_RATE = 16000


@dataclass(frozen=True)
class Separating:
    """All that decides what becomes of a file.

    Attributes:
        models: names or folders, one for each source.
        settings: of :class:`~dynvae.separation.Separator`.
        chunks: how long recordings are cut.
        seed: of all random numbers.
        float_samples: write 32-bit floating-point WAV instead of the format of the input.
        metrics: scores to compute where the true sources are given.
        device: where the models run.
    """

    models: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    chunks: Chunks = field(default_factory=Chunks)
    seed: int = 0
    float_samples: bool = False
    metrics: tuple[str, ...] = ("si_sdr",)
    device: str = "cpu"


@dataclass(frozen=True)
class SeparationJob:
    """One mixture: where it comes from, where its sources go, and the true sources, if they are known."""

    source: Path
    targets: tuple[Path, ...]
    references: tuple[Path, ...] = ()


class FileSeparator:
    """Separates files, in memory that does not grow with them; the `Work` of items whose payload is a `SeparationJob`.

    Args:
        way: what to do.
        progress: told how a chunk goes.

    Raises:
        DynvaeError: a model cannot be used in this way.
    """

    def __init__(self, way: Separating, progress: Progress | None = None) -> None:
        self.way, self.progress = way, progress
        self.separator = Separator(way.models, device=way.device, **way.settings)

    def __call__(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """Separate the files of items, and tell of each what there is to tell."""
        return (self.separate(item.payload) for item in items)

    def separate(self, job: SeparationJob) -> dict[str, Any]:
        """Separate a file: first it is read once to see whether it can be used, then again, piece by piece.

        Returns:
            What is to be told of it, plain enough for JSON.

        Raises:
            AudioError: the file cannot be used, or a result cannot be written.
        """
        info = survey(job.source)
        kept = Kept.of(info, job.targets[0].suffix, float_samples=self.way.float_samples)
        course = _Course()
        wall, cpu = time.perf_counter(), time.process_time()
        with contextlib.ExitStack() as stack:
            writers = [
                stack.enter_context(Writer(target, kept, info.sample_rate, info.channels)) for target in job.targets
            ]
            pieces = separate_in_chunks(
                self.separator, read_blocks(job.source), info.sample_rate, info.samples, chunks=self.way.chunks,
                seed=self.way.seed, name=str(job.source), progress=self.progress, told=course,
            )  # fmt: skip
            for piece in pieces:
                for writer, part in zip(writers, piece, strict=True):
                    writer.write(part)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        clipped = sum(writer.clipped for writer in writers)
        found: dict[str, Any] = {
            "input": str(job.source), "outputs": [str(target) for target in job.targets], "seconds": info.seconds,
            "sample_rate": info.sample_rate, "channels": info.channels, "format": f"{kept.format} {kept.subtype}",
            "real_time_factor": wall / info.seconds, "processor_factor": cpu / info.seconds, "clipped": clipped,
            "chunks": course.chunks, "energy": course.energy(), "silent": course.silent,
        }  # fmt: skip
        found["notices"] = list(self._notices(found))
        if job.references:
            found["scores"] = self._scores(job)
        return found

    def _notices(self, found: dict[str, Any]) -> Iterator[str]:
        rate = self.separator.front_end.sample_rate
        if found["sample_rate"] != rate:
            yield f"{found['sample_rate']} Hz, resampled to the models' {rate} Hz and back"
        if found["silent"]:
            yield "the file is silent, and so are its sources"
        if found["clipped"]:
            yield f"{found['clipped']} samples beyond full scale were clipped; --float keeps them"

    def _scores(self, job: SeparationJob) -> list[dict[str, Any]]:
        """Scores of each source, and how much better it is than the mixture; of a failure, its reason."""
        try:
            mixture, _ = read_audio(job.source, SCORE_RATE)
            references = [read_audio(path, SCORE_RATE)[0] for path in job.references]
            estimates = [read_audio(path, SCORE_RATE)[0] for path in job.targets]
            twins = self.separator.twins
            sides = {
                "mixture": source_scores(references, [mixture] * len(references), twins, SCORE_RATE, self.way.metrics),
                "separated": source_scores(references, estimates, twins, SCORE_RATE, self.way.metrics),
            }
            order = best_order(references, estimates, twins)
        except AudioError as error:
            return [{"reference": str(path), "problem": str(error)} for path in job.references]
        return [
            {"reference": str(path), "estimate": str(job.targets[order[index]])}
            | {side: {name: found.reason if found.failed else found.value for name, found in all_of[index].items()}
               for side, all_of in sides.items()}
            for index, path in enumerate(job.references)
        ]  # fmt: skip


class _Course:
    """Collects what is told of chunks."""

    def __init__(self) -> None:
        self.chunks, self.silent = 0, True
        self.energies: list[Any] = []

    def __call__(self, number: int, count: int, found: Parted) -> None:
        self.chunks, self.silent = count, self.silent and bool(found.silent.all())
        self.energies.append(np.square(found.waveforms, dtype=np.float64).sum((-2, -1)))

    def energy(self) -> list[float]:
        """Each source's share."""
        total = np.sum(self.energies, 0)
        return [float(share) for share in total / max(float(total.sum()), 1e-300)]
