"""Training on synthetic trajectories of boxes: from a model's name to a run."""

from __future__ import annotations

__all__ = ["train_trajectories"]

import functools
import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.baselines.lstm import AutoregressiveLSTM
from dynvae.data import collate
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.data.trajectories import TRAJECTORIES, draw_trajectories
from dynvae.errors import ConfigError
from dynvae.models import DVAE, build
from dynvae.motion import BoxView
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
    view: Literal["own", "picture"] = "own",
    jitter: float = 0.0,
    sway: float = 0.0,
    model: dict[str, Any] | None = None,
    init: str | None = None,
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a model of the zoo on boxes that move through a picture (`dynvae.data.trajectories.draw_trajectories`).

    Args:
        name: a model or preset of :data:`dynvae.models.PRESETS`, or ``"lstm"``, the baseline without latents.
        out: the folder of the run.
        count: trajectories of 60 frames for the training; a quarter as many others for the validation. The published
            20,000 and 5,000 were counted before a good third was rejected.
        view: the frames of a crop are seen from one of its ``"own"`` boxes, drawn anew each time, or in the
            ``"picture"``, as published (`dynvae.motion.BoxView`, which the model carries as its ``front_end``).
        jitter: deviation of noise on the edges, as a share of the first box's width or height. Estimates from
            detections are never as smooth as the trajectories.
        sway: of a camera, which is not published: how much the velocity of everything is changed from frame to frame,
            at most, in widths (and in fifths of it in heights). It decays by a tenth each frame.
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
    if count < 4 or jitter < 0 or sway < 0:
        raise ConfigError(f"at least 4 trajectories are needed, jitter and sway are not negative; not "
                          f"{count}, {jitter} and {sway}")  # fmt: skip
    drawn = list(draw_trajectories(count + count // 4, LENGTH, seed=config.seed))
    with own_randomness():
        torch.manual_seed(config.seed)
        make: Callable[..., DVAE] = AutoregressiveLSTM if name == "lstm" else functools.partial(build, name)
        network = make(x_dim=drawn[0].shape[-1], **arguments)
    network.front_end = BoxView(view)
    if init is not None and not (resume and RunFolder(out).checkpoints.paths()):
        start_from(network, init)
    change = functools.partial(_seen, network.front_end, jitter, sway)
    names = [f"{TRAJECTORIES}-{index}" for index in range(len(drawn))]
    dice = np.random.default_rng([config.seed, 1])
    crops = SequenceCrops(drawn[:count], names[:count], config.frames, seed=config.seed, change=change)
    whole = Sequences([change(each[: config.frames], dice) for each in drawn[count:]], names[count:])
    facts = {
        "name": name,
        "data": TRAJECTORIES,
        "count": count,
        "view": view,
        "jitter": jitter,
        "sway": sway,
        "task": TRAJECTORIES,
        "init": init,
        "model": {key: value for key, value in network.config.items() if key != "x_dim"},
    }
    material = TrainingData(crops, whole, whole.lengths, collate)
    return fit(network, material, out, config, machine, resume=resume, progress=progress, settings=facts)


def _seen(view: BoxView, jitter: float, sway: float, crop: Tensor, dice: np.random.Generator) -> Tensor:
    """A crop with noise and a camera's motion, in the view that the model has of it."""
    _, size = BoxView().origin(crop[0])
    if sway:
        strength = sway * dice.uniform(size=2) ** 2 * (1, 0.2)
        velocity = _decaying(strength * dice.standard_normal((len(crop), 2)), 0.9)
        crop = crop + size * torch.from_numpy(np.tile(velocity.cumsum(0), 2)).to(crop)
    if jitter:
        crop = crop + jitter * size * torch.from_numpy(dice.standard_normal(crop.shape)).to(crop)
    return view.frames(crop, crop[dice.integers(len(crop))])


def _decaying(x: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """y_t = decay · y_t-1 + x_t."""
    time = np.arange(len(x))
    weights = np.where(time[:, None] >= time, decay ** (time[:, None] - time).clip(0), 0.0)
    return weights @ x
