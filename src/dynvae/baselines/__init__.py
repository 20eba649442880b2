"""What enhancement by a model of clean speech is compared with: older filters, and a network that has seen noise."""

from __future__ import annotations

from dynvae.baselines.enhancer import Enhancing, Filter, Gain
from dynvae.baselines.filters import SpectralSubtraction, WienerFilter
from dynvae.baselines.lstm import AutoregressiveLSTM, load_lstm
from dynvae.baselines.mask import MaskNetwork, load_mask
from dynvae.baselines.nmf import Dictionary, learn_dictionary, learn_patterns
from dynvae.baselines.separation import oracle_shares, pattern_shares
from dynvae.baselines.tracking import track_noise

__all__ = [
    "AutoregressiveLSTM",
    "Dictionary",
    "Enhancing",
    "Filter",
    "Gain",
    "MaskNetwork",
    "SpectralSubtraction",
    "WienerFilter",
    "learn_dictionary",
    "learn_patterns",
    "load_lstm",
    "load_mask",
    "oracle_shares",
    "pattern_shares",
    "track_noise",
]
