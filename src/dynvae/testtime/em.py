"""The EM algorithm: an E-step for the latents, an M-step for noise and gains, until the iterations are done."""

from __future__ import annotations

__all__ = ["EM", "Progress", "Separated"]

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.testtime.esteps import EStep, Statistics
from dynvae.testtime.guards import Watch
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.mixture import start
from dynvae.testtime.noise import Noise, NoiseModel, update_gain
from dynvae.testtime.prior import ConditionedDVAE, Prior
from dynvae.testtime.scene import Draws, Scene

Progress = Callable[[int, int, float], None]
"""Called after checked iterations with their number, the number of all, and the mean objective."""


@dataclass(eq=False)
class Separated:
    """What the EM algorithm has made of a batch of recordings.

    Attributes:
        mask: the Wiener gain of the speech, ``(batch, time, bins)``; x times this is the estimate.
        noise: ψ, ``(batch, time, bins)``.
        gain: g, ``(batch, time)``.
        objective: at the checked iterations, ``(checks, batch)``: the mean over frames and bins of
            ``Σ_r w_r (|x|²/V_r + ln V_r)``, less is better; for exact E-steps -ln p(x) a frame and bin.
        iterations: the numbers of these iterations, counted from one.
        energy: ‖ŝ‖²/‖x‖², ``(batch,)``.
        collapsed: whether the estimate had to be rescued or is suspiciously quiet, ``(batch,)``.
        model: the noise model at the end, which can go on.
        info: what the E-step has told last.
        modes: of a mixture of priors, or one whose latents have a mixture as prior, p(mode | x) at each frame,
            ``(batch, modes, time)``.
    """

    mask: Tensor
    noise: Tensor
    gain: Tensor
    objective: Tensor
    iterations: list[int]
    energy: Tensor
    collapsed: Tensor
    model: Noise
    info: dict[str, Any] = field(default_factory=dict)
    modes: Tensor | None = None


@dataclass(frozen=True, eq=False)
class EM:
    """One engine for every prior, E-step and noise model.

    With x_ft = √g_t s_ft + b_ft, the prior's speech variance σ² and the noise variance ψ, each iteration is an E-step
    at fixed ψ and g, one M-step of ψ and one of g. The estimate is x times the Wiener gain, averaged over the samples
    of the last iterations.

    Args:
        estep: how the latents are inferred.
        noise: the model of the noise.
        iterations: of EM.
        gains: whether the gains of the frames are estimated; one otherwise.
        least_gain: none falls below.
        average: the last iterations whose Wiener gains are averaged.
        tolerance: stop when the objective has changed by less from one check to the next, for all recordings; 0 never.
        every: iterations between two looks at objective and energy; the first is after the first iteration.
        closing: one more E-step, as published for MH and MALA, before the estimate.
    """

    estep: EStep
    noise: NoiseModel
    iterations: int = 100
    gains: bool = True
    least_gain: float = 1e-3
    average: int = 1
    tolerance: float = 0.0
    every: int = 10
    closing: bool = False

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.average < 1 or self.every < 1:
            raise ConfigError(f"iterations, average and every are positive, not {self.iterations}, {self.average}, "
                              f"{self.every}")  # fmt: skip

    @torch.no_grad()
    def run(self, prior: Prior, scene: Scene, draws: Draws, progress: Progress | None = None) -> Separated:
        """Separate speech from noise.

        Args:
            prior: of the speech.
            scene: the recordings.
            draws: where all random numbers come from.
            progress: told how it goes.
        """
        conditioned = prior.on(scene)
        noise = self.noise.start(scene, draws)
        chain = start(self.estep, conditioned, scene, draws)
        gain = scene.power.new_ones(scene.power.shape[:2])
        watch = Watch(scene)
        last, count = min(self.average, self.iterations), 0
        mask: Tensor | None = None
        for iteration in range(1, self.iterations + 1):
            statistics = chain.sweep(NoisySpeech(scene, noise.variance, gain))
            gain = self._m_step(statistics, scene, noise, gain)
            now = NoisySpeech(scene, noise.variance, gain)
            if conditioned.fed:
                conditioned.feed(_clean(now, statistics))
            checked = iteration % self.every == 0 or iteration in (1, self.iterations)
            if iteration > self.iterations - last or checked:
                present = _mask(now, statistics)
                if checked:
                    stop = watch.look(iteration, _cost(now, statistics), present, self.tolerance)
                    if progress is not None:
                        progress(iteration, self.iterations, float(watch.objective[-1].mean()))
                    if stop:
                        mask, count = (present, 1) if count == 0 else (mask, count)
                if iteration > self.iterations - last:
                    mask, count = present if mask is None else mask + present, count + 1
                if checked and stop:
                    break
        assert mask is not None
        if self.closing:
            last_words = NoisySpeech(scene, noise.variance, gain)
            statistics = chain.sweep(last_words)
            mask, count = _mask(last_words, statistics), 1
        mask, energy, collapsed = watch.verdict(mask / count)
        objective = torch.stack(watch.objective)
        modes = statistics.modes
        if modes is None and isinstance(conditioned, ConditionedDVAE) and statistics.latents is not None:
            told = conditioned.told(statistics.latents)
            modes = None if told is None else told.unflatten(0, (scene.batch, -1)).mean(1).transpose(1, 2)
        return Separated(mask, noise.variance, gain, objective, watch.iterations, energy, collapsed, noise,
                         statistics.info, modes)  # fmt: skip

    def _m_step(self, statistics: Statistics, scene: Scene, noise: Noise, gain: Tensor) -> Tensor:
        """Update the noise, and give the new gain."""
        gain = gain if statistics.gain is None else statistics.gain
        if statistics.speech is None:  # the complete-data form is the marginal one of noise alone
            assert statistics.noise_power is not None
            alone = scene.heard(statistics.noise_power)
            nothing = torch.zeros_like(scene.power)
            noise.update(lambda variance: NoisySpeech(alone, variance, gain).noise_sums(nothing))
            return gain
        speech, weight = statistics.speech, statistics.weight
        noise.update(lambda variance: NoisySpeech(scene, variance, gain).noise_sums(speech, weight))
        if self.gains and statistics.gain is None:
            gain = update_gain(gain, NoisySpeech(scene, noise.variance, gain), speech, weight, self.least_gain)
        return gain


def _mask(now: NoisySpeech, statistics: Statistics) -> Tensor:
    if statistics.speech is None:
        assert statistics.mask is not None
        return statistics.mask
    return now.wiener(statistics.speech, statistics.weight)


def _clean(now: NoisySpeech, statistics: Statistics) -> Tensor:
    if statistics.speech is None:
        assert statistics.mask is not None
        return statistics.mask.square() * now.scene.power + statistics.mask * now.noise
    return now.clean_power(statistics.speech, statistics.weight)


def _cost(now: NoisySpeech, statistics: Statistics) -> Tensor:
    if statistics.log_evidence is not None:
        return -statistics.log_evidence / (now.scene.frames * now.noise.shape[-1])
    if statistics.speech is None:
        assert statistics.noise_power is not None
        frames = (statistics.noise_power / now.noise + now.noise.log()).mean(-1)
        return now.scene.total(frames) / now.scene.frames
    return now.cost(statistics.speech, statistics.weight)
