"""Training: objective, schedules, the run and its folder. Lightning is imported when a run begins."""

from __future__ import annotations

from dynvae.training.config import TrainConfig
from dynvae.training.loaders import TrainingData
from dynvae.training.machine import Machine
from dynvae.training.motion import train_motion
from dynvae.training.multimodal import train_multimodal
from dynvae.training.objective import Loss, elbo_loss
from dynvae.training.run import Outcome, fit
from dynvae.training.speech import train
from dynvae.training.trajectories import train_trajectories

__all__ = [
    "Loss",
    "Machine",
    "Outcome",
    "TrainConfig",
    "TrainingData",
    "elbo_loss",
    "fit",
    "train",
    "train_motion",
    "train_multimodal",
    "train_trajectories",
]
