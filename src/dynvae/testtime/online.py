"""EM frame by frame: a causal prior infers the newest latent, and the noise is learned as it goes."""

from __future__ import annotations

__all__ = ["Online", "OnlineEM", "RecursiveNMF", "causal_prior"]

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.distributions import ComplexGaussian
from dynvae.errors import ConfigError
from dynvae.models import DVAE, Latents
from dynvae.models.states import expand_state
from dynvae.testtime.esteps.base import Point
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.noise import Sums
from dynvae.testtime.prior import Decoded, Moves, frozen_prior
from dynvae.testtime.scene import Scene

_SILENT = 1e-10  # amplitude
_TINY = 1e-12


@dataclass(frozen=True)
class Online:
    """How a stream is separated.

    Args:
        iterations: of EM on each frame.
        moves: of the newest latent in each E-step.
        step: of a move.
        context: frames that the encoder sees: the newest, and before it the estimated speech.
        rank: K, the spectral patterns of the noise.
        memory: seconds after which what was learned of the patterns counts for 1/e.
        reaction: seconds in which their activations follow the noise.
        lead: seconds of sound at the beginning that are noise alone.
        absence: log-odds of a frame without speech. A latent that was fitted to the frame has an advantage of some 15
            nats over one that is integrated out, which this makes up for.
        residual: the least gain.
        release: seconds in which the level that the prior expects follows a recording that has become quieter.

    Raises:
        ConfigError: a setting is out of range.
    """

    iterations: int = 1
    moves: int = 3
    step: float = 5e-3
    context: int = 8
    rank: int = 4
    memory: float = 4.0
    reaction: float = 0.1
    lead: float = 0.15
    absence: float = 15.0
    residual: float = 0.03
    release: float = 30.0

    def __post_init__(self) -> None:
        if min(self.iterations, self.moves, self.context, self.rank) < 1:
            raise ConfigError(f"streaming: iterations, moves, context and rank are at least 1: {self}")
        if min(self.step, self.memory, self.reaction, self.release) <= 0 or self.lead < 0 or not 0 <= self.residual < 1:
            raise ConfigError(f"streaming: step, memory, reaction and release are positive, lead is not negative, and "
                              f"residual in [0, 1): {self}")  # fmt: skip


def causal_prior(model: DVAE) -> DVAE:
    """A copy of the model that can follow a stream.

    Raises:
        ConfigError: its decoder sees later frames, it has a latent of the whole sequence, or it is no prior of speech.
    """
    name, copied = type(model).__name__, frozen_prior(model)
    if not model.causal:
        raise ConfigError(
            f"this {name} cannot follow a stream: the likelihood of a frame sees latents of later ones "
            f"('{model.dependencies.likelihood}'); take a causal prior, such as vae, dkf, srnn, vrnn or rvae-causal"
        )
    if model.w_dim:
        raise ConfigError(f"this {name} cannot follow a stream: it has a latent of the whole sequence, which is known "
                          "at its end alone; take vae, dkf, srnn, vrnn or rvae-causal")  # fmt: skip
    return copied


class RecursiveNMF:
    r"""NMF of noise whose past fades: online NMF (Lefèvre, Bach and Févotte, 2011), with the M-step's sums.

    With :math:`u_t = P_t \sum_r w_r V_r^{-2}` and :math:`d_t = \sum_r w_r V_r^{-1}` of frame t,

    .. math::
        A \leftarrow \rho A + W^2 h_t u_t, \quad B \leftarrow \rho B + h_t d_t, \quad W = \sqrt{A / B}

    after each frame, and the same for h with a much shorter memory at each M-step. It is a
    :class:`~dynvae.testtime.noise.Noise` of one frame.

    Args:
        settings: rank and times.
        seconds: from frame to frame.
        first: power of the first frame, ``(1, 1, bins)``.
        generator: what the patterns differ by at first.
    """

    def __init__(self, settings: Online, seconds: float, first: Tensor, generator: torch.Generator) -> None:
        rank, bins = settings.rank, first.shape[-1]
        self._keep, self._keep_h = (math.exp(-seconds / time) for time in (settings.memory, settings.reaction))
        smooth = F.avg_pool1d(first, 9, 1, 4, count_include_pad=False)
        w = smooth * torch.rand(1, rank, bins, generator=generator, dtype=first.dtype).to(first.device)
        self.w = w.clamp(min=_TINY * float(first.mean()))
        self.w = self.w / self.w.sum(2, keepdim=True)
        self.h = first.sum(2, keepdim=True).expand(-1, -1, rank) / rank
        self._a, self._b = torch.zeros_like(self.w), torch.zeros_like(self.w)
        self._past_h = self._next = (torch.zeros_like(self.h), torch.zeros_like(self.h))
        self.variance = self.h @ self.w

    def update(self, sums: Sums) -> None:
        up, down = sums(self.variance)
        a, b = self._past_h
        self._next = (self._keep_h * a + self.h.square() * (up @ self.w.mT), self._keep_h * b + down @ self.w.mT)
        self.h = _root(*self._next, self.h)
        self.variance = self.h @ self.w

    def advance(self, sums: Sums) -> None:
        """Learn the patterns from the frame, and leave it behind."""
        up, down = sums(self.variance)
        h = self.h.mT
        self._a = self._keep * self._a + self.w.square() * h * up
        self._b = self._keep * self._b + h * down
        w = _root(self._a, self._b, self.w)
        total = w.sum(2, keepdim=True)
        self.w, self.h = w / total, self.h * total.mT
        self._a, self._b = self._a / total, self._b * total
        a, b = self._next
        self._past_h = a * total.mT, b / total.mT
        self.variance = self.h @ self.w


def _root(a: Tensor, b: Tensor, before: Tensor) -> Tensor:
    """√(a / b), or what was before where nothing is known; never zero, from which nothing comes back."""
    return torch.where(b > 0, (a / b).sqrt(), before).clamp(min=torch.finfo(a.dtype).tiny)


class _NewestFrame:
    """The prior of one frame, given the model's state before it; a :class:`~dynvae.testtime.prior.Conditioned`."""

    moves: Moves = "frames"
    fed, local = False, True
    present: Tensor | None = None

    def __init__(self, model: DVAE, state: Any, level: Tensor, starts: Tensor) -> None:
        self.model, self.state, self.starts = model, expand_state(state, len(starts)), starts
        self.offset = 2 * level.log()

    def encode(self, samples: int) -> Latents:
        return Latents(self.starts.unsqueeze(1))

    def decode(self, latents: Latents) -> Decoded:
        likelihood, _ = self.model.step_likelihood(self.state, latents.z.squeeze(1))
        assert isinstance(likelihood, ComplexGaussian)
        output = likelihood.log_variance + self.offset
        return _FrameDecoded(latents, output.unsqueeze(1), self.model.step_prior(self.state))

    def feed(self, clean: Tensor) -> None:
        pass


class _FrameDecoded(Decoded):
    """The prior of a step has no axis of time."""

    @property
    def log_prior(self) -> Tensor:
        return self.prior.log_prob(self.latents.z.squeeze(1)).unsqueeze(1)


class OnlineEM:
    """EM on the newest frame of one channel, with what the frames before have left.

    Of each frame, latents are moved up the gradient of ln p(x_t, z_t | past) from four starts: the encoder's mean for
    the frame, for the frame less once and less three times the noise, and the mean of p(z_t | past). They and the
    hypothesis that there is no speech count by their densities.

    Args:
        model: of :func:`causal_prior`.
        settings: see there.
        seconds: from frame to frame.
        seed: of the first noise patterns; all else is deterministic.
    """

    def __init__(self, model: DVAE, settings: Online, seconds: float, seed: int = 0) -> None:
        self.model, self.settings, self.seconds = model, settings, seconds
        self._generator = torch.Generator().manual_seed(seed)
        self._state = model.start(1)
        self._level = model.weight.new_zeros(())
        self._heard: deque[Tensor] = deque(maxlen=settings.context - 1)
        self._frames = 0
        self.noise: RecursiveNMF | None = None

    @torch.no_grad()
    def __call__(self, power: Tensor, peak: float) -> Tensor:
        """The gain of the speech in a frame, ``(bins,)``; silence leaves no trace.

        Args:
            power: ``|x|²``, ``(bins,)``.
            peak: largest magnitude of the samples in the frame.
        """
        s = self.settings
        if peak < _SILENT:
            return torch.zeros_like(power)
        self._level = torch.clamp(self._level * math.exp(-self.seconds / s.release), min=peak)
        scene = Scene.of(power.view(1, 1, -1))
        if self.noise is None:
            self.noise = RecursiveNMF(s, self.seconds, scene.power, self._generator)
        noise, gain = self.noise, power.new_ones(1, 1)
        prior = _NewestFrame(self.model, self._state, self._level, self._starts(scene.power, noise.variance))
        latents, square = prior.encode(0), torch.zeros(())
        alone = s.absence if self._frames * self.seconds >= s.lead else math.inf
        for _ in range(s.iterations):
            now = NoisySpeech(scene, noise.variance, gain)
            for _ in range(s.moves):
                (slope,) = Point(prior, scene, latents, gradient=True).gradient(now)
                square = 0.99 * square + 0.01 * slope.square()
                latents = Latents(latents.z + s.step * slope / (square.sqrt() + 1e-15))
            point = Point(prior, scene, latents, gradient=False)
            speech = torch.cat([point.heard(now), torch.zeros_like(scene.power)])
            joint = now.log_prob(speech)
            joint[:-1] += point.log_prior
            joint[-1] += min(alone, 1e9)
            weight = joint.softmax(0).unsqueeze(0)

            def sums(variance: Tensor, speech: Tensor = speech, weight: Tensor = weight) -> tuple[Tensor, Tensor]:
                return NoisySpeech(scene, variance, gain).noise_sums(speech, weight)

            noise.update(sums)
        now = NoisySpeech(scene, noise.variance, gain)
        mask, clean = now.wiener(speech, weight), now.clean_power(speech, weight)
        noise.advance(sums)
        self._advance(latents.z[weight[0, :-1, 0].argmax()], clean[0])
        return mask[0, 0].clamp(min=s.residual)

    def _starts(self, power: Tensor, noise: Tensor) -> Tensor:
        scale = self._level.square()
        newest = torch.cat([power, torch.maximum(power - noise, 0.01 * power),
                            torch.maximum(power - 3 * noise, 1e-4 * power)]) / scale  # fmt: skip
        before = [frame.expand(3, -1, -1) for frame in self._heard]
        x = torch.cat([*before, newest], 1)
        zero = Latents(x.new_zeros(3, x.shape[1], self.model.noise_dim))
        encoded = self.model.posterior(x, noise=zero).latents.z[:, -1]
        return torch.cat([encoded, self.model.step_prior(self._state).mean.view(1, -1)])

    def _advance(self, z: Tensor, clean: Tensor) -> None:
        frame = (clean / self._level.square()).clamp(min=_TINY)
        _, state = self.model.step_likelihood(self._state, z)
        self._state = self.model.advance(state, z, frame)
        self._heard.append(frame.unsqueeze(0))
        self._frames += 1
