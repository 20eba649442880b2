"""Mixtures and hidden Markov models: frames in one of finitely many states, learned by exact EM."""

from __future__ import annotations

__all__ = ["Fitted", "GaussianMixture", "HiddenMarkovModel", "SpectralMixture", "StateModel"]

from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from dynvae.classics.chain import Smoothed, best_path, smoothed
from dynvae.classics.emissions import Covariance, Emissions, Gaussians, Spectra
from dynvae.errors import ConfigError
from dynvae.nn import time_mask

Emission = TypeVar("Emission", bound=Emissions)
Model = TypeVar("Model", covariant=True)


class Fitted(NamedTuple, Generic[Model]):
    """A model, and what EM went through: the log-likelihood before each iteration and at the end, nats a frame."""

    model: Model
    log_likelihood: list[float]


class Drawn(NamedTuple):
    """Frames that were drawn, ``(n, length, feature)``, and their states, ``(n, length)``."""

    x: Tensor
    states: Tensor


class StateModel(Generic[Emission]):
    r"""Sequences of frames in one of K states each.

    .. math:: p(x, k) = \prod_t p(x_t | k_t)\, p(k_t | k_{t-1}), \quad \text{or} \quad \prod_t p(x_t | k_t)\, \pi_{k_t}.

    Everything is exact: :meth:`log_prob` by summing over all states, :meth:`posterior` by the forward-backward
    algorithm, ``fit`` by EM (Dempster et al., 1977; Baum et al., 1970), each of whose iterations ascends.

    Args:
        emissions: p(x_t | k).
        initial: π, ``(states,)``; of the first frame, where there are transitions.
        transitions: p(k_t | k_t-1), ``(states, states)``, rows of sum one; None for independent frames.

    Raises:
        ConfigError: the shapes do not fit.
    """

    title: ClassVar[str]
    paper: ClassVar[str]

    def __init__(self, emissions: Emission, initial: Tensor, transitions: Tensor | None = None) -> None:
        states = emissions.states
        if initial.shape != (states,) or (transitions is not None and transitions.shape != (states, states)):
            found = [tuple(given.shape) for given in (initial, transitions) if given is not None]
            raise ConfigError(
                f"{states} states have probabilities ({states},) and transitions ({states}, {states}), not {found}"
            )
        self.emissions, self.initial, self.transitions = emissions, initial, transitions

    @property
    def states(self) -> int:
        """K."""
        return self.emissions.states

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> Smoothed:
        """What is known of the states of ``(batch, time, feature)``: see :class:`~dynvae.classics.chain.Smoothed`."""
        return smoothed(self.emissions.log_prob(x), *self._logs(), lengths)

    def log_prob(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The exact ln p(x), ``(batch,)``, in nats a sequence."""
        return self.posterior(x, lengths).evidence

    def path(self, x: Tensor) -> Tensor:
        """The most likely states of whole sequences, ``(batch, time)``."""
        return best_path(self.emissions.log_prob(x), *self._logs())

    def sample(self, n: int, length: int, *, generator: torch.Generator | None = None) -> Drawn:
        """Draw ``n`` sequences of ``length`` frames."""
        state = torch.multinomial(self.initial.expand(n, -1), 1, generator=generator).squeeze(1)
        states = [state]
        for _ in range(length - 1):
            law = self.initial.expand(n, -1) if self.transitions is None else self.transitions[state]
            state = torch.multinomial(law, 1, generator=generator).squeeze(1)
            states.append(state)
        drawn = torch.stack(states, 1)
        return Drawn(self.emissions.sample(drawn, generator), drawn)

    def improved(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Self, float]:
        """The model after one iteration of EM, and the log-likelihood of this one, in nats a frame."""
        frames = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
        known = self.posterior(x, lengths)
        valid = time_mask(frames, x.shape[1])
        weight, seen = known.log_state.exp()[valid], x[valid]
        emissions = self.emissions.learned(seen, weight)
        first = known.log_state[:, 0].exp().sum(0) if self.transitions is not None else weight.sum(0)
        transitions = self.transitions
        if known.pairs is not None and transitions is not None:
            pairs = known.pairs.sum(0)
            left = pairs.sum(1, keepdim=True)
            transitions = torch.where(left > 0, pairs / left.clamp(min=torch.finfo(x.dtype).tiny), transitions)
        better = self._made(emissions, first / first.sum(), transitions)
        better = better._revived(seen, weight)
        return better, float(known.evidence.sum() / frames.sum())

    def _made(self, emissions: Emission, initial: Tensor, transitions: Tensor | None) -> Self:
        model = object.__new__(type(self))
        StateModel.__init__(model, emissions, initial, transitions)
        return model

    def _revived(self, x: Tensor, weight: Tensor) -> Self:
        """A state that less than one frame is in starts again from the frame that fits worst."""
        lost = (weight.sum(0) < 1).nonzero().flatten().tolist()
        if not lost or len(x) < self.states:
            return self
        fit = (self.emissions.log_prob(x) + self.initial.clamp(min=torch.finfo(x.dtype).tiny).log()).logsumexp(1)
        worst = fit.argsort()[: len(lost)]
        share = weight.clone()
        share[worst] = 0
        share[worst, torch.tensor(lost, device=x.device)] = 1
        initial = share.sum(0) / len(x)
        transitions = self.transitions
        if transitions is not None:
            transitions = (1 - 1 / len(x)) * transitions + initial / len(x)
        return self._made(self.emissions.learned(x, share), initial, transitions)

    def _logs(self) -> tuple[Tensor, Tensor | None]:
        tiny = torch.finfo(self.initial.dtype).tiny
        transitions = None if self.transitions is None else self.transitions.clamp(min=tiny).log()
        return self.initial.clamp(min=tiny).log(), transitions


def _fit(start: StateModel[Emission], x: Tensor, lengths: Tensor | None, iterations: int, tolerance: float) -> Fitted:
    """EM until it is done or gains less than ``tolerance`` nats a frame."""
    model, history = start, []
    for _ in range(iterations):
        better, before = model.improved(x, lengths)
        history.append(before)
        model = better
        if len(history) > 1 and history[-1] - history[-2] < tolerance:
            break
    frames = x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())
    return Fitted(model, [*history, float(model.log_prob(x, lengths).sum()) / frames])


def _frames(x: Tensor, lengths: Tensor | None, states: int) -> Tensor:
    if x.dim() != 3:
        raise ConfigError(f"x must be (batch, time, feature), not {tuple(x.shape)}")
    frames = x.flatten(0, 1) if lengths is None else x[time_mask(lengths, x.shape[1])]
    if len(frames) < states:
        raise ConfigError(f"{states} states need at least as many frames, not {len(frames)}")
    return frames


class GaussianMixture(StateModel[Gaussians]):
    r"""Mixture of Gaussians :math:`p(x_t) = \sum_k \pi_k \mathcal N(x_t; \mu_k, \Sigma_k)` on independent frames.

    Example:
        >>> source = torch.Generator().manual_seed(0)
        >>> x = torch.randn(2, 100, 2, generator=source) + torch.tensor([[[0.0]], [[5.0]]])
        >>> fitted = GaussianMixture.fit(x, states=2, generator=source)
        >>> fitted.model.emissions.mean.sort(0).values.round().abs()
        tensor([[0., 0.],
                [5., 5.]])
    """

    title: ClassVar[str] = "Gaussian mixture"
    paper: ClassVar[str] = "Dempster et al., 1977"

    @classmethod
    def fit(
        cls,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        states: int = 8,
        covariance: Covariance = "full",
        iterations: int = 100,
        tolerance: float = 1e-6,
        generator: torch.Generator | None = None,
    ) -> Fitted[GaussianMixture]:
        """Learn from ``(batch, time, feature)`` by EM.

        Args:
            x: the frames.
            lengths: ``(batch,)``.
            states: K.
            covariance: ``"full"`` or ``"diagonal"``.
            iterations: at most so many.
            tolerance: stop at a gain below this, nats a frame.
            generator: where the first means are drawn from.

        Raises:
            ConfigError: there are fewer frames than states.
        """
        start = Gaussians.start(_frames(x, lengths, states), states, covariance=covariance, generator=generator)
        return _fit(cls(start, x.new_full((states,), 1 / states)), x, lengths, iterations, tolerance)


class SpectralMixture(StateModel[Spectra]):
    r"""Mixture of spectra :math:`p(s_t) = \sum_k \pi_k \mathcal N_c(s_t; 0, \mathrm{diag}\,\sigma_k^2)` on powers.

    As prior of clean speech it has an exact E-step in noise (:class:`~dynvae.testtime.discrete.SpectralStates`).
    """

    title: ClassVar[str] = "Spectral Gaussian mixture"
    paper: ClassVar[str] = "Benaroya and Bimbot, 2003"

    @classmethod
    def fit(
        cls,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        states: int = 32,
        iterations: int = 30,
        tolerance: float = 1e-4,
        generator: torch.Generator | None = None,
    ) -> Fitted[SpectralMixture]:
        """Learn from power spectra ``(batch, time, bins)`` by EM; arguments as of :meth:`GaussianMixture.fit`."""
        start = Spectra.start(_frames(x, lengths, states), states, generator=generator)
        return _fit(cls(start, x.new_full((states,), 1 / states)), x, lengths, iterations, tolerance)


class HiddenMarkovModel(StateModel[Any]):
    r"""Hidden Markov model (Rabiner, 1989): the states of a mixture form a chain, :math:`p(k_t | k_{t-1})`."""

    title: ClassVar[str] = "Hidden Markov model"
    paper: ClassVar[str] = "Rabiner, 1989"

    @classmethod
    def fit(
        cls,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        states: int = 8,
        emissions: Literal["full", "diagonal", "spectra"] = "full",
        stay: float = 0.8,
        iterations: int = 100,
        tolerance: float = 1e-6,
        generator: torch.Generator | None = None,
    ) -> Fitted[HiddenMarkovModel]:
        """Learn from ``(batch, time, feature)`` by EM (Baum and Welch), from the states of a mixture on.

        Args:
            x: the frames; powers for ``"spectra"``.
            lengths: ``(batch,)``.
            states: K.
            emissions: Gaussians of ``"full"`` or ``"diagonal"`` covariance, or ``"spectra"``.
            stay: the transitions begin with this probability to stay.
            iterations: at most so many, of the mixture's EM and of the chain's.
            tolerance: stop at a gain below this, nats a frame.
            generator: where the first states are drawn from.

        Raises:
            ConfigError: there are fewer frames than states.
        """
        options: dict[str, Any] = {"states": states, "iterations": iterations, "tolerance": tolerance}
        mixture: StateModel[Any]
        if emissions == "spectra":
            mixture = SpectralMixture.fit(x, lengths, generator=generator, **options).model
        else:
            mixture = GaussianMixture.fit(x, lengths, covariance=emissions, generator=generator, **options).model
        leave = (1 - stay) / max(1, states - 1)
        transitions = x.new_full((states, states), leave).fill_diagonal_(stay if states > 1 else 1.0)
        return _fit(cls(mixture.emissions, mixture.initial, transitions), x, lengths, iterations, tolerance)
