"""What an E-step is, and what it hands to the M-step."""

from __future__ import annotations

__all__ = ["Chain", "EStep", "Point", "Statistics", "joined"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from dynvae.models import Latents
from dynvae.testtime.likelihood import Likelihood, NoisySpeech
from dynvae.testtime.prior import Conditioned
from dynvae.testtime.scene import Draws, Scene


@dataclass(eq=False)
class Statistics:
    """What the M-step needs, in one of two forms.

    *Marginal*: samples of the speech variance; the noise minimises ``Σ_r w_r Σ_ft (|x|²/V_r + ln V_r)``.
    *Complete data*: the expected power of the noise, ``E|x - s|²``, and the estimate's gain; there is no sample then.

    Attributes:
        speech: σ_r², ``(batch · samples, time, bins)``, samples of a recording side by side; None in the second form.
        weight: w_r, ``(batch, samples, time)``, of sum one over the samples; None if all are equal.
        noise_power: ``E|x - s|²``, ``(batch, time, bins)``, in the second form.
        mask: the gain of the estimate, ``(batch, time, bins)``, in the second form.
        gain: g, ``(batch, time)``, where the E-step has chosen it.
        log_evidence: ln p(x) up to a constant, ``(batch,)``, where it is exact.
        frames: ln p(x_t | ...) of each frame, up to a constant, or a bound, ``(batch, time)``, where the E-step has it.
        latents: of the samples, ``(batch · samples, time, z_dim)``.
        log_prior: their ln p(z_t | ...), ``(batch · samples, time)``.
        entropy: of q(z_t), ``(batch · samples, time)``, where it is not the samples that tell it.
        modes: what a mixture of priors makes of each frame: p(mode | x), ``(batch, modes, time)``.
        info: numbers worth telling, such as the rate of acceptance.
    """

    speech: Tensor | None = None
    weight: Tensor | None = None
    noise_power: Tensor | None = None
    mask: Tensor | None = None
    gain: Tensor | None = None
    log_evidence: Tensor | None = None
    frames: Tensor | None = None
    latents: Tensor | None = None
    log_prior: Tensor | None = None
    entropy: Tensor | None = None
    modes: Tensor | None = None
    info: dict[str, float] = field(default_factory=dict)


class Chain(Protocol):
    """An E-step at work on a batch of recordings; its state lives on from one iteration to the next."""

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        """One E-step at the present noise and gain."""
        ...


class EStep(Protocol):
    """The settings of an E-step."""

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> Chain:
        """Begin on recordings."""
        ...

    def gentler(self) -> EStep:
        """The same with a smaller step, for another attempt."""
        ...


class Point:
    """Latents that were decoded once; the graph back to them is kept until their gradient has been asked for."""

    def __init__(self, prior: Conditioned, scene: Scene, latents: Latents, *, gradient: bool) -> None:
        self.scene = scene
        with torch.set_grad_enabled(gradient):
            leaves = _each(latents, lambda part: part.detach().requires_grad_(gradient))
            self.decoded = prior.decode(leaves)
            self.log_prior = self.decoded.log_prior
            self.log_prior_w = self.decoded.log_prior_w
        self.latents = _each(leaves, Tensor.detach)
        self.leaves = [part for part in leaves if part is not None]
        self.speech: Tensor | None = None

    def heard(self, likelihood: Likelihood) -> Tensor:
        """The variance of speech."""
        if self.speech is None:
            self.speech = likelihood.of(self.decoded.output)
        return self.speech

    def statistics(self, likelihood: Likelihood) -> Statistics:
        """The point as samples of the latents."""
        return Statistics(
            speech=self.heard(likelihood), latents=self.latents.z, log_prior=self.decoded.log_prior.detach()
        )

    def gradient(self, likelihood: Likelihood, temperature: float = 1.0) -> list[Tensor]:
        """Of ln p(x, z): by z, and by w where there is one.

        Args:
            likelihood: at the present noise and gain.
            temperature: what the likelihood's part is divided by.
        """
        score = likelihood.score(self.heard(likelihood))
        score = score if temperature == 1 else score / temperature
        outputs, upstream = [self.decoded.output], [score]
        ones = torch.ones_like(self.log_prior)
        if self.scene.valid is not None:
            ones = self.scene.valid.squeeze(-1).repeat_interleave(len(ones) // self.scene.batch, 0)
        outputs.append(self.log_prior)
        upstream.append(ones)
        if self.log_prior_w is not None:
            outputs.append(self.log_prior_w)
            upstream.append(torch.ones_like(self.log_prior_w))
        return self._back(outputs, upstream, keep=False)

    def slope(self, upstream: Tensor) -> list[Tensor]:
        """The gradient of the decoder's output times this, ``(rows, time, feature)``: by z and w. The graph stays."""
        return self._back([self.decoded.output], [upstream], keep=True)

    def _back(self, outputs: list[Tensor], upstream: list[Tensor], *, keep: bool) -> list[Tensor]:
        used = [(out, up) for out, up in zip(outputs, upstream, strict=True) if out.requires_grad]
        found = torch.autograd.grad(
            [out for out, _ in used], self.leaves, [up for _, up in used], retain_graph=keep, allow_unused=True
        )
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(self.leaves, found, strict=True)]


def _each(latents: Latents, function: Callable[[Tensor], Tensor]) -> Latents:
    return Latents(function(latents.z), None if latents.w is None else function(latents.w))


def joined(parts: Sequence[Statistics], scene: Scene) -> Statistics:
    """The statistics of recordings that were worked on one by one, in a batch."""
    if len(parts) == 1:
        return parts[0]
    time = scene.power.shape[1]

    def together(name: str, axis: int, fill: float) -> Any:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        padded = []
        for value in values:
            shape = list(value.shape)
            shape[axis] = time - shape[axis]
            padded.append(torch.cat([value, value.new_full(shape, fill)], axis))
        return torch.cat(padded)

    frames: dict[str, Any] = {name: together(name, 1, 0.0) for name in ("latents", "log_prior", "entropy")}
    return Statistics(speech=together("speech", 1, 1.0), gain=together("gain", 1, 1.0), info=parts[0].info, **frames)
