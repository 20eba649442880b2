"""Mixtures of DVAEs: several sources, each with a model of its own, under observations that do not say whose they are.

Variational EM finds where the sources are and which observation is whose; no weights are trained. One engine serves the
tracking of objects (:class:`GaussianAssignment`) and the separation of sounds (:class:`SpectralAssignment`).
"""

from __future__ import annotations

__all__ = [
    "Estimate",
    "GaussianAssignment",
    "Mixture",
    "Observations",
    "Solution",
    "SpectralAssignment",
    "cascade",
    "first_guess",
]

from dynvae.mixtures.cascade import cascade
from dynvae.mixtures.engine import Mixture
from dynvae.mixtures.gaussian import GaussianAssignment, Observations
from dynvae.mixtures.guess import first_guess
from dynvae.mixtures.spectral import SpectralAssignment
from dynvae.mixtures.values import Estimate, Solution
