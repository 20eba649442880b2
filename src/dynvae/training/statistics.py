"""What ``input_transform="standardise"`` subtracts and divides by, out of the training data."""

from __future__ import annotations

__all__ = ["standardise"]

import numpy as np
import torch

from dynvae.data import Waves
from dynvae.models.base import DVAE
from dynvae.training.loaders import TrainingData

MOST_CROPS = 4096
_AT_ONCE = 32


def standardise(model: DVAE, data: TrainingData) -> None:
    """Give a model that standardises its input the mean and deviation of each feature in the training crops.

    They are taken from the valid frames of the first epoch's crops, of :data:`MOST_CROPS` at even distances where there
    are more. A model that has been given statistics already, or that sees its input otherwise, is left alone.

    Args:
        model: with a front end, if the data are sound.
        data: whose crops are read.
    """
    if model.input_transform != "standardise" or bool((model.input_mean != 0).any() | (model.input_std != 1).any()):
        return
    count = len(data.crops)  # type: ignore[arg-type]
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_CROPS)).round().astype(int))
    frames = 0
    total = square = torch.zeros(model.x_dim, dtype=torch.float64)
    for some in np.array_split(chosen, -(-len(chosen) // _AT_ONCE)):
        batch = data.batch([(0, int(index)) for index in some])
        batch = batch.power(model.front_end) if isinstance(batch, Waves) else batch  # type: ignore[arg-type]
        valid = torch.arange(batch.x.shape[1]) < batch.lengths[:, None]
        x = batch.x[valid].double()
        frames += len(x)
        total = total + x.sum(0)
        square = square + x.square().sum(0)
    mean = total / frames
    model.standardise(mean, (square / frames - mean.square()).clamp(min=0).sqrt())
