"""What the engine asks of a model of clean speech, and how every DVAE answers it."""

from __future__ import annotations

__all__ = ["Conditioned", "DVAEPrior", "Decoded", "Feedback", "Moves", "Prior", "PriorEnergy"]

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from dynvae.distributions import ComplexGaussian, ComplexGaussianLikelihood, standard_normal
from dynvae.errors import ConfigError
from dynvae.models import DVAE, Latents, RecursiveDVAE
from dynvae.models.states import expand_state
from dynvae.testtime.scene import Scene

Moves = Literal["frames", "oddeven", "sequence"]
"""What a Metropolis-Hastings step can decide on by itself and be exact: each frame alone; the odd frames each alone
and then the even ones; only the whole sequence."""
Feedback = Literal["estimate", "own", "noisy"]
PriorEnergy = Literal["exact", "published"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """Latents and what the generative model says about them; rows are ``batch · samples``.

    Attributes:
        latents: z, ``(rows, time, z_dim)``, and w, ``(rows, w_dim)``, where there is one.
        output: the log-variance of speech, ``(rows, time, bins)``.
        prior: p(z_t | ...).
        energy: whether the prior's log-density is exact.
    """

    latents: Latents
    output: Tensor
    prior: Distribution
    energy: PriorEnergy = "exact"

    @property
    def log_prior(self) -> Tensor:
        """The log-density of z_t, ``(rows, time)``; as published, -Σ (z - μ)²/σ², without ½ and without ln σ."""
        if self.energy == "published":
            law = _diagonal(self.prior)
            return -((self.latents.z - law.loc) / law.scale).square().sum(-1)
        return self.prior.log_prob(self.latents.z)

    @property
    def log_prior_w(self) -> Tensor | None:
        """The log-density ln p(w), ``(rows,)``; None if there is no w."""
        return None if self.latents.w is None else standard_normal(self.latents.w).log_prob(self.latents.w)


class Prior(Protocol):
    """A model of clean speech whose latents can be moved."""

    bins: int
    moves: Moves

    def on(self, scene: Scene) -> Conditioned:
        """The model, applied to recordings."""
        ...


class Conditioned(Protocol):
    """A prior at work on a batch of recordings."""

    moves: Moves
    fed: bool
    """Whether :meth:`feed` makes a difference."""
    local: bool
    """Whether the output of a frame sees the latent of that frame alone."""

    def encode(self, samples: int) -> Latents:
        """Where E-steps start: the mean of q(z | x) along its recursion, so many copies side by side."""
        ...

    def decode(self, latents: Latents) -> Decoded:
        """Prior and likelihood of latents whose rows are ``batch · samples``."""
        ...

    def feed(self, clean: Tensor) -> None:
        """Give the present estimate of the clean power, ``(batch, time, bins)``, at unit gain."""
        ...


class DVAEPrior:
    r"""Any model of the zoo as prior of speech.

    An autoregressive model reads past frames of *clean* speech, which nobody knows. ``feedback`` says what it gets:

    - ``"estimate"``: the engine's present estimate :math:`E[|s_t|^2]`, at first the noisy power;
    - ``"own"``: its own means, as in generation (published for SRNN);
    - ``"noisy"``: the noisy power.

    The encoder reads the noisy power. The caller's model is copied without its gradients and never changed.

    Args:
        model: a model of power spectra.
        feedback: see above.
        energy: ``"exact"``, or the prior's log-density as in the published samplers (see :attr:`Decoded.log_prior`).

    Raises:
        ConfigError: the model is not one of power spectra, or an option is unknown.
    """

    def __init__(self, model: DVAE, *, feedback: Feedback = "estimate", energy: PriorEnergy = "exact") -> None:
        if feedback not in get_args(Feedback) or energy not in get_args(PriorEnergy):
            raise ConfigError(f"feedback is one of {', '.join(get_args(Feedback))}, energy of "
                              f"{', '.join(get_args(PriorEnergy))}; not '{feedback}', '{energy}'")  # fmt: skip
        if not isinstance(model.observation, ComplexGaussianLikelihood):
            raise ConfigError(f"a prior of speech gives variances of spectra (likelihood='complex_gaussian'); this "
                              f"{type(model).__name__} has a {type(model.observation).__name__}")  # fmt: skip
        self.model = frozen(model)
        self.feedback, self.energy = feedback, energy
        self.bins = model.x_dim
        past = _frames(model, "prior")
        self.local = _frames(model, "likelihood") <= {8} and not (model.autoregressive and feedback == "own")
        apart = self.local and past <= {7} and not model.w_dim
        self.moves: Moves = "sequence" if not apart else "oddeven" if past else "frames"

    def on(self, scene: Scene) -> ConditionedDVAE:
        return ConditionedDVAE(self, self.model, scene)


class ConditionedDVAE:
    """A :class:`DVAEPrior` at work.

    Args:
        prior: the prior.
        model: its model, or a copy whose encoder is being changed.
        scene: the recordings.
    """

    def __init__(self, prior: DVAEPrior, model: DVAE, scene: Scene) -> None:
        self.source, self.model, self.scene = prior, model, scene
        self.feedback, self.energy, self.local, self.moves = prior.feedback, prior.energy, prior.local, prior.moves
        self.fed = model.autoregressive and self.feedback == "estimate"
        self.past = scene.power
        self.heard: dict[int, tuple[Tensor, Mapping[str, Tensor] | None]] = {}

    def encode(self, samples: int) -> Latents:
        with torch.no_grad():
            zero = _zeros(self.model, self.scene.power)
            latents = self.model.posterior(self.scene.power, self.scene.lengths, noise=zero).latents
        return expand_state(latents, samples)

    def applied(self, model: DVAE, scene: Scene) -> ConditionedDVAE:
        """The same with a copy of the model, on other recordings."""
        return ConditionedDVAE(self.source, model, scene)

    def feed(self, clean: Tensor) -> None:
        if self.fed:
            self.past = torch.maximum(clean, self.scene.floor)
            self.heard.clear()

    def decode(self, latents: Latents) -> Decoded:
        samples = latents.z.shape[0] // self.scene.batch
        lengths = None if self.scene.lengths is None else self.scene.lengths.repeat_interleave(samples)
        if self.model.autoregressive and self.feedback == "own":
            past, seen = self.model.fed_back(latents, self.past.repeat_interleave(samples, 0)), None
        else:
            past, seen = self._heard(samples)
        prior, likelihood = self.model.generative(latents, past, lengths, seen)
        assert isinstance(likelihood, ComplexGaussian)
        return Decoded(latents, likelihood.log_variance, prior, self.energy)

    def _heard(self, samples: int) -> tuple[Tensor, Mapping[str, Tensor] | None]:
        """What is fed back, for so many samples a recording, and what follows from it alone; computed once."""
        if samples not in self.heard:
            with torch.enable_grad():  # what depends on the latents has a gradient
                path = _zeros(self.model, self.past)
                for part in path:
                    if part is not None:
                        part.requires_grad_()
                seen = self.model.posterior(self.past, self.scene.lengths, latents=path).seen
            seen = None if seen is None else {key: x for key, x in seen.items() if not x.requires_grad}
            self.heard[samples] = expand_state((self.past, seen), samples)
        return self.heard[samples]


def _diagonal(law: Distribution) -> Normal:
    assert isinstance(law, Independent), "the published density is that of independent dimensions"
    assert isinstance(law.base_dist, Normal)
    return law.base_dist


def frozen(model: DVAE) -> DVAE:
    """A copy in evaluation mode whose weights take no gradient; what programs were compiled to is shared."""
    shared = {id(model.declared): model.declared} if isinstance(model, RecursiveDVAE) else {}
    return copy.deepcopy(model, shared).eval().requires_grad_(False)


def _zeros(model: DVAE, x: Tensor) -> Latents:
    """Latents of these frames, all zero: as noise, that of the means."""
    w = model.weight.new_zeros(len(x), model.w_dim) if model.w_dim else None
    return Latents(model.weight.new_zeros(len(x), x.shape[1], model.z_dim), w)


def _frames(model: DVAE, factor: str) -> set[int]:
    """The frames whose latents a factor of frame 8 of 16 sees."""
    nodes = model.dependencies.parents(factor).nodes(8, 16)
    return {frame for symbol, frame in nodes if symbol == model.dependencies.latent and frame is not None}
