"""The benchmark of separation: methods on mixtures whose sources are known, scored source by source."""

from __future__ import annotations

__all__ = ["SEPARATION_METHODS", "SeparationConfig", "SeparationMeasured", "run_separation"]

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd, write_audio
from dynvae.audio.stft import power_of
from dynvae.baselines import learn_dictionary, learn_patterns, oracle_shares, pattern_shares
from dynvae.benchmark.enhancement_table import Row, to_csv, to_markdown
from dynvae.data import Corpus
from dynvae.data.flute import flute
from dynvae.data.mixtures import FLUTE, KnownMixture, plan_mixtures
from dynvae.errors import ConfigError
from dynvae.evaluation.run import fingerprint
from dynvae.files import atomic_write
from dynvae.metrics import METRICS, Score, score_packages, summarize
from dynvae.mixtures import first_guess, legacy
from dynvae.pretrained import load
from dynvae.separation.scores import source_scores
from dynvae.separation.separator import DEFAULT_ITERATIONS, Separator
from dynvae.training.machine import flush_denormals
from dynvae.work import Engine, Item, run

logger = logging.getLogger(__name__)

RATE = 16000
SEPARATION_METHODS: Mapping[str, tuple[str, str]] = {
    "mixture": ("Mixture", ""),
    "nmf": ("NMF", "each source"),
    "init": ("DVAEs, first guess", "each source"),
    "dvae": ("Mixture of DVAEs", "each source"),
    "published": ("Mixture of DVAEs, published settings", "each source"),
    "binary": ("Ideal binary mask", "the truth"),
    "ratio": ("Ideal ratio mask", "the truth"),
}
"""What each method is called, and what it has to know."""
_PATTERNS = 32
_PUBLISHED: Mapping[str, Any] = {"floor": 1e-10, "estimate": "mean", **legacy.SEPARATION}

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class SeparationConfig:
    """What to compare, and on what.

    Attributes:
        sources: corpora, or ``"flute"``: what the mixtures are made of.
        models: one for each source; the same one twice for sources of a kind.
        out: the folder of the results.
        names: of the sources.
        methods: the rows, of :data:`SEPARATION_METHODS`.
        count: number of mixtures.
        seconds: their length.
        ratio: level of the first source over each of the others, in dB.
        iterations: of the mixture of DVAEs.
        split: of the corpora.
        metrics: scores, out of `dynvae.metrics.METRICS`.
        examples: mixtures whose sounds are kept.
        seed: of all random numbers.
        engine: whose workers.
        workers: at a time; 0 does all in this process, which is best for real-time factors.
        overwrite: replace what other settings have left in ``out``.
    """

    sources: tuple[str, ...]
    models: tuple[str, ...]
    out: str
    names: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("mixture", "nmf", "init", "dvae", "binary", "ratio")
    count: int = 50
    seconds: float = 2.0
    ratio: float = 0.0
    iterations: int = DEFAULT_ITERATIONS
    split: str = "test"
    metrics: tuple[str, ...] = ("rmse", "si_sdr", "sdr", "pesq_wb", "estoi")
    examples: int = 2
    seed: int = 0
    engine: Engine = "processes"
    workers: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        if len(self.sources) < 2 or len(self.models) != len(self.sources):
            raise ConfigError(f"a mixture has two sources or more, and each a model; not {len(self.sources)} and "
                              f"{len(self.models)}")  # fmt: skip
        if self.names and len(set(self.names)) != len(self.sources):
            raise ConfigError(f"each of the {len(self.sources)} sources has a name of its own, not {self.names}")
        for what, given, known in (("method", self.methods, SEPARATION_METHODS), ("metric", self.metrics, METRICS)):
            for name in given:
                if name not in known:
                    raise ConfigError(f"there is no {what} '{name}'; there are {', '.join(known)}")
        if self.count < 1 or self.seconds <= 0 or self.examples < 0:
            raise ConfigError("there is at least one mixture, of some length, and no negative number of examples")

    @property
    def labels(self) -> list[str]:
        """What the sources are called."""
        if self.names:
            return list(self.names)
        plain = [Path(source).name for source in self.sources]
        return [
            name if plain.count(name) == 1 else f"{name} {plain[: index + 1].count(name)}"
            for index, name in enumerate(plain)
        ]


@dataclass(frozen=True)
class SeparationMeasured:
    """What a benchmark has come to: the rows of each source's table, as text too, and what it took."""

    rows: Mapping[str, Sequence[Row]]
    text: str
    seconds: float


def run_separation(
    config: SeparationConfig,
    say: Callable[[str], None] = logger.info,
    report: Callable[[str, int, int], None] | None = None,
) -> SeparationMeasured:
    """Separate what is missing, score it, and write ``table.md``, and a CSV file for each source.

    The work is kept in ``methods/`` of the folder, a line a mixture: what is there is not done again.

    Args:
        config: the settings.
        say: takes lines that tell what is being done.
        report: called with a method's label, the mixtures that are through, and all.

    Raises:
        ConfigError: a setting is wrong, or the folder holds results of other settings.
        DataError: there are not enough recordings.
        Stopped: a signal has come; the same call goes on.
    """
    start, out = time.monotonic(), Path(config.out)
    mixtures = plan_mixtures(config.sources, config.count, config.seconds, ratio=config.ratio, split=config.split,
                             seed=config.seed)  # fmt: skip
    say(f"data: {config.count} mixtures of {config.seconds:g} s: {' + '.join(config.labels)}")
    weights = [fingerprint(load(model)) for model in config.models]
    values: dict[str, Mapping[str, Any]] = {}
    failed: dict[str, Mapping[str, str]] = {}
    for method in config.methods:
        label, folder = SEPARATION_METHODS[method][0], out / "methods" / method
        if method == "nmf" and not (folder / "patterns.safetensors").is_file():
            _learn(config, folder)
        sounds = [f"sound/{name}.wav" for name in config.labels]
        items = [
            Item(one.name, one, tuple(f"{one.name}/{sound}" for sound in sounds) if index < config.examples else ())
            for index, one in enumerate(mixtures)
        ]
        settings = {
            "method": method, "models": weights if method not in ("mixture", "nmf", "binary", "ratio") else [],
            "sources": [os.fspath(source) for source in config.sources], "seconds": config.seconds,
            "ratio": config.ratio, "iterations": config.iterations if method == "dvae" else None,
            "split": config.split, "metrics": list(config.metrics), "seed": config.seed, "packages": score_packages(),
        }  # fmt: skip
        make = functools.partial(_ready, config, method, folder)
        tell = None if report is None else functools.partial(report, label)
        done = run(items, make, folder, settings=settings, engine=config.engine, workers=config.workers,
                   overwrite=config.overwrite, report=tell)  # fmt: skip
        values[method], failed[method] = done.values, done.failed
        for line in done.lines("mixtures"):
            say(f"{label}: {line}")
    names = [one.name for one in mixtures]
    rows = {
        source: [_row(config, method, index, names, values[method], failed[method]) for method in config.methods]
        for index, source in enumerate(config.labels)
    }
    text = "\n".join(f"{source}:\n\n{to_markdown(each)}" for source, each in rows.items())
    files = {"table.md": text} | {f"{source}.csv": to_csv(each) for source, each in rows.items()}
    for name, content in files.items():
        with atomic_write(out / name) as temp:
            temp.write_text(content, encoding="utf-8")
    return SeparationMeasured(rows, text, time.monotonic() - start)


def _learn(config: SeparationConfig, folder: Path) -> None:
    """Patterns of each source from its training split; of the flute from melodies that no mixture has."""
    found = {}
    for index, source in enumerate(config.sources):
        if source == FLUTE:
            power = torch.cat([
                FrontEnd().power(torch.from_numpy(flute(10, RATE, seed=(1 << 32) + config.seed + i))) for i in range(20)
            ])  # fmt: skip
            patterns = learn_patterns(power, _PATTERNS, seed=config.seed)
        else:
            patterns = learn_dictionary(Corpus.open(source), _PATTERNS, seed=config.seed).patterns
        found[str(index)] = patterns.contiguous()
    with atomic_write(folder / "patterns.safetensors") as temp:
        temp.write_bytes(safetensors.torch.save(found))


def _ready(config: SeparationConfig, method: str, folder: Path) -> Callable[[Sequence[Item]], Any]:
    """A worker: it separates mixtures by one method and scores the sources."""
    torch.set_num_threads(1)
    flush_denormals()
    separate = _method(config, method, folder)
    twins = [[i for i, other in enumerate(config.models) if other == model] for model in config.models]

    def one(item: Item) -> dict[str, Any]:
        known: KnownMixture = item.payload
        mixture, sources = known.load(RATE)
        wall, cpu = time.perf_counter(), time.process_time()
        estimates = separate(mixture, sources)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        free = twins if method in ("nmf", "init", "dvae", "published") else [[i] for i in range(len(sources))]
        found = source_scores([*sources], [*estimates], free, RATE, config.metrics)
        for path, estimate in zip(item.outputs, estimates, strict=False):
            write_audio(folder / path, estimate, RATE)
        return {
            "seconds": known.seconds, "rtf": wall / known.seconds, "cpu": cpu / known.seconds,
            "scores": [{name: s.value for name, s in each.items() if not s.failed} for each in found],
            "reasons": [{name: s.reason for name, s in each.items() if s.failed} for each in found],
        }  # fmt: skip

    return lambda items: (one(item) for item in items)


def _method(config: SeparationConfig, method: str, folder: Path) -> Callable[[Sound, Sound], Sound]:
    """From a mixture, and its sources for those methods that know the truth, to estimates of the sources."""
    front_end = FrontEnd()

    def masked(shares: Callable[[Tensor, Sound], Tensor]) -> Callable[[Sound, Sound], Sound]:
        def apply(mixture: Sound, sources: Sound) -> Sound:
            spectrum = front_end.stft(torch.from_numpy(mixture))
            estimate = front_end.istft(spectrum * shares(power_of(spectrum), sources), len(mixture))
            return np.asarray(estimate.numpy())

        return apply

    if method == "mixture":
        return lambda mixture, sources: np.stack([mixture] * len(sources))
    if method in ("binary", "ratio"):
        kind: Any = method
        return masked(lambda _, sources: oracle_shares(front_end.power(torch.from_numpy(sources)), kind))
    if method == "nmf":
        tensors = safetensors.torch.load((folder / "patterns.safetensors").read_bytes())
        patterns = [tensors[str(index)] for index in range(len(config.sources))]
        return masked(lambda power, _: pattern_shares(power, patterns, seed=config.seed))
    separator = Separator(config.models, **(_PUBLISHED if method == "published" else {"iterations": config.iterations}))
    if method == "init":
        own = separator.front_end

        def first(mixture: Sound, sources: Sound) -> Sound:
            spectrum = own.stft(torch.from_numpy(mixture))
            guess = first_guess(separator.mixture, spectrum.unsqueeze(0), config.seed).mean[0]
            return np.asarray(own.istft(guess, len(mixture)).numpy())

        return first

    def engine(mixture: Sound, sources: Sound) -> Sound:
        return np.asarray(separator.separate(torch.from_numpy(mixture)[None], seed=config.seed)[0][0].numpy())

    return engine


def _row(
    config: SeparationConfig,
    method: str,
    source: int,
    names: Sequence[str],
    values: Mapping[str, Any],
    failed: Mapping[str, str],
) -> Row:
    def score_of(metric: str, name: str) -> Score:
        if name not in values:
            return Score.failure(failed.get(name, "the mixture was not done"))
        scores = values[name]["scores"][source]
        return Score(scores[metric]) if metric in scores else Score.failure(values[name]["reasons"][source][metric])

    label, supervision = SEPARATION_METHODS[method]
    timed = method != "mixture" and values
    return Row(
        label=label,
        supervision=supervision,
        scores={metric: summarize(score_of(metric, name) for name in names) for metric in config.metrics},
        rtf=float(np.median([each["rtf"] for each in values.values()])) if timed else None,
        cpu=float(np.median([each["cpu"] for each in values.values()])) if timed else None,
        files=len(names),
        failed=dict(failed),
    )
