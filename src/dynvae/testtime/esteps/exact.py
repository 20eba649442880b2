"""The exact E-step of priors with finitely many states."""

from __future__ import annotations

__all__ = ["ExactStates"]

from dataclasses import dataclass

from dynvae.classics.chain import filtered, smoothed
from dynvae.errors import ConfigError
from dynvae.testtime.discrete import ConditionedStates
from dynvae.testtime.esteps.base import Statistics
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class ExactStates:
    """The posterior of the states of a :class:`~dynvae.testtime.discrete.SpectralStates`, by its own formula.

    Of independent states p(k | x_t) ∝ π_k p(x_t | k); of a Markov chain by the forward-backward algorithm
    (:mod:`dynvae.classics.chain`). The states are the samples of the M-step, and their posterior the weights. The
    likelihood of the recording does not decrease from one iteration to the next, up to rounding.
    """

    def gentler(self) -> ExactStates:
        return self

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> _Posterior:
        if not isinstance(prior, ConditionedStates):
            raise ConfigError(f"the exact E-step is for finitely many states, and a {type(prior).__name__} has more")
        return _Posterior(prior, scene)


class _Posterior:
    def __init__(self, prior: ConditionedStates, scene: Scene) -> None:
        self.prior, self.scene = prior, scene

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        states = self.prior.log_variance
        time = self.scene.power.shape[1]
        speech = likelihood.of(states).unsqueeze(1).expand(-1, time, -1).repeat(self.scene.batch, 1, 1)
        frames = likelihood.log_prob(speech).unflatten(0, (self.scene.batch, -1)).transpose(1, 2)
        known = smoothed(frames, self.prior.log_initial, self.prior.log_transitions, self.scene.lengths)
        _, evidence = filtered(frames, self.prior.log_initial, self.prior.log_transitions)
        weight = known.log_state.exp().transpose(1, 2)
        return Statistics(speech=speech, weight=weight, log_evidence=known.evidence, frames=evidence)
