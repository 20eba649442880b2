"""The audio-visual benchmark: models of sound and lips, trained, used as priors in noise, and scored clip by clip."""

from __future__ import annotations

__all__ = ["AVMeasured", "run_audiovisual"]

import dataclasses
import functools
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynvae.audio import FRONT_ENDS, FrontEnd
from dynvae.benchmark.audiovisual_config import AV_ROWS, AVConfig, Video, run_name
from dynvae.benchmark.audiovisual_page import write_av_page
from dynvae.benchmark.audiovisual_table import Key, Values, findings_text, scores_csv, tables_text
from dynvae.benchmark.audiovisual_use import use_markdown, use_of_lips
from dynvae.condition import Condition
from dynvae.data import Corpus, Utterance
from dynvae.data.lips import condition_of, lips_path, read_lips_of
from dynvae.data.pairs import SpeechPair, mixed_pairs
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation import spread
from dynvae.files import atomic_write
from dynvae.metrics import score, score_packages
from dynvae.pretrained.names import locate
from dynvae.pretrained.storage import CONFIG
from dynvae.testtime import Enhancer
from dynvae.training import train
from dynvae.training.machine import flush_denormals
from dynvae.video import Lips, corrupted
from dynvae.work import Item, Stopped, run

logger = logging.getLogger(__name__)

TRAINED = "trained.json"
RATE = 16000


@dataclass(frozen=True)
class AVMeasured:
    """What a benchmark has come to: its tables and findings as text, the page, and the seconds it took."""

    tables: str
    findings: str
    page: Path
    seconds: float


@dataclass(frozen=True)
class Clip:
    """A clip in noise: the pair, the file of its lips and that of another clip's, and its place among the clips."""

    pair: SpeechPair
    lips: Path
    other: Path
    place: int


def run_audiovisual(
    config: AVConfig,
    say: Callable[[str], None] = logger.info,
    report: Callable[[str, int, int], None] | None = None,
) -> AVMeasured:
    """Train what is missing, enhance and score what is missing, and write tables, curves and a page.

    In ``config.out`` come ``tables.md``, ``findings.md``, ``scores.csv`` (a line for each clip, row, video and seed),
    ``index.html`` and ``plots/``; the trainings in ``runs/``, and what was scored in ``scores/``. What is complete is
    not done again.

    Args:
        config: the settings.
        say: takes lines that tell what is being done.
        report: called with a piece of the work, the clips that are through, and all.

    Raises:
        ConfigError: a setting is wrong, or the folder holds results of other settings.
        DataError: speech, lips or noise are missing.
        Stopped: a signal has come; the same call goes on.
    """
    start = time.monotonic()
    out = Path(config.out)
    clips = _clips(config)
    say(f"data: {len(clips) // len(config.snrs)} clips at {len(config.snrs)} ratios of {config.data}")
    _train(config, say)
    values: dict[Key, Values] = {("noisy", "none", 0): _scored(config, clips, "noisy", "none", 0, report)}
    for seed in config.seeds:
        for row in config.rows:
            for video in config.videos(row):
                begun = time.monotonic()
                values[row, video, seed] = _scored(config, clips, row, video, seed, report)
                say(f"{AV_ROWS[row].label}, video {video}, seed {seed}: {time.monotonic() - begun:.0f} s")
    uses = use_of_lips(config)
    tables, findings = tables_text(config, values), findings_text(config, values) + "\n" + use_markdown(uses)
    for name, text in (("tables.md", tables), ("findings.md", findings), ("scores.csv", scores_csv(config, values))):
        with atomic_write(out / name) as temp:
            temp.write_text(text, encoding="utf-8")
    seconds = time.monotonic() - start
    return AVMeasured(tables, findings, write_av_page(config, values, uses, seconds), seconds)


# ---- data ----------------------------------------------------------------------------------------------------------


def _clips(config: AVConfig) -> list[Clip]:
    """Every clip at every ratio, and the lips of the one half-way round: neighbours in a corpus say like things."""
    corpus = Corpus.open(config.data)
    test: Sequence[Utterance] = spread(corpus.split(config.split), config.limit)
    lips = [lips_path(utterance, corpus.root) for utterance in test]
    if len(test) < 2:
        raise DataError(f"{corpus.root}: two clips at least are needed, whose lips can be swapped")
    for utterance, path in zip(test, lips, strict=True):
        if path is None:
            raise DataError(f"{corpus.root}: {utterance.name} has no lips; dynvae check tells of all such files")
    pairs = mixed_pairs(Corpus(corpus.root, test), Corpus.open(config.noise), config.snrs)
    clips = []
    for number, pair in enumerate(pairs):
        place = number // len(config.snrs)
        mine, theirs = lips[place], lips[(place + len(lips) // 2) % len(lips)]
        assert mine is not None
        assert theirs is not None
        clips.append(Clip(pair, mine, theirs, place))
    return clips


def _seen(config: AVConfig, clip: Clip, video: Video) -> Lips:
    """The lips that a row is given with a clip; at every ratio and for every row the same."""
    if video == "swapped":
        return read_lips_of(clip.other)
    lips = read_lips_of(clip.lips)
    if video == "clean":
        return lips
    other = read_lips_of(clip.other) if config.corruption == "other" else None
    return corrupted(lips, config.corruption, share=config.share, seed=(0, clip.place), other=other)[0]


# ---- training ------------------------------------------------------------------------------------------------------


def _train(config: AVConfig, say: Callable[[str], None]) -> None:
    """Train each model once for each seed, one after the other."""
    for seed in config.seeds:
        for model in config.models:
            folder = Path(config.out) / "runs" / run_name(model, seed)
            settings = training_of(config, model, seed)
            told = json.loads(json.dumps(settings, default=dataclasses.asdict))
            done = folder / TRAINED
            if done.is_file():
                if json.loads(done.read_text(encoding="utf-8")) != told:
                    raise ConfigError(f"{folder} was trained with other settings; remove it, or choose another --out")
                continue
            begun = time.monotonic()
            resume = any((folder / "checkpoints").glob("*"))
            outcome = train(**settings, out=folder, resume=resume)
            if outcome.signum:
                raise Stopped(outcome.signum)
            with atomic_write(done) as temp:
                temp.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
            say(f"{model}, seed {seed}: trained in {time.monotonic() - begun:.0f} s, best at epoch "
                f"{outcome.best['epoch']:g}, validation ELBO {outcome.best['elbo']:.1f} nats/frame")  # fmt: skip


def training_of(config: AVConfig, model: str, seed: int) -> dict[str, Any]:
    """All that decides what a model learns, as arguments of `dynvae.training.train`."""
    name = model.removesuffix("-0")
    sees = name not in ("vae", "dkf")
    differs = config.models[model] if sees else {"alpha": 0.0}
    return {
        "name": name,
        "data": config.data,
        "front_end": config.front_end,
        "model": {**config.model, **(config.view if sees else {})},
        "train": dataclasses.replace(config.train, seed=seed, **differs),
        "lips": config.lips if sees else None,
    }


# ---- enhancement ---------------------------------------------------------------------------------------------------


def _scored(
    config: AVConfig,
    clips: Sequence[Clip],
    row: str,
    video: Video,
    seed: int,
    report: Callable[[str, int, int], None] | None,
) -> Values:
    """The scores of every clip at every ratio, by the name of the pair."""
    label = "noisy" if row == "noisy" else f"{row}-{video}-seed{seed}"
    folder = Path(config.out) / "scores" / label
    settings: dict[str, Any] = {
        "data": str(Path(config.data).resolve()), "noise": str(Path(config.noise).resolve()),
        "metrics": list(config.metrics), "packages": score_packages(),
    }  # fmt: skip
    if row != "noisy":
        settings |= {
            "method": repr(config.method), "weights": _weights(config, row, seed), "corruption": config.corruption,
            "share": config.share, "offset": config.lips.offset, "interpolation": config.lips.interpolation,
        }  # fmt: skip
    items = [Item(clip.pair.name, clip) for clip in clips]
    done = run(
        items, functools.partial(_ready, config, row, video, seed), folder, settings=settings, workers=config.workers,
        batches=functools.partial(_together, size=1 if row == "noisy" else config.together),
        overwrite=config.overwrite, report=None if report is None else functools.partial(report, label),
    )  # fmt: skip
    for problem in done.failed.values():
        logger.warning("%s: %s", label, problem)
    return done.values


def _weights(config: AVConfig, row: str, seed: int) -> list[str]:
    """What identifies the models of a row."""
    runs = (Path(config.out) / "runs" / run_name(name, seed) for name in AV_ROWS[row].models)
    return [json.loads((locate(str(path)) / CONFIG).read_text(encoding="utf-8")).get("sha256") for path in runs]


def _together(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Batches of clips at one ratio."""
    by_ratio: dict[float, list[Item]] = {}
    for item in items:
        by_ratio.setdefault(item.payload.pair.snr, []).append(item)
    for same in by_ratio.values():
        for first in range(0, len(same), size):
            yield same[first : first + size]


def _ready(config: AVConfig, row: str, video: Video, seed: int) -> Callable[[Sequence[Item]], Iterator[dict[str, Any]]]:
    """A worker: it enhances clips by one method, all of a batch at once, and scores each."""
    torch.set_num_threads(1)
    flush_denormals()
    front_end = FRONT_ENDS[config.front_end]
    enhancer, sees = None, 0
    if row != "noisy":
        models = config.loaded(row, seed)
        sees = max(model.condition_dim for model in models)
        enhancer = Enhancer(AV_ROWS[row].prior(models, config.method), config.method, front_end=front_end)

    def work(items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        clips: list[Clip] = [item.payload for item in items]
        loaded = [clip.pair.load(RATE) for clip in clips]
        for same in _of_one_length([noisy for _, noisy in loaded]):
            noisy = np.stack([loaded[index][1] for index in same])
            if enhancer is None:
                estimates = noisy
            else:
                views = [_seen(config, clips[index], video) for index in same] if sees else []
                condition = _conditions(config, views, noisy.shape[1], front_end, sees) if sees else None
                estimates = enhancer(noisy, RATE, seed=seed, condition=condition).waveform
            for index, estimate in zip(same, estimates, strict=True):
                yield _judged(config, loaded[index][0], noisy[same.index(index)], estimate)

    return work


def _of_one_length(sounds: Sequence[NDArray[np.float32]]) -> Iterator[list[int]]:
    """Neighbours of equal length, which the engine takes as the channels of one recording, in their order."""
    same: list[int] = []
    for index, sound in enumerate(sounds):
        if same and len(sound) != len(sounds[same[0]]):
            yield same
            same = []
        same.append(index)
    if same:
        yield same


def _conditions(config: AVConfig, views: Sequence[Lips], samples: int, front_end: FrontEnd, size: int) -> Condition:
    frames = front_end.frames(round(samples * front_end.sample_rate / RATE))
    seen = [condition_of(lips, frames, front_end, size, config.lips) for lips in views]
    return Condition(*(torch.cat(parts) for parts in zip(*seen, strict=True)))


def _judged(
    config: AVConfig, clean: NDArray[np.float32], noisy: NDArray[np.float32], estimate: NDArray[np.float32]
) -> dict[str, Any]:
    found = score(clean, estimate, RATE, list(config.metrics))
    kept = float(np.square(estimate, dtype=np.float64).sum() / max(np.square(noisy, dtype=np.float64).sum(), 1e-30))
    return {
        "energy": kept,
        "scores": {name: each.value for name, each in found.items() if not each.failed},
        "reasons": {name: each.reason for name, each in found.items() if each.failed},
    }
