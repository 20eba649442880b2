"""The evaluation of a model on a corpus: analysis-resynthesis, scored file by file."""

from __future__ import annotations

__all__ = ["Evaluation", "evaluate", "fingerprint"]

import contextlib
import dataclasses
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dynvae.data import Corpus, Utterance
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation.analysis import LatentsAt, Mode, speech_front_end
from dynvae.evaluation.loading import batches, spread
from dynvae.evaluation.measuring import Measured, measuring
from dynvae.evaluation.records import FileScores, Records
from dynvae.metrics import METRICS, Score, Summary, score_packages, summarize
from dynvae.models import DVAE
from dynvae.work import Engine, Item, Stopped, outcomes

logger = logging.getLogger(__name__)

NOT_MEASURED = "the file could not be measured (its 'problem' tells why)"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        settings: everything that decides the numbers.
        files: the results, file by file, in the corpus's order.
        scores: their summaries: terms of the ELBO in nats per frame, then the scores, by name.
        timing: seconds of this call; of its model part and its scores, summed over workers; and of the sound in them.
    """

    settings: Mapping[str, Any]
    files: Sequence[FileScores]
    scores: Mapping[str, Summary]
    timing: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, ready for JSON."""
        return {
            "format_version": 1,
            "settings": dict(self.settings),
            "files": len(self.files),
            "speakers": len({row.speaker for row in self.files if row.speaker}),
            "seconds": sum(row.seconds for row in self.files),
            "not_measured": {row.path: row.problem for row in self.files if row.problem},
            "scores": {name: dataclasses.asdict(summary) for name, summary in self.scores.items()},
            "timing": dict(self.timing),
        }


def evaluate(
    model: DVAE,
    corpus: Corpus,
    *,
    mode: Mode = "teacher-forced",
    latents: LatentsAt = "sample",
    seed: int = 0,
    metrics: Sequence[str] = tuple(METRICS),
    engine: Engine = "processes",
    workers: int = 0,
    batch_size: int = 16,
    limit: int | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a model by analysis-resynthesis of whole utterances with the original phase.

    Each utterance is prepared as the model's front end says (offset, trimming, peak normalisation), passed through
    the model, and compared with its prepared self in the time domain. Files that cannot be measured are counted with
    their reason. The numbers depend on the seed and each file's name, and not on workers or order; batches, which are
    others with other workers and after a stop, change them by the rounding of float32 alone.

    A worker that dies is replaced, and its files are begun again; a file that kills three workers is one that cannot be
    measured. The first SIGINT or SIGTERM lets running files come to their end, a second one does not.

    Args:
        model: with a front end.
        corpus: what to measure on.
        mode: ``"teacher-forced"`` or ``"generation"``: what an autoregressive model sees as its past.
        latents: a ``"sample"`` of the posterior, or its ``"mean"``.
        seed: of the latents' noise.
        metrics: names out of `dynvae.metrics.METRICS`.
        engine: ``"processes"`` of this machine, or actors of a ``"ray"`` cluster
            (:class:`~dynvae.work.cluster.RayActors`).
        workers: that measure, each with one thread and a model of its own; 0 does all in this process.
        batch_size: utterances that pass through the model together, neighbours in length.
        limit: measure so many files, spread evenly over the corpus.
        out: a folder for ``scores.csv``, ``settings.json`` and ``summary.json``; an evaluation that was stopped goes
            on there, and tries again what could not be measured.
        overwrite: replace an evaluation with other settings in ``out``.
        report: called with the number of files done and of all.

    Raises:
        ConfigError: the model has no fitting front end, a setting is unknown, or ``out`` holds other settings' results.
        DataError: there are no files, or none of them could be measured.
        DynvaeError: workers die one after the other.
        MissingExtraError: Ray is not installed.
        Stopped: a signal has come.
    """
    start = time.perf_counter()
    _check(mode, latents, metrics, workers, batch_size, limit)
    front_end = speech_front_end(model)
    utterances = spread(corpus, limit)
    if not utterances:
        raise DataError(f"{corpus.root}: there are no files to evaluate on")
    columns = ["elbo", "log_likelihood", "kl", *(["kl_w"] if model.w_dim else []), "itakura_saito", "hoyer",
               *metrics]  # fmt: skip
    settings = {
        "model": fingerprint(model), "class": type(model).__name__, "front_end": front_end.to_dict(),
        "data": str(Path(corpus.root).resolve()), "splits": sorted({utterance.split for utterance in utterances}),
        "mode": mode, "latents": latents, "seed": seed, "metrics": list(metrics), "packages": score_packages(),
    }  # fmt: skip
    records = None if out is None else Records(out, settings, columns, overwrite=overwrite)
    rows = {} if records is None else {path: row for path, row in records.rows.items() if not row.problem}
    todo = [utterance for utterance in utterances if utterance.name not in rows]
    speakers = {utterance.name: utterance.speaker for utterance in todo}
    done = len(utterances) - len(todo)
    model_seconds = score_seconds = 0.0
    stream = outcomes(
        _batches(todo, batch_size, workers),
        partial(measuring, model, mode, latents, seed, tuple(metrics)),
        engine=engine,
        workers=workers,
        gpus=float(next(model.parameters()).is_cuda),
    )
    try:
        with contextlib.closing(stream):
            for outcome in stream:
                failed = FileScores(outcome.key, speakers[outcome.key], 0.0, 0, {}, outcome.problem)
                row, of_model, of_scores = outcome.value or Measured(failed, 0.0, 0.0)
                model_seconds, score_seconds = model_seconds + of_model, score_seconds + of_scores
                if row.problem:
                    logger.warning("%s is not measured: %s", row.path, outcome.trace or row.problem)
                full = {name: row.scores.get(name, Score.failure(NOT_MEASURED)) for name in columns}
                rows[row.path] = dataclasses.replace(row, scores=full)
                if records is not None:
                    records.append(rows[row.path])
                done += 1
                if report is not None:
                    report(done, len(utterances))
    except Stopped as stop:
        where = f" in {out}; the same call goes on" if out else ""
        raise Stopped(stop.signum, f"stopped with {done} of {len(utterances)} files measured{where}") from None
    files = [rows[utterance.name] for utterance in utterances]
    timing = {
        "wall_seconds": time.perf_counter() - start, "model_seconds": model_seconds, "score_seconds": score_seconds,
        "files": len(todo), "sound_seconds": sum(rows[utterance.name].seconds for utterance in todo),
    }  # fmt: skip
    scores = {name: summarize(row.scores[name] for row in files) for name in columns}
    evaluation = Evaluation(settings, files, scores, timing)
    if records is not None:
        records.finish(files, evaluation.to_dict())
    if all(row.problem for row in files):
        raise DataError(f"none of the {len(files)} files could be measured; {files[0].path}: {files[0].problem}")
    return evaluation


def _batches(utterances: Sequence[Utterance], batch_size: int, workers: int) -> Iterator[list[Item]]:
    """Batches for workers: smaller ones where there are few files, so that no worker waits long for another."""
    if workers:
        batch_size = min(batch_size, math.ceil(len(utterances) / (4 * workers)))
    for batch in batches(utterances, batch_size):
        yield [Item(utterance.name, utterance) for utterance in batch]


def fingerprint(model: DVAE) -> str:
    """A hash of a model's class, settings and weights: equal for equal models."""
    front_end = None if model.front_end is None else model.front_end.to_dict()
    digest = hashlib.sha256(json.dumps([type(model).__name__, model.config, front_end], sort_keys=True).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _check(mode: str, latents: str, metrics: Sequence[str], workers: int, batch_size: int, limit: int | None) -> None:
    for name, value, known in (
        ("mode", mode, ("teacher-forced", "generation")),
        ("latents", latents, ("sample", "mean")),
    ):
        if value not in known:
            raise ConfigError(f"{name} is {' or '.join(known)}, not {value!r}")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ConfigError(f"there is no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    if workers < 0 or batch_size < 1 or (limit is not None and limit < 1):
        raise ConfigError(f"workers ({workers}), batch_size ({batch_size}) and limit ({limit}) must be positive")
