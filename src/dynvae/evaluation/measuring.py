"""Batches of files measured, in this process or a worker's."""

from __future__ import annotations

__all__ = ["Measured", "measuring"]

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from dynvae.data import Utterance
from dynvae.errors import AudioError
from dynvae.evaluation.analysis import LatentsAt, Mode, Resynthesis, analysis_resynthesis, speech_front_end
from dynvae.evaluation.loading import load
from dynvae.evaluation.records import FileScores
from dynvae.metrics import Score, score
from dynvae.models import DVAE
from dynvae.work import Item, Work


class Measured(NamedTuple):
    """The results of a file, and the seconds that the model (for its whole batch) and the scores took."""

    row: FileScores
    model_seconds: float
    score_seconds: float


def measuring(model: DVAE, mode: Mode, latents: LatentsAt, seed: int, metrics: Sequence[str]) -> Work:
    """What measures items whose payloads are utterances, and gives the `Measured` of each."""
    return partial(_measure, model, mode, latents, seed, metrics)


def _measure(
    model: DVAE, mode: Mode, latents: LatentsAt, seed: int, metrics: Sequence[str], items: Sequence[Item]
) -> Iterator[Measured]:
    start = time.perf_counter()
    front_end = speech_front_end(model)
    loaded: dict[str, torch.Tensor] = {}
    problems: dict[str, str] = {}
    for item in items:
        try:
            loaded[item.key] = load(item.payload, front_end)
        except AudioError as error:
            problems[item.key] = str(error)
    passed: dict[str, Resynthesis] = {}
    if loaded:
        results = analysis_resynthesis(
            model, list(loaded.values()), list(loaded), mode=mode, latents=latents, seed=seed
        )  # fmt: skip
        passed = dict(zip(loaded, results, strict=True))
    model_seconds = time.perf_counter() - start
    for item in items:
        utterance: Utterance = item.payload
        if item.key in problems:
            row = FileScores(item.key, utterance.speaker, 0.0, 0, {}, problems[item.key])
            yield Measured(row, model_seconds, 0.0)
        else:
            start = time.perf_counter()
            waveform, result = loaded[item.key].numpy(), passed[item.key]
            scores = score(waveform, result.waveform.numpy(), front_end.sample_rate, metrics)
            terms = {name: Score.of(value) for name, value in result.terms.items()}
            seconds = len(waveform) / front_end.sample_rate
            row = FileScores(item.key, utterance.speaker, seconds, len(result.power), {**terms, **scores})
            yield Measured(row, model_seconds, time.perf_counter() - start)
        model_seconds = 0.0
