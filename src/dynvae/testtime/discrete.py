"""Priors of speech with finitely many states: the spectral mixture, and the hidden Markov model."""

from __future__ import annotations

__all__ = ["ConditionedStates", "SpectralStates"]

from typing import NoReturn

import torch
from torch import Tensor

from dynvae.classics import HiddenMarkovModel, Spectra, SpectralMixture, StateModel
from dynvae.errors import ConfigError
from dynvae.models import Latents
from dynvae.testtime.prior import Decoded, Moves
from dynvae.testtime.scene import Scene


class SpectralStates:
    r"""Speech that is in one of K states at each frame.

    .. math:: p(s_t | k_t) = \mathcal N_c(0, \mathrm{diag}\, \sigma_{k_t}^2), \qquad
              p(k_t) = \pi_{k_t} \quad \text{or} \quad p(k_t | k_{t-1}) = A_{k_{t-1} k_t}:

    a :class:`~dynvae.classics.SpectralMixture`, or a :class:`~dynvae.classics.HiddenMarkovModel` of spectra, as prior.
    Its E-step in noise is exact (:class:`~dynvae.testtime.esteps.ExactStates`), which makes it the engine's oracle, and
    a baseline without a network.

    Args:
        variance: σ², ``(states, bins)``.
        initial: π, ``(states,)``; of the first frame, where there are transitions.
        transitions: A, ``(states, states)``, rows of sum one; None for independent frames.

    Raises:
        ConfigError: the shapes do not fit, or a variance is not positive.
    """

    moves: Moves = "sequence"

    def __init__(self, variance: Tensor, initial: Tensor, transitions: Tensor | None = None) -> None:
        self.model: StateModel[Spectra] = StateModel(Spectra(variance), initial, transitions)
        self.bins = variance.shape[1]
        self.variance, self.initial, self.transitions = variance, initial, transitions

    def on(self, scene: Scene) -> ConditionedStates:
        return ConditionedStates(self, scene)

    @classmethod
    def of(cls, model: StateModel[Spectra]) -> SpectralStates:
        """A mixture or chain of spectra as prior."""
        return cls(model.emissions.variance, model.initial, model.transitions)

    @classmethod
    def fit(
        cls,
        power: Tensor,
        states: int = 32,
        *,
        markov: bool = False,
        iterations: int = 30,
        generator: torch.Generator | None = None,
    ) -> SpectralStates:
        """Learn from the power spectra of clean speech, by EM.

        Args:
            power: consecutive frames, ``(frames, bins)``.
            states: K.
            markov: whether the states form a chain.
            iterations: of EM.
            generator: where the first states are drawn from.
        """
        x = power.unsqueeze(0)
        if markov:
            chain = HiddenMarkovModel.fit(
                x, states=states, emissions="spectra", iterations=iterations, tolerance=0, generator=generator
            )
            return cls.of(chain.model)
        mixture = SpectralMixture.fit(x, states=states, iterations=iterations, tolerance=0, generator=generator)
        return cls.of(mixture.model)


class ConditionedStates:
    """:class:`SpectralStates` at work."""

    moves: Moves = "sequence"
    present: Tensor | None = None
    fed = False
    local = True

    def __init__(self, prior: SpectralStates, scene: Scene) -> None:
        tiny = torch.finfo(scene.power.dtype).tiny
        self.log_variance = prior.variance.to(scene.power).log()
        self.log_initial = prior.initial.to(scene.power).clamp(min=tiny).log()
        transitions = prior.transitions
        self.log_transitions = None if transitions is None else transitions.to(scene.power).clamp(min=tiny).log()

    def encode(self, samples: int) -> Latents:
        self._refuse()

    def decode(self, latents: Latents) -> Decoded:
        self._refuse()

    def feed(self, clean: Tensor) -> None:
        """Nothing is fed back."""

    def _refuse(self) -> NoReturn:
        raise ConfigError("states cannot be moved along a gradient or by a random walk: take the exact E-step")
