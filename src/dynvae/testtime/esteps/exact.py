"""The exact E-step of priors with finitely many states."""

from __future__ import annotations

__all__ = ["ExactStates"]

from dataclasses import dataclass

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.testtime.discrete import ConditionedStates
from dynvae.testtime.esteps.base import Statistics
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class ExactStates:
    """The posterior of the states of a :class:`~dynvae.testtime.discrete.SpectralStates`, by its own formula.

    Of independent states p(k | x_t) ∝ π_k p(x_t | k); of a Markov chain by the forward-backward algorithm (Rabiner,
    1989). The states are the samples of the M-step, and their posterior the weights. The likelihood of the recording
    does not decrease from one iteration to the next, up to rounding.
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
        frames = likelihood.log_prob(speech).unflatten(0, (self.scene.batch, -1))  # (batch, states, time)
        if self.prior.log_transitions is None:
            joint = frames + self.prior.log_initial.view(1, -1, 1)
            evidence = joint.logsumexp(1)
            return Statistics(speech=speech, weight=joint.softmax(1), log_evidence=self.scene.total(evidence))
        forward, evidence = self._forward(frames)
        weight = (forward + self._backward(frames)).softmax(1)
        return Statistics(speech=speech, weight=weight, log_evidence=evidence)

    def _forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(k_t | x_1:t), and ln p(x)."""
        transitions = self.prior.log_transitions
        assert transitions is not None
        alpha, alphas, evidence = self.prior.log_initial.expand(frames.shape[:2]), [], []
        for t in range(frames.shape[2]):
            if t:
                alpha = (alpha.unsqueeze(2) + transitions).logsumexp(1)
            alpha = alpha + frames[:, :, t]
            total = alpha.logsumexp(1, keepdim=True)
            alpha = alpha - total
            alphas.append(alpha)
            evidence.append(total)
        return torch.stack(alphas, 2), self.scene.total(torch.cat(evidence, 1))

    def _backward(self, frames: Tensor) -> Tensor:
        """Log p(x_t+1:T | k_t), each frame up to a constant."""
        transitions = self.prior.log_transitions
        assert transitions is not None
        beta, betas = torch.zeros_like(frames[:, :, 0]), []
        for t in reversed(range(frames.shape[2])):
            betas.append(beta)
            beta = (beta + frames[:, :, t]).unsqueeze(1) + transitions
            beta = beta.logsumexp(2)
            beta = beta - beta.amax(1, keepdim=True)
            if self.scene.lengths is not None:
                beta = torch.where((t < self.scene.lengths).unsqueeze(1), beta, 0)  # nothing follows the last frame
        return torch.stack(betas[::-1], 2)
