"""Mixtures of priors: in each frame one of several models of clean speech is at work, and which one is inferred."""

from __future__ import annotations

__all__ = ["ConditionedMixture", "PriorMixture", "start"]

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor

from dynvae.classics.chain import smoothed
from dynvae.errors import ConfigError
from dynvae.models import Latents
from dynvae.testtime.discrete import ConditionedStates
from dynvae.testtime.esteps.base import Chain, EStep, Statistics
from dynvae.testtime.likelihood import NoisySpeech
from dynvae.testtime.prior import Conditioned, Decoded, Moves, Prior
from dynvae.testtime.scene import Draws, Scene

_KEEP = 0.9  # of the moments of the latents, from one E-step to the next
_WARM = 5  # E-steps after which samples have begun to tell the spread of their latents


class PriorMixture:
    r"""A mixture of priors, one of them at work in each frame (VAE-MM: Sadeghi and Alameda-Pineda, 2020; Sw-VAE: 2021).

    .. math::
        p(s, z, m) = \prod_t p(m_t | m_{t-1})\, p(z_t | m_t)\, p(s_t | z_t, m_t), \qquad
        p(m_t = i) = \pi_i \quad \text{or} \quad p(m_t = j | m_{t-1} = i) = A_{ij}.

    The modes are any priors of the same bins: audio-only and audio-visual models, models of several speakers, finitely
    many spectra. Each mode has latents and an E-step of its own, any E-step: the posterior is
    :math:`q(m)\, q(z, s | m)`, and not, as in the papers, :math:`q(m)\, q(z)\, q(s)`, in which one z would have to
    serve all modes, whose latent spaces have nothing in common. With ℓ_t(i) the bound of ln p(x_t | m_t = i),

    .. math::
        \ell_t(i) = E_q[\ln p(x_t | z_t, i) + \ln p(z_t | i) - \ln q(z_t | i)], \qquad
        \ln q(m) = \sum_t \ell_t(m_t) + \ln p(m_t | m_{t-1}) + \mathrm{const},

    whose marginals, by the forward-backward algorithm in log space if there are transitions, are the weights of the
    modes' samples in the M-step. Of samples, q(z_t | i) is the Gaussian with their moments; these and their mean of
    ln p are kept from one E-step to the next with weight 0.9, and for the first five E-steps, in which they tell
    little, modes are as probable as before the recording. The log-odds are sums over hundreds of bins, so that modes
    are mostly sure; ``temper`` divides ℓ.

    A mode that asks for a condition, such as lips, has no say where there is none. So where it is absent altogether,
    and another mode asks for none, the mixture is that other mode.

    Args:
        priors: the modes.
        weights: π, ``(modes,)``; of the first frame, where there are transitions; equal by default.
        transitions: A, ``(modes, modes)``, rows of sum one; None for independent frames.
        learn: update π or A for each recording, as M-step, with what they start from as ``prior_frames`` frames.
        prior_frames: how many frames what they start from counts.
        temper: see above.

    Raises:
        ConfigError: there is no prior, they have not the same bins, or the numbers are no probabilities.

    Example:
        >>> from dynvae.models import VAE
        >>> from dynvae.testtime import DVAEPrior, PriorMixture
        >>> quiet, loud = (DVAEPrior(VAE(x_dim=33, z_dim=2)) for _ in range(2))
        >>> PriorMixture.switching([quiet, loud], stay=0.9).transitions
        tensor([[0.9000, 0.1000],
                [0.1000, 0.9000]])
    """

    moves: Moves = "sequence"

    def __init__(
        self,
        priors: Sequence[Prior],
        weights: Tensor | Sequence[float] | None = None,
        transitions: Tensor | None = None,
        *,
        learn: bool = True,
        prior_frames: float = 10.0,
        temper: float = 1.0,
    ) -> None:
        self.priors = list(priors)
        count = len(self.priors)
        if not count or len({prior.bins for prior in self.priors}) > 1:
            raise ConfigError(f"a mixture is of priors of the same bins, not {[prior.bins for prior in self.priors]}")
        self.weights = torch.full((count,), 1 / count) if weights is None else torch.as_tensor(weights)
        self.transitions = transitions
        for name, law, shape in (("weights", self.weights, (count,)), ("transitions", transitions, (count, count))):
            if law is None:
                continue
            total = law.sum(-1)
            if law.shape != shape or bool((law < 0).any()) or not torch.allclose(total, torch.ones_like(total)):
                raise ConfigError(
                    f"the {name} of {count} modes are {shape}, not negative, of sum one; not {law.tolist()}"
                )
        if temper <= 0 or prior_frames <= 0:
            raise ConfigError(f"temper and prior_frames are positive, not {temper}, {prior_frames}")
        self.learn, self.prior_frames, self.temper = learn, prior_frames, temper
        self.bins = self.priors[0].bins

    @classmethod
    def switching(cls, priors: Sequence[Prior], stay: float = 0.9, **options: bool | float) -> PriorMixture:
        """The Sw-VAE: a Markov chain that stays in its mode with this probability, and otherwise takes any other.

        Args:
            priors: the modes.
            stay: the probability, to start with.
            options: ``learn``, ``prior_frames`` and ``temper``.
        """
        count = len(priors)
        if count < 2 or not 0 < stay < 1:
            raise ConfigError(f"a chain switches between two modes or more and stays with a probability, not {stay}")
        transitions = torch.full((count, count), (1 - stay) / (count - 1))
        return cls(priors, None, transitions.fill_diagonal_(stay), **options)  # type: ignore[arg-type]

    def on(self, scene: Scene) -> ConditionedMixture:
        return ConditionedMixture(self, scene)


class ConditionedMixture:
    """:class:`PriorMixture` at work."""

    moves: Moves = "sequence"
    local = False
    present: Tensor | None = None

    def __init__(self, mixture: PriorMixture, scene: Scene) -> None:
        self.mixture, self.scene = mixture, scene
        self.modes = [prior.on(scene) for prior in mixture.priors]
        self.fed = any(mode.fed for mode in self.modes)
        everywhere = torch.ones(scene.power.shape[:2], dtype=torch.bool, device=scene.power.device)
        possible = torch.stack([everywhere if m.present is None else m.present for m in self.modes], 2)
        self.possible = possible | ~possible.any(2, keepdim=True)
        """Whether a mode has a say, ``(batch, time, modes)``: all have where else none would."""

    def encode(self, samples: int) -> Latents:
        self._refuse()

    def decode(self, latents: Latents) -> Decoded:
        self._refuse()

    def feed(self, clean: Tensor) -> None:
        """Every mode is fed the same."""
        for mode in self.modes:
            if mode.fed:
                mode.feed(clean)

    def _refuse(self) -> NoReturn:
        raise ConfigError("the modes of a mixture have latents of their own, which are inferred one by one")


def start(estep: EStep, prior: Conditioned, scene: Scene, draws: Draws) -> Chain:
    """Begin an E-step on recordings: on a mixture, one for each of its modes."""
    if not isinstance(prior, ConditionedMixture):
        return estep.start(prior, scene, draws)
    return _Modes(estep, prior, scene, draws)


class _Modes:
    """The E-steps of the modes side by side, and that of the modes."""

    def __init__(self, estep: EStep, prior: ConditionedMixture, scene: Scene, draws: Draws) -> None:
        mixture, like = prior.mixture, scene.power
        self.mixture, self.scene = mixture, scene
        # What has no say in any frame need not be inferred.
        self.alive = [index for index in range(len(prior.modes)) if bool(prior.possible[:, :, index].any())]
        self.chains = [
            start(estep, prior.modes[index], scene, draws if place == 0 else draws.fork(index))
            for place, index in enumerate(self.alive)
        ]
        self.spreads = [_Spread(scene) for _ in self.chains]
        self.closed = torch.where(prior.possible, 0, -math.inf)[:, :, self.alive].to(like)
        self.open = prior.possible[:, :, self.alive].all(2)  # the frames that tell of π and A
        self.count = len(prior.modes)
        self.start_weights = mixture.weights.to(like)[self.alive].expand(scene.batch, -1)
        self.start_transitions: Tensor | None = None
        if mixture.transitions is not None:
            chosen = mixture.transitions.to(like)[self.alive][:, self.alive]
            self.start_transitions = (chosen / chosen.sum(1, keepdim=True)).expand(scene.batch, -1, -1)
        self.weights, self.transitions = self.start_weights, self.start_transitions
        self.exact = (
            all(isinstance(mode, ConditionedStates) and mode.log_transitions is None for mode in prior.modes)
            and mixture.temper == 1
        )
        self.sweeps = 0

    def sweep(self, likelihood: NoisySpeech) -> Statistics:
        found = [chain.sweep(likelihood) for chain in self.chains]
        if len(found) == 1:
            return replace(found[0], modes=self._all(torch.ones_like(self.closed)))
        evidence = [_evidence(one, likelihood, spread) for one, spread in zip(found, self.spreads, strict=True)]
        frames = torch.stack(evidence, 2).nan_to_num(nan=-1e30) / self.mixture.temper
        self.sweeps += 1
        warm = self.sweeps <= _WARM and any(one.latents is not None and one.entropy is None for one in found)
        frames = torch.zeros_like(frames) if warm else frames
        tiny = torch.finfo(frames.dtype).tiny
        weights = self.weights.clamp(min=tiny).log()
        if self.transitions is None:
            known = smoothed(frames + self.closed, weights.unsqueeze(1), None, self.scene.lengths)
        else:
            log_transitions = self.transitions.clamp(min=tiny).log()
            known = smoothed(frames + self.closed, weights, log_transitions, self.scene.lengths)
        together = self._together(found, known.log_state.exp())
        if self.exact:
            together.log_evidence = known.evidence + self._log_prior()
        if self.mixture.learn and not warm:
            self._learn(known.log_state.exp(), known.pairs)
        return together

    def _log_prior(self) -> Tensor:
        """Dirichlet's law of π or A, which ``prior_frames`` tells, as they are: up to a constant, ``(batch,)``."""
        if not self.mixture.learn:
            return self.weights.new_zeros(len(self.weights))
        if self.transitions is not None and self.start_transitions is not None:
            return self.mixture.prior_frames * torch.xlogy(self.start_transitions, self.transitions).sum((1, 2))
        return self.mixture.prior_frames * torch.xlogy(self.start_weights, self.weights).sum(1)

    def _learn(self, modes: Tensor, pairs: Tensor | None) -> None:
        """The M-step of π, or of A."""
        strength = self.mixture.prior_frames
        if self.start_transitions is not None:
            assert pairs is not None
            counts = pairs + strength * self.start_transitions
            self.transitions = counts / counts.sum(2, keepdim=True)
            return
        told = self.scene.total((modes * self.open.unsqueeze(2)).transpose(1, 2))
        counts = told + strength * self.start_weights
        self.weights = counts / counts.sum(1, keepdim=True)

    def _together(self, found: list[Statistics], modes: Tensor) -> Statistics:
        """One set of statistics, the modes' weighed by their probabilities."""
        info = {f"{name} {index}": value for index, one in zip(self.alive, found, strict=True)
                for name, value in one.info.items()}  # fmt: skip
        told = self._all(modes)
        if found[0].speech is None:
            noise_power, mask = (
                sum(getattr(one, name) * modes[:, :, i, None] for i, one in enumerate(found))
                for name in ("noise_power", "mask")
            )
            assert isinstance(noise_power, Tensor)
            assert isinstance(mask, Tensor)
            return Statistics(noise_power=noise_power, mask=mask, info=info, modes=told)
        batch, speech, weights = self.scene.batch, [], []
        for i, one in enumerate(found):
            assert one.speech is not None
            own = one.speech.unflatten(0, (batch, -1))
            speech.append(own)
            share = modes[:, None, :, i]
            weights.append(
                (share / own.shape[1]).expand(-1, own.shape[1], -1) if one.weight is None else share * one.weight
            )
        gain = None
        if found[0].gain is not None:
            logs = (one.gain.log() * modes[:, :, i] for i, one in enumerate(found) if one.gain is not None)
            gain = torch.stack([*logs]).sum(0).exp()
        return Statistics(
            speech=torch.cat(speech, 1).flatten(0, 1), weight=torch.cat(weights, 1), gain=gain, info=info, modes=told
        )

    def _all(self, modes: Tensor) -> Tensor:
        """Of all modes, ``(batch, modes, time)``, from those that have a say."""
        told = modes.new_zeros(*modes.shape[:2], self.count)
        told[:, :, self.alive] = modes
        return told.transpose(1, 2)


def _evidence(found: Statistics, likelihood: NoisySpeech, spread: _Spread) -> Tensor:
    """ℓ_t of a mode, ``(batch, time)``, up to a constant."""
    if found.frames is not None:
        if found.latents is None:
            return found.frames
        assert found.log_prior is not None
        return found.frames + spread.kept(found.log_prior) + spread.entropy(found)
    if found.speech is None or found.log_prior is None:
        raise ConfigError("this E-step does not tell how probable the latents are, which a mixture has to know")
    return spread.kept(likelihood.log_prob(found.speech) + found.log_prior) + spread.entropy(found)


class _Spread:
    """What samples of one E-step are too few to tell: means over several, and the entropy of q(z_t)."""

    def __init__(self, scene: Scene) -> None:
        self.batch = scene.batch
        self.weight, self.total = 0.0, torch.zeros(())
        self.first, self.second = torch.zeros(()), torch.zeros(())

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the samples of ``(batch · samples, time, ...)``."""
        return values.unflatten(0, (self.batch, -1)).mean(1)

    def kept(self, values: Tensor) -> Tensor:
        """The same, over E-steps too; to be called once in each, before :meth:`entropy`."""
        self.weight = _KEEP * self.weight + (1 - _KEEP)
        self.total = _KEEP * self.total + (1 - _KEEP) * self.mean(values)
        return self.total / self.weight

    def entropy(self, found: Statistics) -> Tensor:
        """½ Σ ln σ², or what the E-step itself has told, ``(batch, time)``."""
        if found.entropy is not None:
            return self.mean(found.entropy)
        assert found.latents is not None
        self.first = _KEEP * self.first + (1 - _KEEP) * self.mean(found.latents)
        self.second = _KEEP * self.second + (1 - _KEEP) * self.mean(found.latents.square())
        mean = self.first / self.weight
        variance = (self.second / self.weight - mean.square()).clamp(min=1e-8)
        return 0.5 * variance.log().sum(-1)
