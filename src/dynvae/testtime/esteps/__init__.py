"""E-steps: ways to infer the latents of speech in noise."""

from __future__ import annotations

__all__ = ["Chain", "EStep", "Langevin", "Point", "Statistics"]

from dynvae.testtime.esteps.base import Chain, EStep, Point, Statistics
from dynvae.testtime.esteps.langevin import Langevin
