"""Training on synthetic trajectories of boxes: from a model's name to a run."""

from __future__ import annotations

__all__ = ["train_trajectories"]

import os
from typing import Any

import torch

from dynvae.data import collate
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.data.trajectories import TRAJECTORIES, draw_trajectories
from dynvae.errors import ConfigError
from dynvae.models import build
from dynvae.training.config import TrainConfig
from dynvae.training.folder import RunFolder
from dynvae.training.loaders import TrainingData
from dynvae.training.machine import Machine, own_randomness
from dynvae.training.run import Outcome, fit
from dynvae.training.speech import start_from

LENGTH = 60  # frames of a trajectory, as published


def train_trajectories(
    name: str,
    *,
    out: str | os.PathLike[str],
    count: int = 12_000,
    model: dict[str, Any] | None = None,
    init: str | None = None,
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a model of the zoo on boxes that move through a picture (`dynvae.data.trajectories.draw_trajectories`).

    Args:
        name: a model or preset of :data:`dynvae.models.PRESETS`.
        out: the folder of the run.
        count: trajectories of 60 frames for the training; a quarter as many others for the validation. The published
            20,000 and 5,000 were counted before a good third was rejected.
        model: arguments of the model, but for ``x_dim``; the likelihood is ``"gaussian"`` if none is given.
        init: a trained model (folder or hub id) to start from the weights of; it must have the same sizes.
        train: how to train; its seed decides the trajectories, too.
        machine: where to train.
        resume: go on from the newest whole checkpoint in ``out``, if there is one.
        progress: show a bar on the terminal.

    Returns:
        The best validation and where the weights are.

    Raises:
        ConfigError: a setting or name is wrong, or ``out`` is in use or holds another run.
    """
    config = train or TrainConfig()
    arguments = {"likelihood": "gaussian", **(model or {})}
    if arguments["likelihood"] not in ("gaussian", "fixed_gaussian"):
        raise ConfigError(f"boxes take the likelihoods gaussian and fixed_gaussian, not {arguments['likelihood']}")
    if count < 4:
        raise ConfigError(f"at least 4 trajectories are needed, not {count}")
    drawn = list(draw_trajectories(count + count // 4, LENGTH, seed=config.seed))
    with own_randomness():
        torch.manual_seed(config.seed)
        network = build(name, x_dim=drawn[0].shape[-1], **arguments)
    if init is not None and not (resume and RunFolder(out).checkpoints.paths()):
        start_from(network, init)
    names = [f"{TRAJECTORIES}-{index}" for index in range(len(drawn))]
    crops = SequenceCrops(drawn[:count], names[:count], config.frames, seed=config.seed)
    whole = Sequences(drawn[count:], names[count:])
    facts = {
        "name": name,
        "data": TRAJECTORIES,
        "count": count,
        "task": TRAJECTORIES,
        "init": init,
        "model": {key: value for key, value in network.config.items() if key != "x_dim"},
    }
    material = TrainingData(crops, whole, whole.lengths, collate)
    return fit(network, material, out, config, machine, resume=resume, progress=progress, settings=facts)
