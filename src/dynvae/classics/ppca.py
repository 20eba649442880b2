"""Probabilistic principal component analysis: the linear VAE, with everything known exactly."""

from __future__ import annotations

__all__ = ["PPCA"]

from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from dynvae.classics.states import Fitted
from dynvae.errors import ConfigError
from dynvae.models.vae import VAE
from dynvae.nn import time_mask


class PPCA:
    r"""Probabilistic PCA (Tipping and Bishop, 1999; Roweis, 1998), on each frame.

    .. math:: z \sim \mathcal N(0, I), \quad x | z \sim \mathcal N(A z + b, \nu I), \qquad
              z | x \sim \mathcal N(M^{-1} A^\top (x - b), \nu M^{-1}), \quad M = A^\top A + \nu I.

    A is known up to a rotation of z; :meth:`fit` gives the A whose columns are orthogonal, and z | x then has
    independent components: :meth:`to_vae` is that model as a VAE, whose ELBO is :meth:`log_prob`.

    Args:
        loading: A, ``(x_dim, z_dim)``.
        mean: b, ``(x_dim,)``.
        noise: ν.

    Raises:
        ConfigError: the shapes do not fit, or ν is not positive.
    """

    title: ClassVar[str] = "Probabilistic PCA"
    paper: ClassVar[str] = "Tipping and Bishop, 1999"

    def __init__(self, loading: Tensor, mean: Tensor, noise: float) -> None:
        if loading.dim() != 2 or mean.shape != loading.shape[:1] or noise <= 0:
            raise ConfigError(f"A is (x_dim, z_dim), b (x_dim,) and the noise positive, not {tuple(loading.shape)}, "
                              f"{tuple(mean.shape)}, {noise}")  # fmt: skip
        self.loading, self.mean, self.noise = loading, mean, noise

    @classmethod
    def fit(
        cls,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        z_dim: int = 16,
        method: Literal["closed", "em"] = "closed",
        iterations: int = 1000,
        tolerance: float = 1e-9,
        generator: torch.Generator | None = None,
    ) -> Fitted[PPCA]:
        """The most likely model of frames ``(batch, time, x_dim)``.

        Args:
            x: the frames.
            lengths: ``(batch,)``.
            z_dim: size of z, less than x_dim.
            method: ``"closed"``: from the eigenvectors of the covariance; ``"em"``: the same in the end, from a random
                A on, without a matrix of size x_dim².
            iterations: of EM, at most.
            tolerance: EM stops at a gain below this, nats a frame.
            generator: where EM's first A is drawn from.

        Raises:
            ConfigError: z is not smaller than x.
        """
        frames = x.flatten(0, 1) if lengths is None else x[time_mask(lengths, x.shape[1])]
        size = frames.shape[1]
        if not 0 < z_dim < size:
            raise ConfigError(f"z_dim is positive and less than x_dim = {size}, not {z_dim}")
        mean = frames.mean(0)
        centred = frames - mean
        if method == "closed":
            values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
            values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
            noise = float(values[z_dim:].mean().clamp(min=torch.finfo(x.dtype).tiny))
            model = cls(vectors[:, :z_dim] * (values[:z_dim] - noise).clamp(min=0).sqrt(), mean, noise)
            return Fitted(model, [float(model.log_prob(frames.unsqueeze(0)).sum()) / len(frames)])
        if method != "em":
            raise ConfigError(f"the method is closed or em, not '{method}'")
        spread = float(centred.square().mean())
        start = torch.randn(size, z_dim, generator=generator, dtype=x.dtype, device=x.device)
        model, history = cls(spread**0.5 * start, mean, spread), []
        for _ in range(iterations):
            history.append(float(model.log_prob(frames.unsqueeze(0)).sum()) / len(frames))
            if len(history) > 1 and history[-1] - history[-2] < tolerance:
                break
            model = model._improved(centred)
        return Fitted(model._turned(), history)

    def _improved(self, centred: Tensor) -> PPCA:
        """One iteration of EM."""
        inverse = torch.linalg.inv(self._gram())
        expected = centred @ self.loading @ inverse  # E[z | x]
        second = len(centred) * self.noise * inverse + expected.T @ expected
        loading = torch.linalg.solve(second, expected.T @ centred).T
        noise = (centred.square().sum() - (centred @ loading * expected).sum()) / centred.numel()
        return PPCA(loading, self.mean, float(noise.clamp(min=torch.finfo(centred.dtype).tiny)))

    def _turned(self) -> PPCA:
        """The same law of x, with orthogonal columns of A, the longest first."""
        left, values, _ = torch.linalg.svd(self.loading, full_matrices=False)
        return PPCA(left * values, self.mean, self.noise)

    def _gram(self) -> Tensor:
        """M."""
        identity = torch.eye(self.loading.shape[1], dtype=self.loading.dtype, device=self.loading.device)
        return self.loading.T @ self.loading + self.noise * identity

    def posterior(self, x: Tensor, lengths: Tensor | None = None) -> MultivariateNormal:
        """Law of z given x, batch shape ``(batch, time)``."""
        inverse = torch.linalg.inv(self._gram())
        mean = (x - self.mean) @ self.loading @ inverse
        return MultivariateNormal(mean, (self.noise * inverse).expand(*mean.shape, -1))

    def log_prob(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The exact ln p(x), ``(batch,)``, in nats a sequence."""
        identity = torch.eye(len(self.mean), dtype=x.dtype, device=x.device)
        frames = MultivariateNormal(self.mean, self.loading @ self.loading.T + self.noise * identity).log_prob(x)
        return (frames if lengths is None else frames.where(time_mask(lengths, x.shape[1]), 0)).sum(-1)

    def sample(self, n: int, length: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``(n, length, x_dim)``."""
        like: dict[str, Any] = {"dtype": self.mean.dtype, "device": self.mean.device, "generator": generator}
        z = torch.randn(n, length, self.loading.shape[1], **like)
        noise = torch.randn(n, length, len(self.mean), **like)
        return z @ self.loading.T + self.mean + self.noise**0.5 * noise

    def to_vae(self) -> VAE:
        """The VAE without hidden layers whose encoder is the exact posterior."""
        exact = self._turned()
        inverse = torch.linalg.inv(exact._gram())
        vae = VAE(*exact.loading.shape, hidden=(), likelihood="fixed_gaussian", observation_std=self.noise**0.5)
        vae = vae.to(self.mean)
        encode, log_variance = inverse @ exact.loading.T, (self.noise * inverse.diagonal()).log()
        first, last = (cast(nn.Linear, net.layers[0]) for net in (vae.encoder, vae.decoder))
        with torch.no_grad():
            first.weight.copy_(torch.cat([encode, torch.zeros_like(encode)]))
            first.bias.copy_(torch.cat([-encode @ self.mean, log_variance]))
            last.weight.copy_(exact.loading)
            last.bias.copy_(self.mean)
        return vae
