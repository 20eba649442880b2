"""Training on a corpus of speech: from a model's name and a folder to a run."""

from __future__ import annotations

__all__ = ["start_from", "train"]

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch

from dynvae.audio import FRONT_ENDS
from dynvae.data import Corpus, Crops, Utterances, collate
from dynvae.data.lips import LipBank, LipSettings, Seen
from dynvae.data.store import store_folder
from dynvae.errors import ConfigError
from dynvae.models import DVAE, build
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.loaders import Sound, TrainingData
from dynvae.training.machine import Machine, is_main, own_randomness
from dynvae.training.run import Outcome, fit


def train(
    name: str,
    *,
    data: str | os.PathLike[str] | Corpus,
    out: str | os.PathLike[str],
    model: dict[str, Any] | None = None,
    front_end: str = "64ms",
    init: str | None = None,
    on_bad: Literal["error", "skip"] = "error",
    cache: Literal["exact", "int16", "none"] = "exact",
    lips: LipSettings | None = None,
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a model of the zoo on a corpus of speech.

    Args:
        name: a model or preset of :data:`dynvae.models.PRESETS`.
        data: a folder of audio, a manifest, or ``"builtin"``; it needs the splits train and valid.
        out: the folder of the run.
        model: arguments of the model, but for ``x_dim``, which the front end decides.
        front_end: ``"64ms"`` (1024 samples, 25 % hop) or ``"32ms"`` (512 samples, 50 % hop), at 16 kHz.
        init: a trained model (bundled name, folder or hub id) to start from the weights of; it must have the same
            sizes. E.g. a teacher-forced SRNN for scheduled sampling.
        on_bad: what to do at a file that cannot be read: stop, or go on without it and tell of it. Silent files are
            left out in either case.
        cache: how the prepared sound is kept in the cache folder, for this run and all others: exact takes two bytes a
            sample for 16-bit files at 16 kHz, four for others; int16 takes two for all, which adds noise 98 dB below
            a sine of the peak's level to those others. With none, every process has it in its memory, exact.
        lips: for models that see a condition: how the lips of the corpus (`dynvae.data.lips.lips_path`) come to the
            frames of the sound.
        train: how to train.
        machine: where to train.
        resume: go on from the newest whole checkpoint in ``out``, if there is one.
        progress: show a bar on the terminal.

    Returns:
        The best validation and where the weights are.

    Raises:
        ConfigError: a setting or name is wrong, or ``out`` is in use or holds another run.
        AudioError: a file cannot be read, and ``on_bad`` is ``"error"``.
        DataError: the corpus cannot be used, or has no such split.
    """
    config = train or TrainConfig()
    if front_end not in FRONT_ENDS:
        raise ConfigError(f"there is no front end '{front_end}'; there are {', '.join(FRONT_ENDS)}")
    settings = FRONT_ENDS[front_end]
    with own_randomness():
        torch.manual_seed(config.seed)
        network = build(name, x_dim=settings.bins, **(model or {}))
    network.front_end = settings
    if init is not None and not (resume and RunFolder(out).checkpoints.paths()):
        start_from(network, init)
    corpus = Corpus.open(data)
    kept: dict[str, Any] = {"on_bad": on_bad, "cache": store_folder(), "samples": cache}
    if cache == "none":
        kept |= {"cache": None, "samples": "exact"}
    with _bar(progress and is_main()) as tell:
        crops = Crops(corpus.split("train"), settings, config.frames, seed=config.seed, progress=tell, **kept)
        whole = Utterances(corpus.split("valid"), settings, keep_silence=False, progress=tell, **kept)
    size, lips = network.condition_dim, lips or LipSettings()

    def seen(data: Crops | Utterances) -> Any:
        if not size:
            return Sound(data)
        return Seen(data, LipBank(data.bank.utterances, corpus.root, size), size, lips)

    material = TrainingData(seen(crops), seen(whole), whole.lengths, collate)
    facts = {
        "name": name,
        "data": str(data.root if isinstance(data, Corpus) else data),
        "front_end": front_end,
        "init": init,
        "on_bad": on_bad,
        "cache": cache,
        "model": {key: value for key, value in network.config.items() if key != "x_dim"},
    }
    if size:
        facts["lips"] = dataclasses.asdict(lips)
    return fit(network, material, out, config, machine, resume=resume, progress=progress, settings=facts)


@contextlib.contextmanager
def _bar(shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar for the preparation of the sound, which goes when it is done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not shown) as progress:
        task = progress.add_task("prepare", visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


def start_from(model: DVAE, init: str) -> None:
    """Take over the weights of a trained model; for one that sees a condition also those of one that sees none.

    Of the latter, networks of the same name and sizes are taken, and where they also see the condition here, the
    weights from all else: an AV-CVAE then begins as the VAE, disturbed by an untrained view of the lips.

    Raises:
        ConfigError: it is another model, or has other sizes.
    """
    from dynvae.pretrained import load

    source = load(init)
    if model.condition_dim and not source.condition_dim:
        _take_over(model, source, init)
        return
    if type(source) is not type(model):
        raise ConfigError(f"{init} is a {type(source).__name__}, not a {type(model).__name__}; it cannot be the start")
    mine, theirs = model.state_dict(), source.state_dict()
    other = next((key for key in mine if key not in theirs or mine[key].shape != theirs[key].shape), None)
    if other is not None or len(mine) != len(theirs):
        raise ConfigError(f"{init} has other sizes (at {other}); give the same --model.* settings as it was made with")
    model.load_state_dict(theirs)


@torch.no_grad()
def _take_over(model: DVAE, source: DVAE, init: str) -> None:
    """Copy what has the same name: whole tensors, or the first columns, which see what they see there.

    Raises:
        ConfigError: less than half of the source has a place here.
    """
    theirs, taken = source.state_dict(), 0
    for name, mine in model.state_dict().items():
        other = theirs.get(name)
        if other is None or other.shape[:1] != mine.shape[:1] or other.dim() != mine.dim():
            continue
        if mine.shape == other.shape:
            mine.copy_(other)
        elif mine.dim() == 2 and other.shape[1] < mine.shape[1]:
            mine[:, : other.shape[1]] = other
        else:
            continue
        taken += 1
    if 2 * taken < len(theirs):
        raise ConfigError(f"{init} is a {type(source).__name__} that has little in common with this "
                          f"{type(model).__name__}; give the same --model.* sizes as it was made with")  # fmt: skip
