"""Training on sound and lips together, or on made-up pairs: from a model's name and a corpus to a run."""

from __future__ import annotations

__all__ = ["train_multimodal"]

import os
from typing import Any

import torch
from torch import Tensor

from dynvae.audio import read_audio
from dynvae.data import Corpus, collate
from dynvae.data.lips import lips_path, read_lips_of
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.data.two_modalities import SIZES, TWO_MODALITIES, draw_pairs
from dynvae.errors import DataError
from dynvae.models import build
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.loaders import TrainingData
from dynvae.training.machine import Machine, own_randomness
from dynvae.training.run import Outcome, fit
from dynvae.training.speech import start_from
from dynvae.video.talking import TalkingView

LENGTH = 30
"""Frames of a made-up pair."""
TALKING: dict[str, Any] = {
    "likelihood": ["complex_gaussian", "fixed_gaussian"],
    "observation_std": [1.0, 0.3],
    "input_transform": ["log", "raw"],
}
"""Of a model of sound and lips, unless told otherwise."""
MADE_UP: dict[str, Any] = {"likelihood": "fixed_gaussian", "observation_std": 0.15}


def train_multimodal(
    name: str,
    *,
    data: str | os.PathLike[str] | Corpus,
    out: str | os.PathLike[str],
    view: TalkingView | None = None,
    count: int = 1500,
    model: dict[str, Any] | None = None,
    init: str | None = None,
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a multimodal model of the zoo.

    Args:
        name: a model or preset of :data:`dynvae.models.PRESETS` that is multimodal.
        data: a corpus of speech with lips (`dynvae.data.lips.lips_path`), which needs the splits train and valid; files
            without lips have a missing modality. Or ``"two-modalities"``: `dynvae.data.two_modalities.draw_pairs`.
        out: the folder of the run.
        view: what a frame of sound and lips is; the model carries it as its ``front_end``.
        count: how many made-up pairs; a tenth as many others for the validation.
        model: arguments of the model, but for ``x_dim``.
        init: a trained model (folder or hub id) to start from the weights of; it must have the same sizes.
        train: how to train; its seed decides made-up pairs, too.
        machine: where to train.
        resume: go on from the newest whole checkpoint in ``out``, if there is one.
        progress: show a bar on the terminal.

    Returns:
        The best validation and where the weights are.

    Raises:
        ConfigError: a setting or name is wrong, or ``out`` is in use or holds another run.
        DataError: the corpus cannot be used, or has no such split.
    """
    config, view = train or TrainConfig(), view or TalkingView()
    made_up = not isinstance(data, Corpus) and os.fspath(data) == TWO_MODALITIES
    arguments = {**(MADE_UP if made_up else TALKING), **(model or {})}
    frames: dict[str, list[Tensor]] = {}
    names: dict[str, list[str]] = {}
    if made_up:
        for split, number, seed in (("train", count, 2 * config.seed), ("valid", -(-count // 10), 2 * config.seed + 1)):
            frames[split] = list(draw_pairs(number, LENGTH, seed=seed).x)
            names[split] = [str(index) for index in range(number)]
    else:
        corpus = Corpus.open(data)
        for split in ("train", "valid"):
            part = corpus.split(split)
            frames[split] = [talking_frames(view, item, corpus) for item in part]
            names[split] = [item.name for item in part]
    with own_randomness():
        torch.manual_seed(config.seed)
        network = build(name, x_dim=tuple(SIZES.values()) if made_up else view.sizes, **arguments)
    if not made_up:
        network.front_end = view
    if init is not None and not (resume and RunFolder(out).checkpoints.paths()):
        start_from(network, init)
    crops = SequenceCrops(frames["train"], names["train"], config.frames, seed=config.seed)
    whole = Sequences(frames["valid"], names["valid"])
    material = TrainingData(crops, whole, whole.lengths, collate)
    facts = {
        "name": name,
        "data": str(data.root if isinstance(data, Corpus) else data),
        "task": "multimodal",
        "init": init,
        "count": count,
        "side": view.side,
        "rate": view.rate,
        "model": {key: value for key, value in network.config.items() if key != "x_dim"},
    }
    return fit(network, material, out, config, machine, resume=resume, progress=progress, settings=facts)


def talking_frames(view: TalkingView, item: Any, corpus: Corpus) -> Tensor:
    """The frames of an utterance, its lips NaN where it has none.

    Raises:
        DataError: a file cannot be read.
    """
    waveform, _ = read_audio(item.path, view.sample_rate)
    path = lips_path(item, corpus.root)
    frames = view.frames(torch.from_numpy(waveform), None if path is None else read_lips_of(path))
    if not len(frames):
        raise DataError(f"{item.path}: there is not a frame of sound and lips")
    return frames
