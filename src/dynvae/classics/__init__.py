"""The classical models in which the family has its roots: mixtures, hidden Markov models, PPCA and the Kalman filter.

Each has ``fit``, ``log_prob``, ``posterior`` and ``sample``, all of them exact: baselines, and oracles of bounds.
"""

from dynvae.classics.emissions import Gaussians, Spectra
from dynvae.classics.ppca import PPCA
from dynvae.classics.state_space import LinearStateSpace
from dynvae.classics.states import Fitted, GaussianMixture, HiddenMarkovModel, SpectralMixture, StateModel

__all__ = [
    "PPCA",
    "Fitted",
    "GaussianMixture",
    "Gaussians",
    "HiddenMarkovModel",
    "LinearStateSpace",
    "Spectra",
    "SpectralMixture",
    "StateModel",
]
