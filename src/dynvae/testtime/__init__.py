"""Inference at test time: a model of clean speech meets a recording that is not clean.

One EM engine serves every prior, every way to infer its latents and every model of the noise; `enhance` is its front.
"""

from __future__ import annotations

__all__ = [
    "EM",
    "NMF",
    "PRESETS",
    "Chunks",
    "DVAEPrior",
    "Draws",
    "Enhanced",
    "Enhancer",
    "ExactStates",
    "FixedNoise",
    "Langevin",
    "NoisySpeech",
    "Online",
    "Preset",
    "Prior",
    "PriorMixture",
    "Scene",
    "Separated",
    "SpectralStates",
    "StationaryNoise",
    "StreamingEnhancer",
    "enhance",
    "enhance_in_chunks",
    "preset",
]

from dynvae.testtime.discrete import SpectralStates
from dynvae.testtime.em import EM, Separated
from dynvae.testtime.enhancement import Enhanced, Enhancer, enhance
from dynvae.testtime.esteps import ExactStates, Langevin
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.long import Chunks, enhance_in_chunks
from dynvae.testtime.mixture import PriorMixture
from dynvae.testtime.noise import NMF, FixedNoise, StationaryNoise
from dynvae.testtime.online import Online
from dynvae.testtime.presets import PRESETS, Preset, preset
from dynvae.testtime.prior import DVAEPrior, Prior
from dynvae.testtime.scene import Draws, Scene
from dynvae.testtime.streaming import StreamingEnhancer
