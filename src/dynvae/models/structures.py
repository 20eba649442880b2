"""Structures that the latent of any member of the family can be given: a dictionary of atoms, and sparsity."""

from __future__ import annotations

__all__ = ["DICTIONARIES", "Dictionary", "SparseLaw", "dct_atoms", "relevance"]

import math
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dynvae.distributions import PriorLaw
from dynvae.errors import ConfigError

DictionaryName = Literal["identity", "dct", "learned"]
DICTIONARIES = get_args(DictionaryName)


class Dictionary(nn.Module):
    r"""The code z = D a of coefficients a, with atoms (columns of D) of unit norm (Sadeghi and Magron, 2022).

    Args:
        kind: ``"dct"`` (:func:`dct_atoms`, fixed) or ``"learned"`` (from random directions on).
        code_dim: size of z.
        atoms: number of atoms, the size of a.

    Raises:
        ConfigError: there is no such dictionary.

    Example:
        >>> Dictionary("dct", 8, 12)(torch.ones(2, 5, 12)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, kind: str, code_dim: int, atoms: int) -> None:
        super().__init__()
        self.in_features, self.out_features = atoms, code_dim
        self.bias = None
        if kind == "dct":
            self.register_buffer("directions", dct_atoms(code_dim, atoms))
        elif kind == "learned":
            self.directions = nn.Parameter(torch.randn(code_dim, atoms))
        else:
            raise ConfigError(f"there is no dictionary '{kind}'; there are {', '.join(DICTIONARIES)}")

    @property
    def weight(self) -> Tensor:
        """D, ``(code_dim, atoms)``."""
        directions: Tensor = self.directions
        return directions / torch.linalg.vector_norm(directions, dim=0)

    def forward(self, a: Tensor) -> Tensor:
        """D a, ``(..., code_dim)``."""
        return a @ self.weight.mT


def dct_atoms(code_dim: int, atoms: int) -> Tensor:
    r"""Cosines :math:`\cos(\pi k (i + \frac12) / K)`, k = 0..K-1, without their means, ``(code_dim, atoms)``.

    As many atoms as dimensions are the orthonormal DCT-II, more are an overcomplete dictionary.

    Example:
        >>> D = dct_atoms(6, 6)
        >>> bool((D.T @ D - torch.eye(6)).abs().max() < 1e-6)
        True
    """
    places = torch.arange(code_dim, dtype=torch.float64) + 0.5
    cosines = torch.cos(math.pi * torch.arange(atoms, dtype=torch.float64) * places.unsqueeze(1) / atoms)
    centred = cosines - cosines.mean(0)
    constant = torch.linalg.vector_norm(centred, dim=0) < 1e-6
    centred[:, constant] = 1.0
    return (centred / torch.linalg.vector_norm(centred, dim=0)).float()


def relevance(second_moment: Tensor, scale: Tensor | float = 1.0, degrees: float = 0.0) -> Tensor:
    r"""The variance γ of each coefficient, in closed form: :math:`(\nu s^2 + \mathrm E_q[a^2]) / (\nu + 1)`.

    The posterior of γ under its prior, the inverse gamma law of a Student t of scale s and ν degrees of freedom, is
    inverse gamma; this is the inverse of its mean precision. With ν = 0, :math:`\gamma = \mathrm E_q[a^2] = \mu^2 +
    \sigma^2` (Sadeghi and Magron, 2022): the variance that is the most likely.

    Args:
        second_moment: E[a²] (of a less its location).
        scale: s.
        degrees: ν.
    """
    return (degrees * torch.as_tensor(scale) ** 2 + second_moment) / (degrees + 1)


class SparseLaw(PriorLaw):
    r"""Coefficients with a variance of their own each, :math:`a \sim \mathcal N(m, \gamma)`, most of them near zero.

    With γ of inverse gamma law, a is Student t:

    .. math:: p(a) = \int \mathcal N(a; m, \gamma)\, \mathcal{IG}(\gamma; \tfrac\nu2, \tfrac{\nu s^2}2)\, d\gamma.

    The divergence is that of q(a) q(γ) with the best q(γ), known in closed form (:func:`relevance`): with
    :math:`r = \mathrm E_q[(a - m)^2]`,

    .. math:: D = -\mathrm H(q) - \ln \mathrm{St}_\nu(\sqrt r; s) \ge D_{KL}(q \| p),

    so that the ELBO stays a bound of ln p(x). As ν falls to zero its gradient becomes that of

    .. math:: D_{KL}(q \| \mathcal N(m, r)) = \tfrac12 \ln\left(1 + (\mu - m)^2 / \sigma^2\right),

    the objective of SDM-VAE (Sadeghi and Magron, 2022), which ``degrees=0`` gives exactly: there each γ is a parameter
    that every frame may choose. That is no law: nothing can be drawn from it, and no density told.

    Args:
        loc: m, ``(..., feature)``.
        scale: s.
        degrees: ν ≥ 0.
    """

    exact: ClassVar[bool] = False

    def __init__(self, loc: Tensor, scale: Tensor, degrees: float) -> None:
        self.loc, self.scale, self.degrees = loc, scale, degrees
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> Tensor:
        return torch.cat([self.loc, self.scale], -1)

    @property
    def mean(self) -> Tensor:
        """The location, which is the mean where there is one."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Infinite up to two degrees of freedom."""
        factor = self.degrees / (self.degrees - 2) if self.degrees > 2 else math.inf
        return factor * self.scale.square()

    def log_prob(self, value: Tensor) -> Tensor:
        return self._log_density((value - self.loc).square()).sum(-1)

    def _log_density(self, square: Tensor) -> Tensor:
        """Ln St_ν(√square), of each coefficient."""
        v = self._proper()
        constant = math.lgamma((v + 1) / 2) - math.lgamma(v / 2) - 0.5 * math.log(math.pi * v)
        return constant - self.scale.log() - (v + 1) / 2 * torch.log1p(square / (v * self.scale.square()))

    def divergence(self, q: Distribution) -> Tensor:
        """D of each coefficient.

        Raises:
            TypeError: q is not a Gaussian of independent coefficients.
        """
        if not (isinstance(q, Independent) and isinstance(q.base_dist, Normal)):
            raise TypeError(f"no closed form for a divergence of a {type(q).__name__} from a sparse law")
        square = (q.base_dist.loc - self.loc).square()
        variance = q.base_dist.scale.square()
        if not self.degrees:
            return 0.5 * torch.log1p(square / variance)
        return -0.5 * (2 * math.pi * math.e * variance).log() - self._log_density(square + variance)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.loc.shape
            noise = self.noise(shape, like=self.loc, generator=generator)
            return self.loc + self.scale * noise

    def noise(self, shape: torch.Size, *, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draws of the law with location 0 and scale 1."""
        half = like.new_full(shape, self._proper() / 2)
        precision = (torch._standard_gamma(half, generator) / half).clamp(min=torch.finfo(like.dtype).tiny)
        normal = torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        return normal / precision.sqrt()

    def white(self, value: Tensor) -> Tensor:
        """A function of a coefficient that has mean 0 and variance 1 under this law, whatever ν."""
        square = ((value - self.loc) / self.scale).square()
        v = self._proper()
        return (value - self.loc).sign() * (square / (v + square) * (v + 1)).sqrt()

    def _proper(self) -> float:
        if not self.degrees:
            raise ConfigError("with degrees=0 every frame chooses its variances, and there is no law of the latents "
                              "to draw from; give the model degrees, e.g. 1")  # fmt: skip
        return self.degrees
