"""Priors of speech with finitely many states: the spectral mixture, and the hidden Markov model."""

from __future__ import annotations

__all__ = ["ConditionedStates", "SpectralStates"]

from typing import NoReturn

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.models import Latents
from dynvae.testtime.prior import Decoded, Moves
from dynvae.testtime.scene import Scene


class SpectralStates:
    r"""Speech that is in one of K states at each frame.

    .. math:: p(s_t | k_t) = \mathcal N_c(0, \mathrm{diag}\, \sigma_{k_t}^2), \qquad
              p(k_t) = \pi_{k_t} \quad \text{or} \quad p(k_t | k_{t-1}) = A_{k_{t-1} k_t}.

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
        states = len(variance)
        if variance.dim() != 2 or initial.shape != (states,):
            raise ConfigError(f"states have variances (states, bins) and probabilities (states,), not "
                              f"{tuple(variance.shape)} and {tuple(initial.shape)}")  # fmt: skip
        if transitions is not None and transitions.shape != (states, states):
            raise ConfigError(f"transitions are ({states}, {states}), not {tuple(transitions.shape)}")
        if not bool((variance > 0).all()):
            raise ConfigError("the variance of a state is positive in every bin")
        self.bins = variance.shape[1]
        self.variance, self.initial, self.transitions = variance, initial, transitions

    def on(self, scene: Scene) -> ConditionedStates:
        return ConditionedStates(self, scene)

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

        The transitions of a Markov chain are counted along the best state of each frame, one step from another.

        Args:
            power: consecutive frames, ``(frames, bins)``.
            states: K.
            markov: whether the states form a chain.
            iterations: of EM.
            generator: where the first states are drawn from.
        """
        if len(power) < states:
            raise ConfigError(f"{states} states need at least as many frames, not {len(power)}")
        floor = 1e-6 * power.mean()
        first = torch.randperm(len(power), generator=generator)[:states].to(power.device)
        variance, initial = power[first] + power.mean(0), power.new_full((states,), 1 / states)
        for _ in range(iterations):
            cost = power @ variance.reciprocal().T + variance.log().sum(1)
            weight = (initial.log() - cost).softmax(1)
            count = weight.sum(0)
            fitted = (weight.T @ power) / count.clamp(min=1e-3).unsqueeze(1)
            # A state that nobody is in starts again from the frame that fits worst.
            worst = power[cost.amin(1).argmax()]
            variance = torch.where((count > 1).unsqueeze(1), fitted, worst).clamp(min=floor)
            initial = (count + 1e-3) / (count + 1e-3).sum()
        if not markov:
            return cls(variance, initial)
        best = (initial.log() - power @ variance.reciprocal().T - variance.log().sum(1)).argmax(1)
        pairs = power.new_full((states, states), 0.1)
        pairs.index_put_((best[:-1], best[1:]), power.new_ones(len(best) - 1), accumulate=True)
        return cls(variance, initial, pairs / pairs.sum(1, keepdim=True))


class ConditionedStates:
    """:class:`SpectralStates` at work."""

    moves: Moves = "sequence"
    fed = False
    local = True

    def __init__(self, prior: SpectralStates, scene: Scene) -> None:
        self.log_variance = prior.variance.to(scene.power).log()
        self.log_initial = prior.initial.to(scene.power).log()
        self.log_transitions = None if prior.transitions is None else prior.transitions.to(scene.power).log()

    def encode(self, samples: int) -> Latents:
        self._refuse()

    def decode(self, latents: Latents) -> Decoded:
        self._refuse()

    def feed(self, clean: Tensor) -> None:
        """Nothing is fed back."""

    def _refuse(self) -> NoReturn:
        raise ConfigError("states cannot be moved along a gradient or by a random walk: take the exact E-step")
