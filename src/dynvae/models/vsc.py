"""Variational sparse coding: latents that are exactly zero in most frames."""

from __future__ import annotations

__all__ = ["VSC", "SpikeSlab"]

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from dynvae.distributions import PriorLaw, bound_log_variance
from dynvae.errors import ConfigError
from dynvae.models.base import ELBO, Latents, Posterior
from dynvae.models.recursive import Recursion
from dynvae.models.vae import VAE
from dynvae.nn import MLP

_LOG_TWO_PI = math.log(2 * math.pi)
_SURE = math.log(1e6)
"""Largest log-odds of γ, which keeps it from 0 and 1 by 1e-6, as published."""


class SpikeSlab(PriorLaw):
    r"""Latents that are often zero: :math:`\gamma\, \mathcal N(\mu, \sigma^2) + (1 - \gamma)\, \delta_0`.

    Densities are told with respect to the Lebesgue measure and a unit mass at zero: there, it is 1 - γ. The divergence
    of two such laws is (Tonolini et al., 2020)

    .. math:: D_{KL}(q \| p) = \gamma_q D_{KL}(\mathcal N_q \| \mathcal N_p) + \gamma_q \ln\frac{\gamma_q}{\gamma_p}
              + (1 - \gamma_q) \ln\frac{1 - \gamma_q}{1 - \gamma_p}.

    Args:
        loc: μ, ``(..., feature)``.
        log_variance: ln σ².
        logit: ln γ / (1 - γ).
    """

    smooth: ClassVar[bool] = False

    def __init__(self, loc: Tensor, log_variance: Tensor, logit: Tensor) -> None:
        self.loc, self.log_variance, self.logit = loc, log_variance, logit
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> Tensor:
        return torch.cat([self.loc, self.log_variance, self.logit], -1)

    @property
    def active(self) -> Tensor:
        """γ, the probability not to be zero."""
        return self.logit.sigmoid()

    @property
    def mean(self) -> Tensor:
        """The mean, γ μ."""
        return self.active * self.loc

    @property
    def variance(self) -> Tensor:
        """γ (σ² + μ²) - γ² μ²."""
        return self.active * (self.log_variance.exp() + (1 - self.active) * self.loc.square())

    def log_prob(self, value: Tensor) -> Tensor:
        slab = -0.5 * (_LOG_TWO_PI + self.log_variance + (value - self.loc).square() / self.log_variance.exp())
        on = torch.nn.functional.logsigmoid(self.logit) + slab
        return torch.where(value == 0, torch.nn.functional.logsigmoid(-self.logit), on).sum(-1)

    def divergence(self, q: Distribution) -> Tensor:
        """KL(q ‖ this) of each latent.

        Raises:
            TypeError: q is of another kind.
        """
        if not isinstance(q, SpikeSlab):
            raise TypeError(f"no closed form for a divergence of a {type(q).__name__} from a spike and slab")
        difference = q.log_variance - self.log_variance
        error = (q.loc - self.loc).square() / self.log_variance.exp()
        slab = 0.5 * (difference.exp() + error - 1 - difference)
        log_on, log_off = (torch.nn.functional.logsigmoid(sign * q.logit) for sign in (1, -1))
        own_on, own_off = (torch.nn.functional.logsigmoid(sign * self.logit) for sign in (1, -1))
        return log_on.exp() * (slab + log_on - own_on) + log_off.exp() * (log_off - own_off)

    def push(self, noise: Tensor) -> Tensor:
        """The value that standard normal noise ``(..., 2 · feature)`` makes: one half fills the slab, one opens it."""
        slab, gate = noise.chunk(2, -1)
        opened = torch.special.ndtr(gate) > (-self.logit).sigmoid()
        return torch.where(opened, self.loc + (0.5 * self.log_variance).exp() * slab, 0)

    def relaxed(self, noise: Tensor, sharpness: float) -> Tensor:
        """Nearly :meth:`push`, with a gradient by γ: the slab times sigmoid(sharpness · (η - 1 + γ)), η uniform."""
        slab, gate = noise.chunk(2, -1)
        opened = torch.sigmoid(sharpness * (torch.special.ndtr(gate) - 1 + self.active))
        return opened * (self.loc + (0.5 * self.log_variance).exp() * slab)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            shape = (*torch.Size(sample_shape), *self.loc.shape[:-1], 2 * self.loc.shape[-1])
            like: dict[str, Any] = {"dtype": self.loc.dtype, "device": self.loc.device}
            return self.push(torch.randn(shape, generator=generator, **like))

    def white(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.variance.sqrt()


class VSC(VAE):
    r"""Variational sparse coding (Tonolini et al., 2020): a VAE whose latents are zero in most frames.

    .. math::
        p(z) = \prod_j \alpha\, \mathcal N(z_j; 0, 1) + (1 - \alpha)\, \delta(z_j), \qquad
        q(z | x) = \prod_j \gamma_j\, \mathcal N(z_j; \mu_j, \sigma_j^2) + (1 - \gamma_j)\, \delta(z_j),

    for every frame. In evaluation latents are zero or not; in training the step between is a steep sigmoid, whose
    gradient reaches γ (:meth:`SpikeSlab.relaxed`), and what is computed then is the bound only nearly. The prior is the
    fixed one of the paper's first version (2019); the pseudo-inputs of the second are left out. γ is a sigmoid of the
    encoder's output instead of the exponential of a rectified one, whose gradient dies at γ = 1.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        hidden: sizes of the encoder's hidden layers; the decoder has the same, reversed.
        active: α, the prior's probability of a latent not to be zero.
        sharpness: of the relaxed step.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.

    Raises:
        ConfigError: α does not lie between 0 and 1, or the latent has another structure as well.
    """

    title: ClassVar[str] = "Variational sparse coding"
    paper: ClassVar[str] = "Tonolini et al., 2020"
    slab: float
    """How far the slab of q has its own mean and variance: 1, but for copies that :meth:`elbo` makes."""

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 32,
        *,
        hidden: Sequence[int] = (128,),
        active: float = 0.5,
        sharpness: float = 50.0,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, hidden=hidden, activation=activation, dropout=dropout, **kwargs)
        if not 0 < active < 1 or sharpness <= 0:
            raise ConfigError(f"active is a probability between 0 and 1, sharpness positive, not {active}, {sharpness}")
        if self.degrees is not None:
            raise ConfigError("the latents of a VSC are a spike and a slab; take a VAE for latent=sparse")
        self.active, self.sharpness = active, sharpness
        self.slab = 1.0
        self.encoder = MLP(x_dim, hidden, 3 * self.z_dim, activation=activation, dropout=dropout)

    @property
    def noise_dim(self) -> int:
        return 2 * self.z_dim

    def inference(self, p: Recursion) -> None:
        p.laws["posterior"] = p(self.encoder, p.x)

    def infer(
        self,
        x: Tensor,
        lengths: Tensor | None,
        *,
        noise: Latents | None = None,
        latents: Latents | None = None,
        **given: Any,
    ) -> Posterior:
        seen = {"x": self.features(x, lengths)}
        packed = self.encoder(seen["x"])
        loc, log_variance, logit = packed.to(torch.promote_types(packed.dtype, torch.float32)).chunk(3, -1)
        law = SpikeSlab(self.slab * loc, self.slab * bound_log_variance(log_variance), logit.clamp(-_SURE, _SURE))
        if latents is None:
            assert noise is not None
            z = law.relaxed(noise.z, self.sharpness) if self.training else law.push(noise.z)
            latents = Latents(z)
        return Posterior(latents, law, None, seen)

    def prior_of(self, gaussian: Distribution) -> SpikeSlab:
        zero = torch.zeros_like(gaussian.mean)
        return SpikeSlab(zero, zero, zero + math.log(self.active / (1 - self.active)))

    def elbo(self, x: Tensor, lengths: Tensor | None = None, *, slab: float = 1.0, **options: Any) -> ELBO:
        """The evidence lower bound: see :meth:`DVAE.elbo`.

        Args:
            x: ``(batch, time, x_dim)``.
            lengths: ``(batch,)``.
            slab: factor on mean and log-variance of q's slab. At 0 latents are standard normal or nothing; a training
                that raises it slowly to 1 learns first which latents to use (the paper's warm-up).
            options: of :meth:`DVAE.elbo`.
        """
        options.pop("truncate", None)  # nothing flows from frame to frame
        if slab == 1:
            return super().elbo(x, lengths, **options)
        warming = copy.copy(self)
        warming.slab = slab
        return VAE.elbo(warming, x, lengths, **options)
