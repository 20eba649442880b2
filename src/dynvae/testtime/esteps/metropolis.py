"""Metropolis-Hastings: a random walk, or one that follows the gradient, whose steps are accepted or not."""

from __future__ import annotations

__all__ = ["Metropolis"]

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.errors import ConfigError
from dynvae.models import Latents
from dynvae.testtime.esteps.base import Point, Statistics
from dynvae.testtime.likelihood import Likelihood
from dynvae.testtime.prior import Conditioned, Moves
from dynvae.testtime.scene import Draws, Scene


@dataclass(frozen=True)
class Metropolis:
    r"""Samples of p(z | x) by Metropolis and Hastings' rule (MCEM; Leglaive, Girin and Horaud, 2018).

    The proposal is :math:`z' = z + \sqrt{\epsilon}\, \varepsilon` or, with drift (MALA; Roberts and Tweedie, 1996),
    :math:`z' = z + \lambda \nabla \ln p(x, z) + \sqrt{2 \lambda}\, \varepsilon`. What is accepted together follows from
    the prior (:data:`~dynvae.testtime.prior.Moves`): frames alone if they are independent and the decoder is local; odd
    frames and then even ones if they form a Markov chain; else the whole sequence.

    Args:
        step: ε, the variance of the walk, or λ with drift; where it starts, if it adapts.
        steps: steps in each E-step.
        burn_in: of these are not kept.
        chains: how many chains, side by side in one batch.
        drift: whether proposals follow the gradient.
        adapt: let the step of each recording seek an acceptance of 0.3, or 0.57 with drift.
        accept: ``"exact"``, or as published ``"frames"``: each frame alone, whatever the model.
        tame: divide a step along the gradient by 1 + λ‖∇‖, the norm being that of a whole sequence.
        jitter: variance of noise that is added before the first E-step and, with drift, before each.

    Raises:
        ConfigError: a setting is out of range.
    """

    step: float = 0.01
    steps: int = 10
    burn_in: int = 5
    chains: int = 1
    drift: bool = False
    adapt: bool = True
    accept: Literal["exact", "frames"] = "exact"
    tame: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.step <= 0 or self.chains < 1 or not 0 <= self.burn_in < self.steps or self.jitter < 0:
            raise ConfigError(f"Metropolis: step and chains are positive, burn_in is less than steps: {self}")
        if self.accept not in ("exact", "frames"):
            raise ConfigError(f"Metropolis: accept is 'exact' or 'frames', not {self.accept!r}")

    def gentler(self) -> Metropolis:
        return replace(self, step=0.3 * self.step)

    def start(self, prior: Conditioned, scene: Scene, draws: Draws) -> Walk:
        return Walk(self, prior, scene, draws)


@dataclass(eq=False)
class _Place:
    """Where the chains are: all that a decision needs. The tensors' rows are the chains."""

    latents: Latents
    speech: Tensor
    log_prior: Tensor
    log_prior_w: Tensor | None
    log_likelihood: Tensor
    gradient: list[Tensor]

    def moved(self, to: _Place, where: Tensor) -> _Place:
        """The other place where ``(rows, time)`` or ``(rows, 1)`` says so."""

        def pick(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(where.reshape(where.shape + (1,) * (new.dim() - 2)), new, old)

        row = where[:, 0]
        w = None if self.latents.w is None or to.latents.w is None else pick(to.latents.w, self.latents.w)
        prior_w = to.log_prior_w
        if prior_w is not None and self.log_prior_w is not None:
            prior_w = torch.where(row, prior_w, self.log_prior_w)
        return _Place(
            Latents(pick(to.latents.z, self.latents.z), w),
            pick(to.speech, self.speech),
            pick(to.log_prior, self.log_prior),
            prior_w,
            pick(to.log_likelihood, self.log_likelihood),
            [pick(new, old) for new, old in zip(to.gradient, self.gradient, strict=True)],
        )


class Walk:
    """:class:`Metropolis` at work."""

    def __init__(self, settings: Metropolis, prior: Conditioned, scene: Scene, draws: Draws) -> None:
        self.settings, self.prior, self.scene, self.draws = settings, prior, scene, draws
        self.moves: Moves = "frames" if settings.accept == "frames" else prior.moves
        self.apart = self.moves == "sequence" or (self.moves == "frames" and prior.local)
        self.log_step = scene.power.new_full((scene.batch,), math.log(settings.step))
        self.sweeps = 0
        self.latents = prior.encode(settings.chains)

    def _shaken(self, latents: Latents, variance: float | Tensor) -> Latents:
        scale = variance**0.5 if isinstance(variance, float) else self._rows(variance).sqrt()
        chains = self.settings.chains
        z = latents.z + scale * self.draws.normal(chains, latents.z.shape[-1])
        if latents.w is None or self.moves != "sequence":
            return Latents(z, latents.w)
        scale = scale if isinstance(scale, float) else scale[:, 0]
        return Latents(z, latents.w + scale * self.draws.normal(chains, latents.w.shape[-1], frames=False))

    def _rows(self, values: Tensor) -> Tensor:
        """One number a recording, ``(batch · chains, 1, 1)``."""
        return values.repeat_interleave(self.settings.chains).view(-1, 1, 1)

    def _place(self, latents: Latents, likelihood: Likelihood) -> _Place:
        point = Point(self.prior, self.scene, latents, gradient=self.settings.drift)
        speech = point.heard(likelihood)
        gradient = self._tamed(point.gradient(likelihood)) if self.settings.drift else []
        w = None if point.log_prior_w is None else point.log_prior_w.detach()
        return _Place(point.latents, speech, point.log_prior.detach(), w, likelihood.log_prob(speech), gradient)

    def _tamed(self, gradient: list[Tensor]) -> list[Tensor]:
        if not self.settings.tame:
            return gradient
        norm = sum(part.flatten(1).square().sum(1) for part in gradient)
        assert isinstance(norm, Tensor)
        factor = 1 / (1 + self._rows(self.log_step.exp()) * norm.sqrt().view(-1, 1, 1))
        return [part * factor.view(-1, *[1] * (part.dim() - 1)) for part in gradient]

    def sweep(self, likelihood: Likelihood) -> Statistics:
        s, kept = self.settings, []
        accepted: list[Tensor] = []
        self.sweeps += 1
        if s.jitter and (s.drift or self.sweeps == 1):
            self.latents = self._shaken(self.latents, s.jitter)
        mixed = self.moves == "frames" and not self.apart and not s.drift
        steps = self._mixed_steps if mixed else self._steps
        for step, place in enumerate(steps(likelihood, accepted)):
            if step >= s.burn_in:
                kept.append((place.speech, place.latents.z, place.log_prior))
        self.latents = place.latents
        # The kept states of a chain side by side, and so those of a recording.
        speech, z, log_prior = (torch.stack(some, 1).flatten(0, 1) for some in zip(*kept, strict=True))
        rates = torch.stack(accepted).mean(0)
        if s.adapt:
            self.log_step += (rates - (0.57 if s.drift else 0.3)) * 2 / self.sweeps**0.6
        info = {"acceptance": float(rates.mean())}
        return Statistics(speech=speech, latents=z, log_prior=log_prior, info=info)

    def _steps(self, likelihood: Likelihood, accepted: list[Tensor]) -> Iterator[_Place]:
        """The place after each step; the rates of acceptance are appended."""
        place = self._place(self.latents, likelihood)
        for _ in range(self.settings.steps):
            for block in self._blocks(place.latents.z):
                place, rate = self._step(place, block, likelihood)
                accepted.append(rate)
            yield place

    def _mixed_steps(self, likelihood: Likelihood, accepted: list[Tensor]) -> Iterator[_Place]:
        """The same where frames are accepted alone although the decoder looks across them.

        What was accepted has to be decoded anew: together with the next proposal, which does not depend on it.
        """
        latents = self.latents
        for step in range(self.settings.steps):
            proposal = self._shaken(latents, self.log_step.exp())
            place, new = self._places(latents, proposal, likelihood)
            if step:
                yield place
            gain = new.log_likelihood - place.log_likelihood + new.log_prior - place.log_prior
            where = self._decide(gain, torch.zeros_like(gain[:, :1]), place, new, None)
            accepted.append(self._rate(where, None))
            latents = Latents(torch.where(where.unsqueeze(-1), proposal.z, latents.z), latents.w)
        yield self._place(latents, likelihood)

    def _places(self, one: Latents, other: Latents, likelihood: Likelihood) -> tuple[_Place, _Place]:
        """Two places, decoded as twice as many chains."""
        chains = self.settings.chains

        def join(a: Tensor, b: Tensor) -> Tensor:
            return torch.cat([a.unflatten(0, (-1, chains)), b.unflatten(0, (-1, chains))], 1).flatten(0, 1)

        w = None if one.w is None or other.w is None else join(one.w, other.w)
        both = self._place(Latents(join(one.z, other.z), w), likelihood)

        def part(values: Tensor, index: int) -> Tensor:
            return values.unflatten(0, (-1, 2, chains))[:, index].flatten(0, 1)

        def place(latents: Latents, index: int) -> _Place:
            prior_w = None if both.log_prior_w is None else part(both.log_prior_w, index)
            speech, prior, heard = (part(x, index) for x in (both.speech, both.log_prior, both.log_likelihood))
            return _Place(latents, speech, prior, prior_w, heard, [])

        return place(one, 0), place(other, 1)

    def _blocks(self, z: Tensor) -> list[Tensor | None]:
        """The frames that move together, ``(1, time, 1)``; None for all."""
        if self.moves != "oddeven":
            return [None]
        odd = torch.arange(z.shape[1], device=z.device).remainder(2).view(1, -1, 1) > 0
        return [odd, ~odd]

    def _step(self, place: _Place, block: Tensor | None, likelihood: Likelihood) -> tuple[_Place, Tensor]:
        """One proposal for all chains; the new place, and the rate of acceptance of each recording."""
        step = self.log_step.exp()
        start = place.latents
        if self.settings.drift:
            start = self._drifted(place)
            proposal = self._shaken(start, 2 * step)
        else:
            proposal = self._shaken(start, step)
        if block is not None:
            proposal = Latents(torch.where(block, proposal.z, place.latents.z), proposal.w)
        new = self._place(proposal, likelihood)
        gain = new.log_likelihood - place.log_likelihood
        prior = new.log_prior - place.log_prior
        gain = gain + (prior if self.moves != "oddeven" else prior + F.pad(prior[:, 1:], (0, 1)))
        if self.moves == "oddeven" and self.scene.lengths is not None:
            last = self._rows(self.scene.lengths).squeeze(-1) - 1
            here = torch.arange(gain.shape[1], device=gain.device) == last
            gain = torch.where(here, gain - F.pad(prior[:, 1:], (0, 1)), gain)  # the padding has no say
        whole = new.log_likelihood.new_zeros(len(gain), 1)
        if self.settings.drift:
            back = self._drifted(new)
            there, whole = self._log_moves(proposal, start)
            again, other = self._log_moves(place.latents, back)
            gain, whole = gain + again - there, other - whole
        where = self._decide(gain, whole, place, new, block)
        if self.apart:
            return place.moved(new, where), self._rate(where, block)
        z = torch.where(where.unsqueeze(-1), new.latents.z, place.latents.z)
        return self._place(Latents(z, place.latents.w), likelihood), self._rate(where, block)

    def _decide(self, gain: Tensor, whole: Tensor, place: _Place, new: _Place, block: Tensor | None) -> Tensor:
        """What is accepted, ``(rows, time)`` or ``(rows, 1)``."""
        if self.moves == "sequence":
            total = self.scene.total(gain.unflatten(0, (self.scene.batch, -1))).flatten().unsqueeze(-1) + whole
            if new.log_prior_w is not None and place.log_prior_w is not None:
                total = total + (new.log_prior_w - place.log_prior_w).unsqueeze(-1)
            return self.draws.uniform(self.settings.chains, 1, frames=False).log() < total
        where = self.draws.uniform(self.settings.chains, 1).squeeze(-1).log() < gain
        return where if block is None else where & block.squeeze(-1)

    def _drifted(self, place: _Place) -> Latents:
        """A step along the gradient."""
        step = self._rows(self.log_step.exp())
        z = place.latents.z + step * place.gradient[0]
        w = place.latents.w
        if w is not None and self.moves == "sequence":
            w = w + step.squeeze(-1) * place.gradient[1]
        return Latents(z, w)

    def _log_moves(self, to: Latents, mean: Latents) -> tuple[Tensor, Tensor]:
        """Log-density of a proposal around its mean, up to a constant: of each frame, and of w."""
        step = self._rows(self.log_step.exp()).squeeze(-1)
        frames = -(to.z - mean.z).square().sum(-1) / (4 * step)
        if to.w is None or mean.w is None:
            return frames, torch.zeros_like(step)
        return frames, -(to.w - mean.w).square().sum(-1, keepdim=True) / (4 * step)

    def _rate(self, where: Tensor, block: Tensor | None) -> Tensor:
        accepted = where.to(self.scene.power.dtype).unflatten(0, (self.scene.batch, -1))
        if where.shape[1] == 1:
            return accepted.mean((1, 2))
        moved = torch.ones_like(self.scene.power[:, :, 0])
        moved = moved if block is None else moved * block.squeeze(-1)
        return self.scene.total(accepted).mean(1) / self.scene.total(moved).clamp(min=1)
