"""Training on recorded motion: from a model's name and a folder to a run."""

from __future__ import annotations

__all__ = ["train_motion"]

import functools
import math
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynvae.data import collate
from dynvae.data.motion import MotionCorpus
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.errors import ConfigError
from dynvae.models import build
from dynvae.motion import Skeleton
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.loaders import TrainingData
from dynvae.training.machine import Machine, own_randomness
from dynvae.training.run import Outcome, fit
from dynvae.training.speech import start_from


def train_motion(
    name: str,
    *,
    data: str | os.PathLike[str] | MotionCorpus,
    out: str | os.PathLike[str],
    model: dict[str, Any] | None = None,
    init: str | None = None,
    turn: bool = False,
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a model of the zoo on recorded motion.

    A frame holds the joints seen from the root, less the mean pose of the training split, at a scale that makes their
    mean square 1 (`dynvae.motion.Skeleton.fitted`); the model carries all that as its ``front_end``.

    Args:
        name: a model or preset of :data:`dynvae.models.PRESETS`.
        data: what `dynvae.data.motion.MotionCorpus.open` takes; it needs the splits train and valid.
        out: the folder of the run.
        model: arguments of the model, but for ``x_dim``; the likelihood is ``"gaussian"`` if none is given.
        init: a trained model (folder or hub id) to start from the weights of; it must have the same sizes.
        turn: turn each training crop about the vertical, by an angle that is drawn anew each epoch. Where a body faces
            is chance in most recordings.
        train: how to train.
        machine: where to train.
        resume: go on from the newest whole checkpoint in ``out``, if there is one.
        progress: show a bar on the terminal.

    Returns:
        The best validation and where the weights are.

    Raises:
        ConfigError: a setting or name is wrong, or ``out`` is in use or holds another run.
        DataError: the recordings cannot be used, or have no such split.
    """
    config = train or TrainConfig()
    arguments = {"likelihood": "gaussian", **(model or {})}
    if arguments["likelihood"] == "complex_gaussian":
        raise ConfigError("a complex Gaussian is for sound; places take gaussian, fixed_gaussian or joint_l2")
    corpus = MotionCorpus.open(data)
    parts = {split: corpus.split(split) for split in ("train", "valid")}
    skeleton = corpus.skeleton.fitted(item.places for item in parts["train"])
    with own_randomness():
        torch.manual_seed(config.seed)
        network = build(name, x_dim=skeleton.size, **arguments)
    network.front_end = skeleton
    if init is not None and not (resume and RunFolder(out).checkpoints.paths()):
        start_from(network, init)
    frames = {split: [skeleton.frames(item.places) for item in part] for split, part in parts.items()}
    names = {split: [item.name for item in part] for split, part in parts.items()}
    change = functools.partial(_turn, skeleton) if turn else None
    crops = SequenceCrops(frames["train"], names["train"], config.frames, seed=config.seed, change=change)
    whole = Sequences(frames["valid"], names["valid"])
    material = TrainingData(crops, whole, whole.lengths, collate)
    facts = {
        "name": name,
        "data": str(data.root if isinstance(data, MotionCorpus) else data),
        "task": "motion",
        "init": init,
        "turn": turn,
        "model": {key: value for key, value in network.config.items() if key != "x_dim"},
    }
    return fit(network, material, out, config, machine, resume=resume, progress=progress, settings=facts)


def _turn(skeleton: Skeleton, crop: Tensor, dice: np.random.Generator) -> Tensor:
    return skeleton.turned(crop, float(dice.uniform(0, 2 * math.pi)))
