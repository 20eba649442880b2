"""Linear-Gaussian state space models: the Kalman filter as a model of its own, learned by EM."""

from __future__ import annotations

__all__ = ["Drawn", "LinearStateSpace", "Moments"]

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynvae.classics.ppca import PPCA
from dynvae.classics.states import Fitted
from dynvae.errors import ConfigError
from dynvae.models.kalman import Filtered, LinearGaussian, kalman_filter, kalman_smoother
from dynvae.nn import time_mask


class Moments(NamedTuple):
    """Law of the state given the whole sequence: means ``(batch, time, z_dim)``, and covariances of each and of pairs.

    Attributes:
        mean: E[z_t | x].
        covariance: Cov[z_t | x].
        lagged: Cov[z_t, z_t-1 | x], ``(batch, time - 1, z_dim, z_dim)``, of t = 2 on.
    """

    mean: Tensor
    covariance: Tensor
    lagged: Tensor


class Drawn(NamedTuple):
    """Frames that were drawn, ``(n, length, x_dim)``, and their states."""

    x: Tensor
    z: Tensor


class LinearStateSpace:
    r"""Linear-Gaussian state space model (Kalman, 1960).

    .. math:: z_1 \sim \mathcal N(0, P), \quad z_t = A z_{t-1} + \mathcal N(0, Q), \quad
              x_t = C z_t + b + \mathcal N(0, R), \quad R = \mathrm{diag}(r).

    Args:
        transition: A, ``(z_dim, z_dim)``.
        transition_noise: Q.
        emission: C, ``(x_dim, z_dim)``.
        offset: b, ``(x_dim,)``.
        emission_noise: r, ``(x_dim,)``.
        initial: P.

    Raises:
        ConfigError: the shapes do not fit.
    """

    title: ClassVar[str] = "Linear-Gaussian state space model"
    paper: ClassVar[str] = "Kalman, 1960"

    def __init__(
        self,
        transition: Tensor,
        transition_noise: Tensor,
        emission: Tensor,
        offset: Tensor,
        emission_noise: Tensor,
        initial: Tensor,
    ) -> None:
        x_dim, z_dim = emission.shape
        square, flat = (z_dim, z_dim), (x_dim,)
        given = [tuple(t.shape) for t in (transition, transition_noise, initial, offset, emission_noise)]
        if given != [square, square, square, flat, flat]:
            raise ConfigError(f"A, Q and P are {square}, b and r {flat} for this emission, not {given}")
        self.transition, self.transition_noise, self.emission = transition, transition_noise, emission
        self.offset, self.emission_noise, self.initial = offset, emission_noise, initial

    @classmethod
    def fit(
        cls,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        z_dim: int = 4,
        iterations: int = 100,
        tolerance: float = 1e-5,
    ) -> Fitted[LinearStateSpace]:
        """Learn from ``(batch, time, x_dim)`` by EM (Shumway and Stoffer, 1982), from a probabilistic PCA on.

        Args:
            x: the sequences.
            lengths: ``(batch,)``.
            z_dim: size of the state, less than x_dim.
            iterations: at most so many.
            tolerance: stop at a gain below this, nats a frame.

        Raises:
            ConfigError: the state is not smaller than a frame.
        """
        pca = PPCA.fit(x, lengths, z_dim=z_dim).model
        identity = torch.eye(z_dim, dtype=x.dtype, device=x.device)
        noise = pca.mean.new_full(pca.mean.shape, pca.noise)
        model = cls(0.9 * identity, (1 - 0.9**2) * identity, pca.loading, pca.mean, noise, identity)
        frames = x.shape[0] * x.shape[1] if lengths is None else int(lengths.sum())
        history: list[float] = []
        for _ in range(iterations):
            better, evidence = model._improved(x, lengths)
            history.append(float(evidence.sum()) / frames)
            if len(history) > 1 and history[-1] - history[-2] < tolerance:
                break
            model = better
        return Fitted(model, history)

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> Moments:
        """The Kalman smoother; moments in the padding mean nothing."""
        filtered, matrices = self._filter(x)
        return self._smooth(filtered, matrices, lengths)

    def log_prob(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The exact ln p(x), ``(batch,)``, by the Kalman filter, in nats a sequence."""
        return self._evidence(self._filter(x)[0], x, lengths)

    def predict(self, x: Tensor) -> MultivariateNormal:
        """The law p(x_t | x_1:t-1) at every frame, batch shape ``(batch, time)``."""
        law = self._filter(x)[0].observation
        return MultivariateNormal(law.loc + self.offset, scale_tril=law.scale_tril)

    def sample(self, n: int, length: int, *, generator: torch.Generator | None = None) -> Drawn:
        """Draw ``n`` sequences of ``length`` frames."""

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=self.offset.dtype, device=self.offset.device)

        root, first = (torch.linalg.cholesky(matrix) for matrix in (self.transition_noise, self.initial))
        z = noise(n, len(first)) @ first.T
        states = [z]
        for _ in range(length - 1):
            z = z @ self.transition.T + noise(n, len(first)) @ root.T
            states.append(z)
        path = torch.stack(states, 1)
        mean = path @ self.emission.T + self.offset
        return Drawn(mean + self.emission_noise.sqrt() * noise(*mean.shape), path)

    def _filter(self, x: Tensor) -> tuple[Filtered, LinearGaussian]:
        batch, time, _ = x.shape
        size = len(self.transition)
        matrices = LinearGaussian(
            self.transition.expand(batch, time, -1, -1),
            x.new_zeros(batch, time, size, 1),
            self.emission.expand(batch, time, -1, -1),
            self.transition_noise,
            torch.diag(self.emission_noise),
        )
        return kalman_filter(x - self.offset, x.new_zeros(batch, time, 1), matrices, self.initial), matrices

    def _evidence(self, filtered: Filtered, x: Tensor, lengths: Tensor | None) -> Tensor:
        frames = filtered.observation.log_prob(x - self.offset)
        return (frames if lengths is None else frames.where(time_mask(lengths, x.shape[1]), 0)).sum(-1)

    def _smooth(self, filtered: Filtered, matrices: LinearGaussian, lengths: Tensor | None) -> Moments:
        mean, covariance = kalman_smoother(filtered, matrices, lengths)
        ahead = filtered.predicted_covariance[:, 1:]
        gain = torch.linalg.solve(ahead, self.transition @ filtered.covariance[:, :-1]).mT
        return Moments(mean, covariance, covariance[:, 1:] @ gain.mT)

    def _improved(self, x: Tensor, lengths: Tensor | None) -> tuple[LinearStateSpace, Tensor]:
        """One iteration of EM, and ln p(x) of this model."""
        filtered, matrices = self._filter(x)
        mean, covariance, lagged = self._smooth(filtered, matrices, lengths)
        frames = torch.full((len(x),), x.shape[1], device=x.device) if lengths is None else lengths
        valid = time_mask(frames, x.shape[1])
        second = covariance + mean.unsqueeze(-1) * mean.unsqueeze(-2)
        cross = lagged + mean[:, 1:].unsqueeze(-1) * mean[:, :-1].unsqueeze(-2)
        later = valid[:, 1:]
        after, before, both = (m[later].sum(0) for m in (second[:, 1:], second[:, :-1], cross))
        transition = torch.linalg.solve(before, both.mT).mT
        moves = max(1, int(later.sum()))
        noise = (after - transition @ both.mT - both @ transition.mT + transition @ before @ transition.mT) / moves
        seen, known = x[valid], mean[valid]
        # C and b together: the state with a one beside it.
        count = seen.new_full((1, 1), len(seen))
        total = known.sum(0, keepdim=True)
        moments = torch.cat([torch.cat([second[valid].sum(0), total.T], 1), torch.cat([total, count], 1)])
        joint = torch.cat([seen.T @ known, seen.sum(0).unsqueeze(1)], 1)
        both_maps = torch.linalg.solve(moments, joint.mT).mT
        spread = (seen.square().sum(0) - (both_maps * joint).sum(1)) / len(seen)
        better = LinearStateSpace(
            transition,
            0.5 * (noise + noise.mT),
            both_maps[:, :-1].contiguous(),
            both_maps[:, -1].contiguous(),
            spread.clamp(min=torch.finfo(x.dtype).eps * float(seen.square().mean())),
            second[:, 0].mean(0),
        )
        return better, self._evidence(filtered, x, lengths)
