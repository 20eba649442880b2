"""The benchmark of speech enhancement: methods on pairs of clean and noisy speech, scored file by file."""

from __future__ import annotations

__all__ = ["Measured", "run_enhancement"]

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynvae.audio import write_audio
from dynvae.benchmark.enhancement_config import RATE, EnhancementConfig, sound_file
from dynvae.benchmark.enhancement_methods import Method
from dynvae.benchmark.enhancement_page import write_page
from dynvae.benchmark.enhancement_table import Row, files_csv, to_csv, to_markdown
from dynvae.data import Corpus
from dynvae.data.pairs import Pairs, SpeechPair, mixed_pairs, open_pairs
from dynvae.evaluation import spread
from dynvae.files import atomic_write
from dynvae.metrics import Score, ScoreError, score, score_packages, summarize
from dynvae.metrics.dnsmos import dnsmos, missing_dnsmos
from dynvae.training.machine import flush_denormals
from dynvae.work import Item, run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """What a benchmark has come to: the rows of its table, notes for the reader, the page, and what it took."""

    rows: Sequence[Row]
    notes: Sequence[str]
    page: Path
    seconds: float


def run_enhancement(
    config: EnhancementConfig,
    say: Callable[[str], None] = logger.info,
    report: Callable[[str, int, int], None] | None = None,
) -> Measured:
    """Enhance what is missing, score it, and write ``table.md``, ``table.csv``, ``files.csv`` and ``index.html``.

    The work is kept in ``methods/`` of the folder, a line a file: what is there is not done again. A file that cannot
    be enhanced or scored is counted with its reason, and averaged nowhere.

    Args:
        config: the settings.
        say: takes lines that tell what is being done.
        report: called with a method's label, the files that are through, and all.

    Raises:
        ConfigError: a setting is wrong, or the folder holds results of other settings.
        DataError: there are no pairs.
        Stopped: a signal has come; the same call goes on.
    """
    start = time.monotonic()
    out, notes = Path(config.out), []
    metrics = list(config.metrics)
    if "dnsmos" in metrics and (reason := missing_dnsmos()):
        metrics.remove("dnsmos")
        notes.append(f"DNSMOS is left out: {reason}.")
    pairs = _pairs(config)
    shown = {pair.name for pair in spread(pairs, config.examples)}
    say(f"data: {config.data}, {len(pairs)} pairs of the split '{config.split}'")
    values: dict[str, Mapping[str, Any]] = {}
    failed: dict[str, Mapping[str, str]] = {}
    for method in config.methods:
        folder = out / "methods" / method.folder
        method.prepare(folder)
        items = [Item(pair.name, pair, (sound_file(pair),) if pair.name in shown else ()) for pair in pairs]
        settings = {
            "method": method.identity(), "data": str(Path(config.data).resolve()), "noise": config.noise,
            "snrs": list(config.snrs) if config.noise else None, "metrics": metrics, "seed": config.seed,
            "packages": score_packages(),
        }  # fmt: skip
        make = functools.partial(_ready, method, folder, tuple(metrics), config.seed)
        tell = None if report is None else functools.partial(report, method.label)
        done = run(items, make, folder, settings=settings, engine=config.engine, workers=config.workers,
                   overwrite=config.overwrite, report=tell)  # fmt: skip
        values[method.label], failed[method.label] = done.values, done.failed
        for line in done.lines("files"):
            say(f"{method.label}: {line}")
    rows = _rows(config, metrics, [pair.name for pair in pairs], values, failed)
    for name, text in (("table.md", to_markdown(rows)), ("table.csv", to_csv(rows)), ("files.csv", files_csv(values))):
        with atomic_write(out / name) as temp:
            temp.write_text(text, encoding="utf-8")
    seconds = time.monotonic() - start
    page = write_page(config, rows, notes, [pair for pair in pairs if pair.name in shown], seconds)
    return Measured(rows, notes, page, seconds)


# ---- the work on one file ------------------------------------------------------------------------------------------


def _ready(method: Method, folder: Path, metrics: tuple[str, ...], seed: int) -> Callable[[Sequence[Item]], Any]:
    """A worker: it enhances pairs by one method and scores them."""
    torch.set_num_threads(1)
    flush_denormals()
    enhance = method.make(folder)

    def one(item: Item) -> dict[str, Any]:
        pair: SpeechPair = item.payload
        clean, noisy = pair.load(RATE)
        wall, cpu = time.perf_counter(), time.process_time()
        estimate = enhance(noisy, RATE, seed=seed, name=pair.name)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        seconds = len(noisy) / RATE
        scores = score(clean, estimate, RATE, [name for name in metrics if name != "dnsmos"])
        if "dnsmos" in metrics:
            try:
                scores["dnsmos"] = Score.of(dnsmos(estimate, RATE))
            except ScoreError as error:
                scores["dnsmos"] = Score.failure(str(error))
        for path in item.outputs:
            write_audio(folder / path, estimate / max(1.0, float(np.abs(estimate).max(initial=0))), RATE)
        energy = float(
            np.square(estimate, dtype=np.float64).sum() / max(np.square(noisy, dtype=np.float64).sum(), 1e-30)
        )
        return {
            "seconds": seconds,
            "rtf": wall / seconds,
            "cpu": cpu / seconds,
            "energy": energy,
            "scores": {name: found.value for name, found in scores.items() if not found.failed},
            "reasons": {name: found.reason for name, found in scores.items() if found.failed},
        }

    return lambda items: (one(item) for item in items)


# ---- from files to rows --------------------------------------------------------------------------------------------


def _rows(
    config: EnhancementConfig,
    metrics: Sequence[str],
    names: Sequence[str],
    values: Mapping[str, Mapping[str, Any]],
    failed: Mapping[str, Mapping[str, str]],
) -> list[Row]:
    reference = next((m for m in config.methods if config.against in (m.label, m.kind)), None)
    rows = []
    for method in config.methods:
        found = values[method.label]
        scores = {name: [_score(name, key, found, failed[method.label]) for key in names] for name in metrics}
        differences = {}
        if reference is not None and reference is not method:
            other = values[reference.label]
            for name in metrics:
                both = [_score(name, key, other, failed[reference.label]) for key in names]
                differences[name] = summarize(
                    mine if mine.failed else theirs if theirs.failed else Score(mine.value - theirs.value)
                    for mine, theirs in zip(scores[name], both, strict=True)
                )
        times = method.kind not in ("noisy", "files")
        rows.append(
            Row(
                label=method.label,
                supervision=method.supervision,
                trained_on=method.trained_on,
                matched=method.trained_on == config.corpus if method.trained_on and config.corpus else None,
                scores={name: summarize(each) for name, each in scores.items()},
                differences=differences,
                rtf=float(np.median([each["rtf"] for each in found.values()])) if times and found else None,
                cpu=float(np.median([each["cpu"] for each in found.values()])) if times and found else None,
                collapsed=sum(each["energy"] < 1e-3 for each in found.values()),
                files=len(names),
                failed=dict(failed[method.label]),
            )
        )
    return rows


def _score(name: str, key: str, values: Mapping[str, Any], failed: Mapping[str, str]) -> Score:
    if key not in values:
        return Score.failure(failed.get(key, "the file was not done"))
    found = values[key]
    return Score(found["scores"][name]) if name in found["scores"] else Score.failure(found["reasons"][name])


# ---- pairs ---------------------------------------------------------------------------------------------------------


def _pairs(config: EnhancementConfig) -> list[SpeechPair]:
    if config.noise is None:
        pairs: Pairs = open_pairs(config.data).split(config.split)
    else:
        speech = Corpus.open(config.data).split(config.split)
        pairs = mixed_pairs(speech, Corpus.open(config.noise), config.snrs, config.seed)
    return spread(pairs, config.limit)
