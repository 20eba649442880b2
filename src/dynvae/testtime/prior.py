"""What the engine asks of a model of clean speech, and how every DVAE answers it."""

from __future__ import annotations

__all__ = ["Conditioned", "DVAEPrior", "Decoded", "Feedback", "Moves", "Prior", "PriorEnergy"]

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from dynvae.condition import Condition
from dynvae.distributions import ComplexGaussian, ComplexGaussianLikelihood, PriorLaw, standard_normal
from dynvae.errors import ConfigError
from dynvae.models import DVAE, Latents, RecursiveDVAE
from dynvae.models.minvae import MixtureLaw
from dynvae.models.states import expand_state
from dynvae.testtime.scene import Scene

Moves = Literal["frames", "oddeven", "sequence"]
"""What a Metropolis-Hastings step can decide on by itself and be exact: each frame alone; the odd frames each alone
and then the even ones; only the whole sequence."""
Feedback = Literal["estimate", "own", "noisy"]
Start = Literal["encoder", "condition"]
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

    present: Tensor | None
    """The frames on which it has the condition that it asks for, ``(batch, time)``; None if it asks for none."""

    def feed(self, clean: Tensor) -> None:
        """Give the present estimate of the clean power, ``(batch, time, bins)``, at unit gain."""
        ...


class DVAEPrior:
    r"""Any model of the zoo as prior of speech.

    An autoregressive model reads past frames of *clean* speech, which nobody knows. ``feedback`` says what it gets:

    - ``"estimate"``: the engine's present estimate :math:`E[|s_t|^2]`, at first the noisy power;
    - ``"own"``: its own means, as in generation (published for SRNN);
    - ``"noisy"``: the noisy power.

    The encoder reads the noisy power, and the condition of the recording if the model sees one. The caller's model is
    copied without its gradients and never changed.

    Args:
        model: a model of power spectra.
        feedback: see above.
        start: where E-steps start: at the mean of the ``"encoder"``, or, on frames that have it, at what the
            ``"condition"`` alone tells, which noise does not touch (:meth:`~dynvae.models.DVAE.foreseen`).
        energy: ``"exact"``, or the prior's log-density as in the published samplers (see :attr:`Decoded.log_prior`).

    Raises:
        ConfigError: the model is not one of power spectra, or an option is unknown.
    """

    def __init__(
        self,
        model: DVAE,
        *,
        feedback: Feedback = "estimate",
        start: Start = "encoder",
        energy: PriorEnergy = "exact",
    ) -> None:
        for option, known in ((feedback, Feedback), (start, Start), (energy, PriorEnergy)):
            if option not in get_args(known):
                raise ConfigError(f"a prior has feedback, start and energy; '{option}' is none of "
                                  f"{', '.join(get_args(known))}")  # fmt: skip
        self.model = frozen_prior(model)
        if start == "condition" and not model.condition_dim:
            raise ConfigError(f"this {type(model).__name__} sees no condition that E-steps could start from")
        self.feedback, self.start, self.energy = feedback, start, energy
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
        self.given: dict[str, Any] = {}
        self.present: Tensor | None = None
        if model.condition_dim:
            condition = scene.condition or Condition.absent(scene.power, model.condition_dim)
            self.given, self.present = {"condition": condition}, condition.present
        self.heard: dict[int, tuple[Tensor, Mapping[str, Tensor] | None]] = {}

    def encode(self, samples: int) -> Latents:
        with torch.no_grad():
            zero = _nothing(self.model, self.scene.power, self.model.noise_dim)  # the noise of the means
            latents = self.model.posterior(self.scene.power, self.scene.lengths, noise=zero, **self.given).latents
            if self.source.start == "condition" and self.present is not None:
                foreseen = self.model.foreseen(self.given["condition"], self.scene.power)
                latents = latents._replace(z=torch.where(self.present.unsqueeze(-1), foreseen, latents.z))
        return expand_state(latents, samples)

    def told(self, latents: Tensor) -> Tensor | None:
        """Which component of a mixture made z_t, ``(rows, time, components)``; None if the prior of z is no mixture."""
        prior = self.model.prior_of(standard_normal(latents))
        return prior.joint(latents).softmax(-1) if isinstance(prior, MixtureLaw) else None

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
        given = self.beside(samples)
        if self.model.autoregressive and self.feedback == "own":
            past, seen = self.model.fed_back(latents, self.past.repeat_interleave(samples, 0), **given), None
        else:
            past, seen = self._heard(samples)
        prior, likelihood = self.model.generative(latents, past, lengths, seen, **given)
        assert isinstance(likelihood, ComplexGaussian)
        return Decoded(latents, likelihood.log_variance, prior, self.energy)

    def beside(self, samples: int) -> dict[str, Any]:
        """The condition, for so many samples a recording."""
        return {name: condition.repeated(samples) for name, condition in self.given.items()}

    def _heard(self, samples: int) -> tuple[Tensor, Mapping[str, Tensor] | None]:
        """What is fed back, for so many samples a recording, and what follows from it alone; computed once."""
        if samples not in self.heard:
            with torch.enable_grad():  # what depends on the latents has a gradient
                path = _zeros(self.model, self.past)
                for part in path:
                    if part is not None:
                        part.requires_grad_()
                seen = self.model.posterior(self.past, self.scene.lengths, latents=path, **self.given).seen
            seen = None if seen is None else {key: x for key, x in seen.items() if not x.requires_grad}
            self.heard[samples] = expand_state((self.past, seen), samples)
        return self.heard[samples]


def _diagonal(law: Distribution) -> Normal:
    assert isinstance(law, Independent), "the published density is that of independent dimensions"
    assert isinstance(law.base_dist, Normal)
    return law.base_dist


def frozen_prior(model: DVAE) -> DVAE:
    """A :func:`frozen` copy of a model of speech whose latents E-steps can move.

    Raises:
        ConfigError: it is none.
    """
    name = type(model).__name__
    if not isinstance(model.observation, ComplexGaussianLikelihood):
        raise ConfigError(f"a prior of speech gives variances of spectra (likelihood='complex_gaussian'); this {name} "
                          f"has a {type(model.observation).__name__}")  # fmt: skip
    law = model.prior_of(standard_normal(model.weight.new_zeros(1, 1, model.z_dim)))
    if model.discrete or (isinstance(law, PriorLaw) and not law.smooth):
        raise ConfigError(f"the latents of a {name} are codes, or zero and not zero, and no E-step here can move them; "
                          "take another model")  # fmt: skip
    return frozen(model)


def frozen(model: DVAE) -> DVAE:
    """A copy in evaluation mode whose weights take no gradient; what programs were compiled to is shared."""
    shared = {id(model.declared): model.declared} if isinstance(model, RecursiveDVAE) else {}
    return copy.deepcopy(model, shared).eval().requires_grad_(False)


def _zeros(model: DVAE, x: Tensor) -> Latents:
    """Latents of these frames, all zero."""
    return _nothing(model, x, model.z_dim)


def _nothing(model: DVAE, x: Tensor, size: int) -> Latents:
    w = model.weight.new_zeros(len(x), model.w_dim) if model.w_dim else None
    return Latents(model.weight.new_zeros(len(x), x.shape[1], size), w)


def _frames(model: DVAE, factor: str) -> set[int]:
    """The frames whose latents a factor of frame 8 of 16 sees."""
    nodes = model.dependencies.parents(factor).nodes(8, 16)
    return {frame for symbol, frame in nodes if symbol == model.dependencies.latent and frame is not None}
