"""The contract of a dynamical variational autoencoder, and all that follows from it once and for all.

A member of the family gives the three conditional laws of

    p(x[1:T], z[1:T]) = Π_t p(x_t | z_1:t, x_1:t-1) p(z_t | z_1:t-1, x_1:t-1)   and   q(z[1:T] | x[1:T])

for whole sequences (:meth:`DVAE.prior`, :meth:`DVAE.likelihood`, :meth:`DVAE.posterior`) and frame by frame. The
bounds, sampling and resynthesis are written here, from those alone.
"""

from __future__ import annotations

__all__ = ["DVAE", "ELBO", "Continued", "Frame", "Generated", "Latents", "Posterior"]

import functools
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from dynvae.audio import FrontEnd
from dynvae.condition import Condition
from dynvae.dependencies import Dependencies
from dynvae.distributions import (
    LIKELIHOODS,
    POWER_FLOOR,
    FixedGaussianLikelihood,
    JointLikelihood,
    Likelihood,
    draw,
    kl_per_dimension,
    standard_normal,
)
from dynvae.errors import ConfigError
from dynvae.models.pretrained import Pretrained
from dynvae.models.states import expand_state
from dynvae.models.structures import DICTIONARIES, Dictionary, DictionaryName, SparseLaw
from dynvae.models.values import ELBO, Continued, Frame, Generated, Latents, Posterior
from dynvae.motion import BoxView, Skeleton
from dynvae.nn import time_mask
from dynvae.video.talking import TalkingView

Mode = Literal["teacher-forced", "generation"]
InputTransform = Literal["raw", "log", "root", "standardise"]
LatentName = Literal["gaussian", "sparse"]


class DVAE(Pretrained, nn.Module, ABC):
    """Base of every member of the family.

    A member gives :meth:`posterior`, :meth:`prior` and :meth:`likelihood` for whole sequences, and :meth:`start`,
    :meth:`step_prior`, :meth:`step_likelihood` and :meth:`advance` for generation frame by frame. It then has
    :meth:`elbo`, :meth:`iwae`, :meth:`resynthesize`, :meth:`step`, :meth:`sample` and :meth:`generate`.

    Tensors are ``(batch, time, feature)``; ``lengths``, ``(batch,)``, tells how many frames of each sequence are
    valid (all, by default), and what stands in the padding changes nothing. Randomness comes from ``generator``
    or is given as ``noise``. The module keeps no state between calls.

    A model whose ``condition_dim`` is not zero sees a :class:`~dynvae.condition.Condition` beside, such as lips: all
    methods take ``condition=``, with the frames of x. Frames may lack it; without any, all do.

    The latent can have a structure (:mod:`dynvae.models.structures`): networks then see z = D a with the atoms of a
    dictionary, and what the contract calls z are the coefficients a; these, or of a dynamical prior their deviations
    from what it predicts, can be sparse.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame, as the networks see it.
        w_dim: size of the sequence-level latent; 0 if there is none.
        condition_dim: size of a frame of the condition; 0 if the model sees none.
        likelihood: ``"complex_gaussian"`` (STFT power spectra, the default), ``"gaussian"`` (learned variance),
            ``"fixed_gaussian"``, ``"joint_l2"`` (places of joints, three features each) or ``"bernoulli"``.
        observation_std: standard deviation of a feature under ``"fixed_gaussian"`` and ``"joint_l2"``.
        input_transform: what the networks see of a frame, in the encoder and of the past: ``"raw"`` (as published);
            of power spectra ``"log"``, ln(x + 1e-10) / 10, or ``"root"``, (x + 1e-10)^½; or ``"standardise"``, each
            feature less its mean, in its deviations (see :meth:`standardise`).
        dictionary: ``"identity"`` (z = a), ``"dct"`` or ``"learned"``
            (see :class:`~dynvae.models.structures.Dictionary`).
        atoms: size of a, the number of atoms; 0 is ``z_dim``.
        latent: law of a under the prior: ``"gaussian"``, or ``"sparse"`` (:class:`~dynvae.models.structures.SparseLaw`,
            a Student t in the place of the Gaussian).
        degrees: its degrees of freedom; 0 is the objective of SDM-VAE, for which nothing can be drawn from the prior.

    Raises:
        ConfigError: a size is not positive, or a name is unknown.
    """

    title: ClassVar[str]
    """The name in full."""
    paper: ClassVar[str]
    """Where the model comes from: authors and year."""
    dependencies: Dependencies
    """The declared conditional structure."""
    discrete: ClassVar[bool] = False
    """Whether the latents of a frame are codes: q picks one value without chance, and gradients pass it by estimate."""
    input_mean: Tensor
    input_std: Tensor
    config: dict[str, Any]
    """The arguments that the model was made with; ``type(model)(**model.config)`` makes its twin."""

    def __init__(
        self,
        x_dim: int,
        z_dim: int,
        *,
        w_dim: int = 0,
        condition_dim: int = 0,
        likelihood: str = "complex_gaussian",
        observation_std: float = 1.0,
        input_transform: InputTransform = "raw",
        dictionary: DictionaryName = "identity",
        atoms: int = 0,
        latent: LatentName = "gaussian",
        degrees: float = 1.0,
    ) -> None:
        super().__init__()
        if x_dim < 1 or z_dim < 1 or w_dim < 0 or condition_dim < 0:
            raise ConfigError(f"sizes must be positive: x_dim={x_dim}, z_dim={z_dim}, w_dim={w_dim}, "
                              f"of a condition {condition_dim}")  # fmt: skip
        if likelihood not in LIKELIHOODS:
            raise ConfigError(f"there is no likelihood '{likelihood}'; there are {', '.join(LIKELIHOODS)}")
        if input_transform not in get_args(InputTransform):
            known = ", ".join(get_args(InputTransform))
            raise ConfigError(f"there is no input_transform '{input_transform}'; there are {known}")
        if observation_std <= 0:
            raise ConfigError(f"observation_std must be positive, not {observation_std}")
        if dictionary not in DICTIONARIES or atoms < 0 or (dictionary == "identity" and atoms not in (0, z_dim)):
            raise ConfigError(f"a dictionary is one of {', '.join(DICTIONARIES)}, the identity with as many atoms as "
                              f"dimensions; not {dictionary} with {atoms} atoms of size {z_dim}")  # fmt: skip
        if latent not in get_args(LatentName) or degrees < 0:
            raise ConfigError(f"a latent is {' or '.join(get_args(LatentName))}, with degrees >= 0, not {latent} with "
                              f"{degrees}")  # fmt: skip
        self.x_dim, self.z_dim, self.w_dim, self.condition_dim = x_dim, atoms or z_dim, w_dim, condition_dim
        self.degrees = degrees if latent == "sparse" else None
        self.dictionary = None if dictionary == "identity" else Dictionary(dictionary, z_dim, self.z_dim)
        self.input_transform = input_transform
        if input_transform == "standardise":
            self.register_buffer("input_mean", torch.zeros(x_dim))
            self.register_buffer("input_std", torch.ones(x_dim))
        kind = LIKELIHOODS[likelihood]
        if x_dim % kind.group:
            raise ConfigError(
                f"the likelihood '{likelihood}' takes {kind.group} features together; {x_dim} is no multiple"
            )
        self.observation: Likelihood = (
            kind(observation_std) if issubclass(kind, (FixedGaussianLikelihood, JointLikelihood)) else kind()
        )
        self.front_end: FrontEnd | Skeleton | BoxView | TalkingView | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have the constructor of each member record its arguments as ``config``."""
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            return
        init = vars(cls)["__init__"]
        signature = inspect.signature(init)

        @functools.wraps(init)
        def recording_init(self: DVAE, *args: Any, **given: Any) -> None:
            init(self, *args, **given)
            if type(self).__init__ is cls.__init__:  # not a subclass's, which records its own arguments
                arguments = signature.bind(self, *args, **given)
                arguments.apply_defaults()
                self.config = {}
                for name, value in list(arguments.arguments.items())[1:]:
                    variadic = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
                    for key, given_value in (value if variadic else {name: value}).items():
                        self.config[key] = list(given_value) if isinstance(given_value, tuple) else given_value
                self._made()

        cls.__init__ = recording_init  # type: ignore[method-assign]

    def _made(self) -> None:
        """Called once, when the outermost constructor is done."""

    # ---- what a member gives -------------------------------------------------------------------------------------

    @abstractmethod
    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        """q(z[1:T] | x[1:T]), sampled along its own recursion.

        Args:
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            noise: the standard normal noise of the sample; zeros follow the means. Drawn if not given.
            generator: where the noise is drawn from.
            latents: do not sample, but tell q's parameters along this path.
        """

    @abstractmethod
    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        """p(z_t | z_1:t-1, x_1:t-1, w) at every t at once, batch shape ``(batch, time)``."""

    @abstractmethod
    def likelihood(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> Distribution:
        """p(x_t | z_1:t, x_1:t-1, w) at every t at once, batch shape ``(batch, time)``.

        Args:
            latents: values of the latents.
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            seen: what the posterior has computed of the same x (:attr:`Posterior.seen`), to be used again.
        """

    @abstractmethod
    def start(self, batch: int, w: Tensor | None = None) -> Any:
        """The state before the first frame of ``batch`` sequences: what all four step methods hand on.

        The batch is the first axis of all its tensors, which may stand in tuples, mappings and dataclasses.
        """

    @abstractmethod
    def step_prior(self, state: Any) -> Distribution:
        """p(z_t | past), batch shape ``(batch,)``."""

    @abstractmethod
    def step_likelihood(self, state: Any, z: Tensor) -> tuple[Distribution, Any]:
        """p(x_t | z_t, past), batch shape ``(batch,)``, and the state that has seen z_t ``(batch, z_dim)``."""

    @abstractmethod
    def advance(self, state: Any, z: Tensor, x: Tensor) -> Any:
        """The state before the next frame, once z_t ``(batch, z_dim)`` and x_t ``(batch, x_dim)`` are past."""

    def observe(self, state: Any, z: Tensor, x: Tensor) -> Any:
        """The state after several known frames, ``(batch, time, z_dim)`` and ``(batch, time, x_dim)``."""
        for t in range(x.shape[1]):
            _, state = self.step_likelihood(state, z[:, t])
            state = self.advance(state, z[:, t], x[:, t])
        return state

    def generative(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> tuple[Distribution, Distribution]:
        """Prior and likelihood together; a member in which both need the same work does it once here.

        Args:
            latents: values of the latents.
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            seen: what the posterior has computed of the same x (:attr:`Posterior.seen`), to be used again.
        """
        return self.prior(latents, x, lengths), self.likelihood(latents, x, lengths, seen)

    # ---- what every member has -----------------------------------------------------------------------------------

    @property
    def autoregressive(self) -> bool:
        """Whether past observations are fed back."""
        return self.dependencies.autoregressive

    @property
    def causal(self) -> bool:
        """Whether frame t can be generated without the latents of later frames."""
        return self.dependencies.causal

    @property
    def weight(self) -> Tensor:
        """Some weight: its type and place are the model's."""
        return next(self.parameters())

    def code(self, z: Tensor) -> Tensor:
        """What the networks see of latents ``(..., z_dim)``: z itself, or D a of coefficients a."""
        return z if self.dictionary is None else self.dictionary(z)

    def prior_of(self, gaussian: Distribution) -> Distribution:
        """The prior's law where the member has this Gaussian: itself, or the sparse law in its place."""
        if self.degrees is None:
            return gaussian
        assert isinstance(gaussian, Independent), "the coefficients of a sparse latent are independent"
        return SparseLaw(gaussian.mean, gaussian.stddev, self.degrees)

    def features(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the networks see of frames ``(..., x_dim)``; with ``lengths``, padding is silenced first."""
        x = x.to(self.weight.dtype)
        if lengths is not None:
            x = x.where(time_mask(lengths, x.shape[1]).unsqueeze(-1), 0)
        match self.input_transform:
            case "log":
                return (x + POWER_FLOOR).log() / 10
            case "root":
                return (x + POWER_FLOOR).sqrt()
            case "standardise":
                return (x - self.input_mean) / self.input_std
        return x

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Set what ``input_transform="standardise"`` subtracts and divides by; it is saved with the weights.

        Until then it is 0 and 1. Take them from the training set.

        Args:
            mean: of each feature, ``(x_dim,)``.
            std: its standard deviation; a feature that never changes, whose deviation is 0, is only shifted.

        Raises:
            ConfigError: the model does not standardise, or a number is not finite or negative, or not one a feature.
        """
        if self.input_transform != "standardise":
            raise ConfigError(f"the model's input_transform is {self.input_transform}; make it with standardise")
        if mean.shape != (self.x_dim,) or std.shape != (self.x_dim,):
            raise ConfigError(
                f"mean and std must be ({self.x_dim},), a number a feature, not {tuple(mean.shape)}, {tuple(std.shape)}"
            )
        if not (mean.isfinite().all() and std.isfinite().all() and (std >= 0).all()):
            raise ConfigError("a mean is not finite, or a deviation is not finite or negative")
        self.input_mean.copy_(mean)
        self.input_std.copy_(std.where(std > 0, 1))

    @torch.no_grad()
    def begin_at(self, mean: Tensor, std: Tensor) -> None:
        """Let the decoder's last bias give the law that fits frames of this mean and deviation, whatever the latents.

        An untrained model is then as good as one without latents. Spectra, the powers of whose bins differ by a factor
        of a million, otherwise need a hundred steps or more to get there.

        Args:
            mean: of each feature, ``(x_dim,)``.
            std: its standard deviation.

        Raises:
            ConfigError: the model's likelihood does not come from a network called ``decoder`` that ends in a linear
                layer.
        """
        layers = [layer for layer in getattr(self, "decoder", nn.Module()).modules() if isinstance(layer, nn.Linear)]
        packed = self.observation.packed(mean.to(self.weight), std.to(self.weight))
        if not layers or layers[-1].bias.shape != packed.shape:
            raise ConfigError(
                f"{type(self).__name__} has no decoder with a last bias that could begin at the data's mean"
            )
        layers[-1].bias.copy_(packed)

    def foreseen(self, condition: Condition, x: Tensor) -> Tensor:
        """What the condition alone tells of the latents, ``(batch, time, z_dim)``: the prior's mean, frame after frame.

        Args:
            condition: ``(batch, time, condition_dim)``.
            x: ``(batch, time, x_dim)``; past frames for a model that is autoregressive.
        """
        state, zs = self.start(len(x), **beside(condition)), []
        for frame in x.unbind(1):
            z = self.step_prior(state).mean
            _, state = self.step_likelihood(state, z)
            state = self.advance(state, z, frame)
            zs.append(z)
        return torch.stack(zs, 1)

    def sound_path(self) -> list[tuple[nn.Parameter, slice]]:
        """The weights, and of which columns, that lead from the observations to the latents and back.

        Raises:
            ConfigError: there are no others, that see a condition.
        """
        raise ConfigError(f"a {type(self).__name__} has no weights apart that see a condition; freeze none")

    @property
    def noise_dim(self) -> int:
        """How many standard normal numbers make a latent frame."""
        return self.z_dim

    def after_step(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        total: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        """Called by training after each step with its batch: learn what is not learned from a gradient; nothing here.

        Args:
            x: ``(batch, time, x_dim)``, the part of this process.
            lengths: ``(batch,)``.
            generator: where random numbers are drawn from, the same in every process.
            total: the sum of a tensor over all processes.
        """

    def draw_noise(self, batch: int, time: int, generator: torch.Generator | None = None) -> Latents:
        """Standard normal noise for :meth:`posterior`."""
        options: dict[str, Any] = {"dtype": self.weight.dtype, "device": self.weight.device, "generator": generator}
        w = torch.randn(batch, self.w_dim, **options) if self.w_dim else None
        return Latents(torch.randn(batch, time, self.noise_dim, **options), w)

    def fed_back(self, latents: Latents, x: Tensor, condition: Condition | None = None) -> Tensor:
        """The past frames of generation mode: the model's own means along these latents, without gradient.

        For a model that is not autoregressive, x itself.

        Args:
            latents: values of the latents.
            x: tells the shape, ``(batch, time, x_dim)``.
            condition: what is known beside x.
        """
        return self._fed_back(latents, x, 1.0, None, **self._given(condition, x))

    def elbo(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        condition: Condition | None = None,
        samples: int = 1,
        noise: Latents | None = None,
        prior_noise: Tensor | None = None,
        generator: torch.Generator | None = None,
        free_running: float = 0.0,
    ) -> ELBO:
        """The evidence lower bound, estimated with reparameterised samples and closed-form divergences.

        Args:
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            condition: what is known beside x.
            samples: number of latent samples a sequence, averaged over.
            noise: noise for the samples, with batch size ``batch · samples`` (samples of a sequence adjacent).
            prior_noise: standard normal noise, as of z; with it the result also tells
                :attr:`ELBO.prior_log_likelihood`.
            generator: where noise is drawn from.
            free_running: probability that the past frame fed to prior and likelihood is the model's own mean
                instead of the true one: 0 is teacher forcing, 1 generation mode, between them scheduled sampling
                (Bengio et al., 2015), drawn for each frame of each sequence. The own means are fed back without
                gradient. The posterior always sees the true frames.
        """
        if not 0 <= free_running <= 1:
            raise ConfigError(f"free_running is a probability, not {free_running}")
        given = self._given(condition, x, samples)
        x, lengths, ragged, valid = self._prepare(x, lengths, samples)
        posterior = self.posterior(x, ragged, noise=noise, generator=generator, **given)
        past = self._fed_back(posterior.latents, x, free_running, generator, **given)
        seen = posterior.seen if past is x else None
        prior, likelihood = self.generative(posterior.latents, past, ragged, seen, **given)
        log_likelihood = likelihood.log_prob(x).where(valid, 0)
        from_prior = None
        if prior_noise is not None:
            latents = posterior.latents._replace(z=prior.mean + prior.stddev * prior_noise)
            from_prior = self.likelihood(latents, past, ragged, seen, **given).log_prob(x).where(valid, 0)
        kl = kl_per_dimension(posterior.z, prior).where(valid.unsqueeze(-1), 0)
        penalty = None if posterior.penalty is None else posterior.penalty.where(valid, 0)
        kl_w = None
        if posterior.w is not None and posterior.latents.w is not None:
            kl_w = kl_per_dimension(posterior.w, standard_normal(posterior.latents.w)).sum(-1)
        if samples > 1:
            log_likelihood, kl = (term.unflatten(0, (-1, samples)).mean(1) for term in (log_likelihood, kl))
            kl_w = None if kl_w is None else kl_w.unflatten(0, (-1, samples)).mean(1)
            from_prior = None if from_prior is None else from_prior.unflatten(0, (-1, samples)).mean(1)
            penalty = None if penalty is None else penalty.unflatten(0, (-1, samples)).mean(1)
            lengths = lengths[::samples]
        return ELBO(log_likelihood, kl, kl_w, lengths, from_prior, penalty)

    def iwae(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        condition: Condition | None = None,
        samples: int = 64,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The importance-weighted bound of ln p(x) (Burda et al., 2016), ``(batch,)``, in nats a sequence.

        It grows with ``samples`` (in expectation) from the ELBO towards the exact log-likelihood.
        """
        given = self._given(condition, x, samples)
        x, _, ragged, valid = self._prepare(x, lengths, samples)
        posterior = self.posterior(x, ragged, generator=generator, **given)
        latents = posterior.latents
        prior, likelihood = self.generative(latents, x, ragged, posterior.seen, **given)
        log_weight = likelihood.log_prob(x) + prior.log_prob(latents.z) - posterior.z.log_prob(latents.z)
        log_weight = log_weight.where(valid, 0).sum(-1)
        if posterior.w is not None and latents.w is not None:
            log_weight = log_weight + standard_normal(latents.w).log_prob(latents.w) - posterior.w.log_prob(latents.w)
        return log_weight.unflatten(0, (-1, samples)).logsumexp(1) - math.log(samples)

    def resynthesize(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        condition: Condition | None = None,
        mode: Mode = "teacher-forced",
        latents: Literal["sample", "mean"] = "sample",
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
    ) -> Distribution:
        """Pass sequences through encoder and decoder: the law of x_t given the inferred latents.

        Args:
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            condition: what is known beside x.
            mode: ``"teacher-forced"`` feeds true past frames back, ``"generation"`` the model's own means.
                The same thing for a model that is not autoregressive.
            latents: a ``"sample"`` of the posterior, or its ``"mean"`` along the recursion.
            noise: standard normal noise of the sample; drawn if not given.
            generator: where the noise is drawn from.

        Raises:
            ConfigError: the mode, or what to take of the posterior, is unknown.
        """
        if mode not in ("teacher-forced", "generation"):
            raise ConfigError(f"there is no mode '{mode}'; there are teacher-forced, generation")
        given = self._given(condition, x)
        x, _, ragged, _ = self._prepare(x, lengths)
        posterior = self.posterior(x, ragged, noise=self._noise(x, latents, noise, generator), **given)
        past = self._fed_back(posterior.latents, x, float(mode == "generation"), generator, **given)
        seen = posterior.seen if past is x else None
        return self.likelihood(posterior.latents, past, ragged, seen, **given)

    def _noise(self, x: Tensor, latents: str, noise: Latents | None, generator: torch.Generator | None) -> Latents:
        """The noise that makes a sample of the posterior, or its mean.

        Raises:
            ConfigError: what to take of the posterior is unknown.
        """
        if latents not in ("sample", "mean"):
            raise ConfigError(f"the latents can be sample or mean, not '{latents}'")
        batch, time, _ = x.shape
        if latents == "sample":
            return self.draw_noise(batch, time, generator) if noise is None else noise
        w = self.weight.new_zeros(batch, self.w_dim) if self.w_dim else None
        return Latents(self.weight.new_zeros(batch, time, self.noise_dim), w)

    def step(
        self, state: Any, *, z: Tensor | None = None, x: Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[Frame, Any]:
        """Generate one frame: z_t from the prior (or as given), x_t the likelihood's mean (or as given).

        Args:
            state: from :meth:`start` or the last step.
            z: the latent to take instead of a draw from the prior, ``(batch, z_dim)``.
            x: the observation to go on from instead of the mean, ``(batch, x_dim)``.
            generator: where z is drawn from.
        """
        prior = self.step_prior(state)
        z = draw(prior, generator) if z is None else z
        likelihood, state = self.step_likelihood(state, z)
        x = likelihood.mean if x is None else x
        return Frame(prior, z, likelihood, x), self.advance(state, z, x)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        length: int,
        *,
        generator: torch.Generator | None = None,
        feedback: Literal["mean", "sample"] = "mean",
        condition: Condition | None = None,
    ) -> Generated:
        """Draw ``n`` sequences of ``length`` frames by ancestral sampling.

        Args:
            n: number of sequences.
            length: number of frames.
            generator: where everything is drawn from.
            feedback: what x_t is, in the result and for the frames after it: a ``"sample"`` of its law, or, as the
                papers do on spectrograms, its ``"mean"``.
            condition: what is known beside x, ``(n, length, condition_dim)``.

        Raises:
            ConfigError: the feedback is unknown, or there is nothing to draw.
        """
        _check_feedback(feedback)
        if n < 1 or length < 1:
            raise ConfigError(f"there must be at least one sequence of one frame, not {n} of {length}")
        w = None
        if self.w_dim:
            w = draw(standard_normal(self.weight.new_zeros(n, self.w_dim)), generator)
        given = self._given(condition, self.weight.new_empty(n, length, 0))
        return self._sample(n, length, w, generator, feedback, **given)

    def _sample(
        self,
        n: int,
        length: int,
        w: Tensor | None,
        generator: torch.Generator | None,
        feedback: str,
        condition: Condition | None = None,
    ) -> Generated:
        state = self.start(n, w, **beside(condition))
        if not self.causal:
            return self._sample_all_at_once(state, n, length, w, generator, feedback)
        x, mean, z = self._sample_on(state, length, generator, feedback)
        return Generated(x, mean, Latents(z, w))

    def _sample_on(
        self, state: Any, length: int, generator: torch.Generator | None, feedback: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ancestral sampling from a state on: x, its means and z, ``(batch, length, feature)``."""
        frames = []
        for _ in range(length):
            z = draw(self.step_prior(state), generator)
            likelihood, state = self.step_likelihood(state, z)
            mean = likelihood.mean
            x = mean if feedback == "mean" else draw(likelihood, generator)
            state = self.advance(state, z, x)
            frames.append((x, mean, z))
        x, mean, z = (torch.stack(kind, 1) for kind in zip(*frames, strict=True))
        return x, mean, z

    def _sample_all_at_once(
        self, state: Any, n: int, length: int, w: Tensor | None, generator: torch.Generator | None, feedback: str
    ) -> Generated:
        """Sampling where the decoder sees all latents: first the chain of z, which sees no x, then all frames."""
        nothing = self.weight.new_zeros(n, self.x_dim)
        zs = []
        for _ in range(length):
            z = draw(self.step_prior(state), generator)
            state = self.advance(state, z, nothing)
            zs.append(z)
        latents = Latents(torch.stack(zs, 1), w)
        likelihood = self.likelihood(latents, nothing.unsqueeze(1).expand(-1, length, -1))
        x = likelihood.mean if feedback == "mean" else draw(likelihood, generator)
        return Generated(x, likelihood.mean, latents)

    @torch.no_grad()
    def generate(
        self,
        prefix: Tensor,
        horizon: int,
        *,
        samples: int = 1,
        latents: Literal["sample", "mean"] = "mean",
        feedback: Literal["mean", "sample"] = "mean",
        generator: torch.Generator | None = None,
        condition: Condition | None = None,
    ) -> Continued:
        """Go on from the beginnings of sequences: ``samples`` continuations of each, by ancestral sampling.

        A beginning is encoded once, alone: the posterior of its latents sees no frame of what follows. With them and
        its frames the state is brought to its end, and then copied.

        Args:
            prefix: the beginnings, ``(batch, time, x_dim)``, all of one length.
            horizon: number of frames to draw.
            samples: number of continuations of each.
            latents: those of the prefix are the posterior's ``"mean"`` along its recursion, or one ``"sample"``.
            feedback: what is fed back, and returned as x: the likelihood's ``"mean"`` or a ``"sample"``.
            generator: where everything is drawn from.
            condition: what is known beside x, for the beginning and the horizon together.

        Raises:
            ConfigError: the decoder sees future latents, so that no frame can be drawn before the last; an option is
                unknown, or there is nothing to draw.

        Example:
            >>> from dynvae.models import SRNN
            >>> SRNN(5, 2).generate(torch.ones(3, 10, 5), horizon=4, samples=7).x.shape
            torch.Size([3, 7, 4, 5])
        """
        if not self.causal:
            raise ConfigError(
                f"this {type(self).__name__} cannot continue a sequence: the likelihood of a frame sees latents of "
                f"later ones ('{self.dependencies.likelihood}'); take a causal model, or sample() whole sequences"
            )
        _check_feedback(feedback)
        if horizon < 1 or samples < 1:
            raise ConfigError(f"there must be at least one sample of one frame, not {samples} of {horizon}")
        prefix, *_ = self._prepare(prefix, None)
        time = prefix.shape[1]
        given = self._given(condition, prefix.new_empty(len(prefix), time + horizon, 0))
        here = {name: value.frames(0, time) for name, value in given.items()}
        known = self.posterior(prefix, noise=self._noise(prefix, latents, None, generator), **here).latents
        state = self.observe(self.start(len(prefix), known.w, **given), known.z, prefix)
        drawn = self._sample_on(expand_state(state, samples), horizon, generator, feedback)
        x, mean, z = (frames.unflatten(0, (-1, samples)) for frames in drawn)
        return Continued(x, mean, z, known)

    def _prepare(
        self, x: Tensor, lengths: Tensor | None, samples: int = 1
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Check a batch and repeat each of its sequences ``samples`` times.

        Returns:
            Observations with clean padding; their lengths; the same for the networks, None if nothing is padded,
            which is faster; and the mask of valid frames.

        Raises:
            ValueError: the shapes do not fit, or a length is out of range.
        """
        if x.dim() != 3 or x.shape[1] == 0:
            raise ValueError(f"x must be (batch, time, feature) with at least one frame, not {tuple(x.shape)}")
        if x.shape[-1] != self.x_dim:
            raise ValueError(f"the frames have {x.shape[-1]} features, but the model's x_dim is {self.x_dim}")
        if samples < 1:
            raise ValueError(f"there must be at least one sample, not {samples}")
        x = x if x.is_floating_point() else x.to(self.weight.dtype)
        batch, time, _ = x.shape
        ragged = lengths is not None and _check_lengths(lengths, batch, time) < time
        if lengths is None:
            lengths = torch.full((batch,), time, dtype=torch.int64, device=x.device)
        valid = time_mask(lengths, time)
        if ragged:
            x = x.where(valid.unsqueeze(-1), 0)
        if samples > 1:
            x, lengths, valid = (tensor.repeat_interleave(samples, 0) for tensor in (x, lengths, valid))
        return x, lengths, lengths if ragged else None, valid

    def _fed_back(
        self,
        latents: Latents,
        x: Tensor,
        free_running: float,
        generator: torch.Generator | None,
        condition: Condition | None = None,
    ) -> Tensor:
        """The frames that prior and likelihood see as past: the true ones, or with some probability the own means."""
        if free_running == 0 or not self.autoregressive:
            return x
        own = self._own_frames(x, free_running, generator) if free_running < 1 else None
        with torch.no_grad():
            state = self._start_along(x.shape[0], latents.w, **beside(condition))
            past = []
            for t in range(x.shape[1]):
                z = latents.z[:, t]
                likelihood, state = self.step_likelihood(state, z)
                frame = likelihood.mean.to(x.dtype)
                frame = frame if own is None else frame.where(own[:, t], x[:, t])
                state = self.advance(state, z, frame)
                past.append(frame)
            return torch.stack(past, 1)

    def _start_along(self, batch: int, w: Tensor | None, **given: Any) -> Any:
        """:meth:`start` for a run along latents that are known: nobody will ask for their prior."""
        return self.start(batch, w, **given)

    def _given(self, condition: Condition | None, x: Tensor, samples: int = 1) -> dict[str, Any]:
        """What the methods of a member are called with beside: nothing, or the condition of so many samples each.

        Raises:
            ConfigError: the model sees no condition.
            ValueError: it is not one of these frames.
        """
        if condition is None:
            return {}
        if not self.condition_dim:
            raise ConfigError(f"this {type(self).__name__} sees no condition; call it without")
        condition = Condition.of(*condition)
        shape = (*x.shape[:2], self.condition_dim)
        if condition.features.shape != shape:
            raise ValueError(f"the condition of these frames is {shape}, not {tuple(condition.features.shape)}")
        return beside(condition.repeated(samples))

    @staticmethod
    def _own_frames(x: Tensor, free_running: float, generator: torch.Generator | None) -> Tensor:
        """Where the own mean is fed back, ``(batch, time, 1)``: each frame with this probability."""
        uniform = torch.rand(x.shape[:2], generator=generator, device=x.device, dtype=x.dtype)
        return (uniform < free_running).unsqueeze(-1)


def beside(condition: Condition | None) -> dict[str, Any]:
    """What the methods of a member are called with beside: nothing, so that not all have to know the word, or this."""
    return {} if condition is None else {"condition": condition}


def _check_feedback(feedback: str) -> None:
    if feedback not in ("sample", "mean"):
        raise ConfigError(f"the feedback can be sample or mean, not '{feedback}'")


def _check_lengths(lengths: Tensor, batch: int, time: int) -> int:
    """The shortest length, once all are known to be possible.

    Raises:
        ValueError: they are not ``batch`` whole numbers in 1..time.
    """
    if lengths.shape != (batch,):
        raise ValueError(f"lengths must be (batch,) = ({batch},), not {tuple(lengths.shape)}")
    if lengths.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"lengths must be whole numbers (torch.int64), not {lengths.dtype}")
    if not batch:
        return time
    shortest, longest = lengths.aminmax()
    if shortest < 1 or longest > time:
        raise ValueError(f"lengths must lie in 1..{time}; they span {int(shortest)}..{int(longest)}")
    return int(shortest)
