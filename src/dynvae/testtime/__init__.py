"""Inference at test time: a model of clean speech meets a recording that is not clean.

One EM engine serves every prior, every way to infer its latents and every model of the noise; `enhance` is its front.
"""

from __future__ import annotations

__all__ = [
    "EM",
    "NMF",
    "PRESETS",
    "DVAEPrior",
    "Draws",
    "Enhanced",
    "Enhancer",
    "FixedNoise",
    "Langevin",
    "NoisySpeech",
    "Preset",
    "Prior",
    "Scene",
    "Separated",
    "StationaryNoise",
    "enhance",
    "preset",
]

from dynvae.testtime.em import EM, Separated
from dynvae.testtime.enhancement import Enhanced, Enhancer, enhance
from dynvae.testtime.esteps import Langevin
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.noise import NMF, FixedNoise, StationaryNoise
from dynvae.testtime.presets import PRESETS, Preset, preset
from dynvae.testtime.prior import DVAEPrior, Prior
from dynvae.testtime.scene import Draws, Scene
