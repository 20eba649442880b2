"""Mean and deviation of the training data: what a model's input is standardised by, and where its output begins."""

from __future__ import annotations

__all__ = ["settle"]

import numpy as np
import torch

from dynvae.data import Waves
from dynvae.models.base import DVAE
from dynvae.training.loaders import TrainingData

MOST_CROPS = 4096
_AT_ONCE = 32


def settle(model: DVAE, data: TrainingData, *, begin: bool = False) -> None:
    """Give a model what it asks for of the mean and deviation of each feature in the training crops.

    They are taken from the valid frames of the first epoch's crops, of :data:`MOST_CROPS` at even distances where there
    are more. A model that standardises its input gets them for that, if it has not been given statistics already.

    Args:
        model: with a front end, if the data are sound.
        data: whose crops are read.
        begin: whether the output shall begin at the data's mean (:meth:`~dynvae.models.DVAE.begin_at`).
    """
    fresh = model.input_transform == "standardise" and not bool(
        (model.input_mean != 0).any() | (model.input_std != 1).any()
    )
    if not fresh and not begin:
        return
    count = len(data.crops)  # type: ignore[arg-type]
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_CROPS)).round().astype(int))
    frames = total = square = torch.zeros(model.x_dim, dtype=torch.float64)
    for some in np.array_split(chosen, -(-len(chosen) // _AT_ONCE)):
        batch = data.batch([(0, int(index)) for index in some])
        batch = batch.power(model.front_end) if isinstance(batch, Waves) else batch  # type: ignore[arg-type]
        valid = torch.arange(batch.x.shape[1]) < batch.lengths[:, None]
        x = batch.x[valid].double()
        frames = frames + (~x.isnan()).sum(0)  # a modality may be missing
        x = x.nan_to_num(0)
        total = total + x.sum(0)
        square = square + x.square().sum(0)
    frames = frames.clamp(min=1)
    mean = total / frames
    std = (square / frames - mean.square()).clamp(min=0).sqrt()
    if fresh:
        model.standardise(mean, std)
    if begin:
        model.begin_at(mean, std)
