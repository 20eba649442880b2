"""Small models of sound."""

from __future__ import annotations

import numpy as np
import torch

from dynvae.audio import FrontEnd
from dynvae.models import SRNN

RATE = 8000


def model(seed: int = 0) -> SRNN:
    """An untrained model of spectra of 33 bins."""
    torch.manual_seed(seed)
    made = SRNN(33, 2, x_hidden=[8], forward_rnn=8, hx_hidden=[8], backward_rnn=8, decoder_hidden=[8]).eval()
    made.front_end = FrontEnd(RATE, 64, 16)
    return made


def sound(seconds: float, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, round(seconds * RATE))).astype(np.float32)
