"""The evaluation of a model on a corpus: analysis-resynthesis, scored file by file."""

from __future__ import annotations

__all__ = ["Evaluation", "evaluate", "fingerprint"]

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dynvae.data import Corpus, Utterance
from dynvae.errors import AudioError, ConfigError, DataError
from dynvae.evaluation.analysis import LatentsAt, Mode, analysis_resynthesis, speech_front_end
from dynvae.evaluation.loading import batches, load, spread
from dynvae.evaluation.records import FileScores, Records
from dynvae.metrics import METRICS, Pair, Score, Summary, score_pairs, summarize
from dynvae.models import DVAE

logger = logging.getLogger(__name__)

NOT_MEASURED = "the file could not be measured (its 'problem' tells why)"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        settings: everything that decides the numbers.
        files: the results, file by file, in the corpus's order.
        scores: their summaries: terms of the ELBO in nats per frame, then the scores, by name.
        timing: seconds of this call, of its model part and of its scores, and of the sound in them.
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
    their reason. The numbers depend on the seed and each file's name, and not on workers or order; batches
    change them by the rounding of float32 alone.

    Args:
        model: with a front end.
        corpus: what to measure on.
        mode: ``"teacher-forced"`` or ``"generation"``: what an autoregressive model sees as its past.
        latents: a ``"sample"`` of the posterior, or its ``"mean"``.
        seed: of the latents' noise.
        metrics: names out of `dynvae.metrics.METRICS`.
        workers: processes that compute scores beside the model's; 0 does all in one.
        batch_size: utterances that pass through the model together, neighbours in length.
        limit: measure so many files, spread evenly over the corpus.
        out: a folder for ``scores.csv``, ``settings.json`` and ``summary.json``; an evaluation that was stopped goes
            on there.
        overwrite: replace an evaluation with other settings in ``out``.
        report: called with the number of files done and of all.

    Raises:
        ConfigError: the model has no fitting front end, a setting is unknown, or ``out`` holds other settings' results.
        DataError: there are no files.
    """
    start = time.perf_counter()
    _check(mode, latents, metrics, workers, batch_size, limit)
    front_end = speech_front_end(model)
    utterances = spread(corpus, limit)
    if not utterances:
        raise DataError(f"{corpus.root}: there are no files to evaluate on")
    columns = ["elbo", "log_likelihood", "kl", *(["kl_w"] if model.w_dim else []), "itakura_saito", *metrics]
    settings = {
        "model": fingerprint(model), "class": type(model).__name__, "front_end": front_end.to_dict(),
        "data": str(Path(corpus.root).resolve()), "splits": sorted({utterance.split for utterance in utterances}),
        "mode": mode, "latents": latents, "seed": seed, "metrics": list(metrics), "packages": _packages(),
    }  # fmt: skip
    records = None if out is None else Records(out, settings, columns, overwrite=overwrite)
    rows = {} if records is None else dict(records.rows)
    todo = [utterance for utterance in utterances if utterance.name not in rows]
    done = len(utterances) - len(todo)

    def note(row: FileScores) -> None:
        nonlocal done
        done += 1
        full = {name: row.scores.get(name, Score.failure(NOT_MEASURED)) for name in columns}
        rows[row.path] = dataclasses.replace(row, scores=full)
        if records is not None:
            records.append(rows[row.path])
        if report is not None:
            report(done, len(utterances))

    waiting: dict[str, FileScores] = {}
    model_seconds = score_seconds = 0.0

    def pairs() -> Iterator[Pair]:
        nonlocal model_seconds
        for batch in batches(todo, batch_size):
            began = time.perf_counter()
            results = _resynthesize(model, batch, mode, latents, seed)
            model_seconds += time.perf_counter() - began
            for row, pair in results:
                if pair is None:
                    note(row)
                else:
                    waiting[row.path] = row
                    yield pair

    for scored in score_pairs(pairs(), front_end.sample_rate, metrics, workers):
        row = waiting.pop(scored.name)
        score_seconds += scored.seconds
        note(dataclasses.replace(row, scores={**row.scores, **scored.scores}))
    files = [rows[utterance.name] for utterance in utterances]
    timing = {
        "wall_seconds": time.perf_counter() - start, "model_seconds": model_seconds, "score_seconds": score_seconds,
        "files": len(todo), "sound_seconds": sum(rows[utterance.name].seconds for utterance in todo),
    }  # fmt: skip
    scores = {name: summarize(row.scores[name] for row in files) for name in columns}
    evaluation = Evaluation(settings, files, scores, timing)
    if records is not None:
        records.finish(files, evaluation.to_dict())
    return evaluation


def _resynthesize(
    model: DVAE, utterances: Sequence[Utterance], mode: Mode, latents: LatentsAt, seed: int
) -> list[tuple[FileScores, Pair | None]]:
    """The terms of each file of a batch, and what is left to score; None for a file that cannot be measured."""
    front_end = speech_front_end(model)
    results: list[tuple[FileScores, Pair | None]] = []
    loaded: list[tuple[Utterance, torch.Tensor]] = []
    for utterance in utterances:
        try:
            loaded.append((utterance, load(utterance, front_end)))
        except AudioError as error:
            logger.warning("%s is not measured: %s", utterance.name, error)
            results.append((FileScores(utterance.name, utterance.speaker, 0.0, 0, {}, str(error)), None))
    if not loaded:
        return results
    resynthesized = analysis_resynthesis(
        model,
        [waveform for _, waveform in loaded],
        [utterance.name for utterance, _ in loaded],
        mode=mode,
        latents=latents,
        seed=seed,
    )
    for (utterance, waveform), result in zip(loaded, resynthesized, strict=True):
        terms = {name: Score.of(value) for name, value in result.terms.items()}
        seconds = len(waveform) / front_end.sample_rate
        row = FileScores(utterance.name, utterance.speaker, seconds, len(result.power), terms)
        results.append((row, Pair(utterance.name, waveform.numpy(), result.waveform.numpy())))
    return results


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


def _packages() -> dict[str, str | None]:
    """The versions that decide scores; None for a package that is not installed."""
    versions: dict[str, str | None] = {}
    for name in ("dynvae", "torch", "pesq", "pystoi"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions
