"""E-steps: ways to infer the latents of speech in noise."""

from __future__ import annotations

__all__ = [
    "Chain",
    "EStep",
    "EncoderTuning",
    "ExactStates",
    "Langevin",
    "MeanField",
    "Metropolis",
    "Point",
    "PointEstimate",
    "Statistics",
]

from dynvae.testtime.esteps.base import Chain, EStep, Point, Statistics
from dynvae.testtime.esteps.encoder import EncoderTuning
from dynvae.testtime.esteps.exact import ExactStates
from dynvae.testtime.esteps.langevin import Langevin
from dynvae.testtime.esteps.mean_field import MeanField
from dynvae.testtime.esteps.metropolis import Metropolis
from dynvae.testtime.esteps.point import PointEstimate
