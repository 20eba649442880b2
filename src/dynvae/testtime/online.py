"""EM frame by frame: the prior of the newest frame, given all before it, and noise that is learned as it goes."""

from __future__ import annotations

__all__ = ["FrameByFrame", "Online", "RecursiveNMF"]

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dynvae.distributions import ComplexGaussian, ComplexGaussianLikelihood
from dynvae.errors import ConfigError
from dynvae.models import DVAE, Latents
from dynvae.models.states import expand_state
from dynvae.testtime.esteps import Langevin
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.noise import Sums, update_gain
from dynvae.testtime.prior import Decoded, frozen
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class Online:
    """How a stream is separated.

    Args:
        estep: how the newest latent is inferred, from the encoder's proposal on.
        iterations: of EM on each frame.
        rank: K, patterns of the noise.
        memory: seconds after which what was learned of the noise counts for 1/e.
        context: frames that the encoder sees, the newest included.
        least_gain: no frame's gain g falls below.
        gains: estimate the gains.
    """

    estep: Langevin = field(default_factory=lambda: Langevin(chains=4))
    iterations: int = 4
    rank: int = 4
    memory: float = 2.0
    context: int = 8
    gains: bool = True
    least_gain: float = 1e-3
    subtract: float = 0.0
    exponent: float = 0.5
    init: float = 2.0
    spread: float = 0.5
    release: float = 30.0
    hmemory: float = 0.2


class RecursiveNMF:
    def __init__(self, settings: Online, frames_per_second: float, batch: int, bins: int, generator) -> None:
        self.s = settings
        self.keeph = float(torch.exp(torch.tensor(-1 / (max(settings.hmemory, 1e-3) * frames_per_second))))
        self.keep = float(torch.exp(torch.tensor(-1 / (settings.memory * frames_per_second))))
        self.generator = generator
        self.batch, self.bins = batch, bins
        self.w: Tensor | None = None

    def begin(self, power: Tensor) -> None:
        """Power (batch, bins)"""
        s = self.s
        jitter = 1 + s.spread * (torch.rand(s.rank, self.bins, generator=self.generator) * 2 - 1)
        if s.rank == 1:
            jitter = jitter * 0 + 1
        w = power.unsqueeze(1) * jitter
        w = w / w.sum(2, keepdim=True)
        self.w = w
        self.b = torch.full_like(w, s.init)
        self.a = self.b * w.square()  # scale of B: h·down
        self.b = self.b
        self.h = power.sum(-1, keepdim=True).expand(-1, s.rank) / s.rank
        n = 1 / (1 - self.keeph) * 0.5
        self.bh = n * self.bins / self.h.unsqueeze(1) / s.rank
        self.ah = self.h.unsqueeze(1).square() * self.bh

    def frame(self, level: Tensor, floor: Tensor) -> None:
        self.floor = floor
        self.hr = (self.h / level).unsqueeze(1)
        self.level = level
        self.variance = self._product()

    def _product(self) -> Tensor:
        return torch.maximum(self.hr @ self.w, self.floor)

    def update(self, sums: Sums) -> None:
        up, down = sums(self.variance)
        self.ah_new = self.ah / self.level.unsqueeze(1) * self.keeph + self.hr.square() * (up @ self.w.mT)
        self.bh_new = self.bh * self.level.unsqueeze(1) * self.keeph + (down @ self.w.mT)
        self.hr = torch.maximum((self.ah_new / self.bh_new).sqrt(), self.floor)
        self.variance = self._product()

    def absorb(self, sums: Sums, level: Tensor) -> None:
        up, down = sums(self.variance)
        h = self.hr.mT
        self.a = self.keep * self.a + self.w.square() * h * up
        self.b = self.keep * self.b + h * down
        w = (self.a / self.b).sqrt()
        total = w.sum(2, keepdim=True)
        self.w = w / total
        # A/B stands for W²: it is scaled with it
        self.a = self.a / total.square()
        self.ah = self.ah_new * self.level.unsqueeze(1) * total.mT.square()
        self.bh = self.bh_new / self.level.unsqueeze(1)
        self.ah, self.bh = self.ah_new * self.level.unsqueeze(1), self.bh_new / self.level.unsqueeze(1)
        self.h = self.hr.squeeze(1) * total.squeeze(2) * level


class _Frame:
    """The prior of one frame, given all before."""

    moves = "frames"
    fed = False
    local = True

    def __init__(self, model: DVAE, state: Any, start: Tensor) -> None:
        self.model, self.state, self.z0 = model, state, start
        self.law = model.step_prior(state)
        self.last: Latents | None = None

    def encode(self, samples: int) -> Latents:
        return Latents(self.z0.repeat_interleave(samples, 0).unsqueeze(1))

    def decode(self, latents: Latents) -> Decoded:
        self.last = latents
        z = latents.z.squeeze(1)
        likelihood, _ = self.model.step_likelihood(self.state, z)
        law = self.law.expand(self.law.batch_shape)
        return _FrameDecoded(latents, likelihood.log_variance.unsqueeze(1), law)

    def feed(self, clean: Tensor) -> None:
        pass


class _FrameDecoded(Decoded):
    @property
    def log_prior(self) -> Tensor:
        return self.prior.log_prob(self.latents.z.squeeze(1)).unsqueeze(1)


class FrameByFrame:
    def __init__(self, model: DVAE, settings: Online, frames_per_second: float, batch: int, seed: int = 0) -> None:
        self.model = frozen(model)
        self.s = settings
        self.batch = batch
        self.noise = RecursiveNMF(settings, frames_per_second, batch, model.x_dim, torch.Generator().manual_seed(seed))
        self.generators = [torch.Generator().manual_seed(seed) for _ in range(batch)]
        self.state = self.model.start(batch * settings.estep.chains)
        self.history: deque[Tensor] = deque(maxlen=settings.context)
        self.gain = torch.ones(batch, 1)

    @torch.no_grad()
    def __call__(self, power: Tensor, level: Tensor) -> Tensor:
        """(batch, bins), level (batch, 1) squared amplitude -> mask (batch, bins)."""
        s = self.s
        if self.noise.w is None:
            self.noise.begin(power)
        x = (power / level).clamp(min=1e-12).unsqueeze(1)
        scene = Scene.of(x)
        self.noise.frame(level, scene.floor)
        draws = Draws(self.generators, scene)
        seen = x
        if s.subtract:
            seen = torch.maximum(x - s.subtract * self.noise.variance, 0.05 * x)
        self.history.append(seen)
        context = torch.cat(list(self.history), 1)
        zero = Latents(x.new_zeros(self.batch, context.shape[1], self.model.z_dim))
        z = self.model.posterior(context, noise=zero).latents.z[:, -1]
        prior = _Frame(self.model, self.state, z)
        chain = s.estep.start(prior, scene, draws)
        gain = self.gain
        for _ in range(s.iterations):
            statistics = chain.sweep(NoisySpeech(scene, self.noise.variance, gain))
            speech = statistics.speech
            self.noise.update(lambda v: NoisySpeech(scene, v, gain).noise_sums(speech))
            if s.gains:
                gain = update_gain(gain, NoisySpeech(scene, self.noise.variance, gain), speech, None, s.least_gain)
        now = NoisySpeech(scene, self.noise.variance, gain)
        mask = now.wiener(speech)
        clean = now.clean_power(speech).clamp(min=1e-12)
        self.noise.absorb(lambda v: NoisySpeech(scene, v, gain).noise_sums(speech), level)
        zt = prior.last.z.squeeze(1)
        _, state = self.model.step_likelihood(self.state, zt)
        self.state = self.model.advance(state, zt, clean.squeeze(1).repeat_interleave(s.estep.chains, 0))
        self.history[-1] = clean if s.subtract < 0 else seen
        self.gain = gain
        return mask.squeeze(1)
