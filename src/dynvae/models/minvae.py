"""The mixture of inference networks: frame by frame, the sound or the lips tell the latent."""

from __future__ import annotations

__all__ = ["MINVAE", "MixtureLaw"]

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dynvae.condition import Condition
from dynvae.dependencies import Dependencies
from dynvae.distributions import PriorLaw, bound_log_variance, gaussian, kl_per_dimension
from dynvae.models.base import ELBO
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.models.values import Latents, Posterior
from dynvae.models.views import Absent, View
from dynvae.nn import MLP

_LOG_TWO_PI = math.log(2 * math.pi)
_SURE = 30.0
"""Largest log-odds of the networks, as published."""


class MixtureLaw(PriorLaw):
    r"""Gaussians of which one makes the value: :math:`\sum_i w_i\, \mathcal N(\mu_i, \mathrm{diag}\, \sigma_i^2)`.

    The divergence of two of them is bounded by that of which one it was and what it made,

    .. math::
        D_{KL}(q \| p) \le \sum_i w^q_i \Big( D_{KL}(\mathcal N^q_i \| \mathcal N^p_i) + \ln\frac{w^q_i}{w^p_i} \Big).

    Args:
        loc: μ, ``(..., components, feature)``.
        log_variance: ln σ², what broadcasts to it.
        log_weight: ln w, ``(..., components)``, normalised.
    """

    exact: ClassVar[bool] = False

    def __init__(self, loc: Tensor, log_variance: Tensor, log_weight: Tensor) -> None:
        self.loc, self.log_variance, self.log_weight = loc, log_variance.expand_as(loc), log_weight
        super().__init__(loc.shape[:-2], loc.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> Tensor:
        return torch.cat([self.loc.flatten(-2), self.log_variance.flatten(-2), self.log_weight], -1)

    @property
    def mean(self) -> Tensor:
        """Σ w μ."""
        return self._mixed(self.loc)

    @property
    def variance(self) -> Tensor:
        """Σ w (σ² + μ²) - (Σ w μ)²."""
        return self._mixed(self.log_variance.exp() + self.loc.square()) - self.mean.square()

    def _mixed(self, values: Tensor) -> Tensor:
        return (self.log_weight.exp().unsqueeze(-1) * values).sum(-2)

    def joint(self, value: Tensor) -> Tensor:
        """Log of w_i N_i(value), ``(..., components)``; its softmax tells which component made the value."""
        error = (value.unsqueeze(-2) - self.loc).square() / self.log_variance.exp()
        return self.log_weight - 0.5 * (_LOG_TWO_PI + self.log_variance + error).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.joint(value).logsumexp(-1)

    def divergences(self, q: MixtureLaw) -> Tensor:
        """Of each component, KL(N_i^q ‖ N_i), ``(..., components)``."""
        difference = q.log_variance - self.log_variance
        error = (q.loc - self.loc).square() / self.log_variance.exp()
        return 0.5 * (difference.exp() + error - 1 - difference).sum(-1)

    def divergence(self, q: Distribution) -> Tensor:
        """The bound of KL(q ‖ this), ``(..., 1)``.

        Raises:
            TypeError: q is of another kind.
        """
        if not isinstance(q, MixtureLaw):
            raise TypeError(f"no closed form for a divergence of a {type(q).__name__} from a mixture")
        apart = self.divergences(q) + q.log_weight - self.log_weight
        return (q.log_weight.exp() * apart).sum(-1, keepdim=True)

    def divergence_from(self, p: Distribution) -> Tensor:
        """For a Gaussian p, the mean of the components' divergences: a bound, for the divergence is convex."""
        if not (isinstance(p, Independent) and isinstance(p.base_dist, Normal)):
            raise TypeError(f"no closed form for a divergence of a mixture from a {type(p).__name__}")
        mean, log_variance = p.base_dist.loc.unsqueeze(-2), 2 * p.base_dist.scale.log().unsqueeze(-2)
        difference = self.log_variance - log_variance
        error = (self.loc - mean).square() / log_variance.exp()
        return self._mixed(0.5 * (difference.exp() + error - 1 - difference))

    def push(self, noise: Tensor) -> Tensor:
        """The value that standard normal noise ``(..., feature + 1)`` makes: the last number picks the component."""
        picked = torch.special.ndtr(noise[..., -1:]) > self.log_weight.exp().cumsum(-1)[..., :-1]
        index = picked.sum(-1)[..., None, None].expand(*self.loc.shape[:-2], 1, self.loc.shape[-1])
        loc, log_variance = (part.gather(-2, index).squeeze(-2) for part in (self.loc, self.log_variance))
        return loc + (0.5 * log_variance).exp() * noise[..., :-1]

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        with torch.no_grad():
            shape = (*torch.Size(sample_shape), *self.batch_shape, self.loc.shape[-1] + 1)
            like: dict[str, Any] = {"dtype": self.loc.dtype, "device": self.loc.device}
            return self.push(torch.randn(shape, generator=generator, **like))

    def white(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.variance.sqrt()


class MINVAE(RecursiveDVAE):
    r"""Mixture of inference networks VAE (Sadeghi and Alameda-Pineda, 2021).

    .. math::
        p(x, z, \alpha) = \prod_t p(x_t | z_t) \prod_i [\pi_i\, \mathcal N(z_t; \mu_i, \sigma_i^2 I)]^{\alpha_{ti}},
        \qquad q(z, \alpha | x, v) = \prod_t \prod_i [r_{ti}\, q_i(z_t | \cdot)]^{\alpha_{ti}}

    with two encoders, :math:`q_1(z_t | x_t)` of sound and :math:`q_2(z_t | v_t)` of lips, one decoder, and learned
    priors: α_t tells which of the two knows the latent. The bound's maximum by r is its softmax of

    .. math:: \ln \pi_i + E_{q_i} \ln p(x_t | z_t) - D_{KL}(q_i \| \mathcal N(\mu_i, \sigma_i^2 I)),

    here with the expectation at the mean of q_i; r is a function of x and v, where the paper keeps a table of r for the
    training set. Without lips the sound tells the latent. In training all terms are summed over both encoders; else
    they are those of a sample of α. Noise for a sample has one number a frame more than z, which picks the encoder.

    At test time, α is summed out: to the E-steps this is a model whose prior is a mixture.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        v_dim: size of a frame of the condition.
        hidden: layers of the encoder of sound; the decoder has the same, reversed.
        v_hidden: layers of the encoder of lips.
        v_activation: of these layers.
        absent: what stands for their output where there are no lips; it has no part in r.
        loudness: in training, half of the frames that the encoder of sound sees have this times uniform noise added
            (the paper has 50), so that it learns when not to trust it; what is decoded stays clean. 0 adds none.
        activation: of ``hidden``.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Mixture of inference networks VAE"
    paper: ClassVar[str] = "Sadeghi and Alameda-Pineda, 2021"
    dependencies = Dependencies(prior="", likelihood="z[t]", posterior="x[t], v[t]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 32,
        v_dim: int = 4489,
        *,
        hidden: Sequence[int] = (128,),
        v_hidden: Sequence[int] = (512, 128),
        v_activation: str = "relu",
        absent: Absent = "zero",
        loudness: float = 0.0,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, condition_dim=v_dim, **kwargs)
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}
        self.loudness = loudness
        self.encoder = MLP(x_dim, hidden, 2 * self.z_dim, **options)
        lips = View(v_dim, v_hidden, absent=absent, activation=v_activation, dropout=dropout)
        self.views = nn.ModuleDict({"lips": lips})
        self.lips_encoder = MLP(lips.out_features, (), 2 * self.z_dim)
        self.prior_mean = nn.Parameter(0.1 * torch.randn(2, self.z_dim))
        self.prior_log_variance = nn.Parameter(torch.zeros(2, 1))
        self.prior_odds = nn.Parameter(torch.zeros(()))
        """ln π_1 - ln π_2."""
        self.decoder = MLP(z_dim, tuple(hidden)[::-1], x_dim * self.observation.outputs, **options)

    @property
    def noise_dim(self) -> int:
        return self.z_dim + 1

    def inference(self, p: Recursion) -> None:
        p.laws["posterior"] = p(self.encoder, p.x) + p(self.lips_encoder, p.view("lips"))

    def generation(self, p: Recursion) -> None:
        p.likelihood(p(self.decoder, p.z))

    def prior_of(self, gaussian: Distribution) -> MixtureLaw:
        shape = gaussian.mean.shape[:-1]
        return MixtureLaw(
            self.prior_mean.expand(*shape, -1, -1),
            bound_log_variance(self.prior_log_variance),
            torch.nn.functional.logsigmoid(torch.stack([self.prior_odds, -self.prior_odds])).expand(*shape, -1),
        )

    def infer(
        self,
        x: Tensor,
        lengths: Tensor | None,
        *,
        noise: Latents | None = None,
        latents: Latents | None = None,
        condition: Condition | None = None,
        **unused: Any,
    ) -> Posterior:
        seen = {"x": self.features(x, lengths)} | self._seen(condition, x)
        laws = [gaussian(self.encoder(self._loud(seen["x"]))), gaussian(self.lips_encoder(seen["view.lips"]))]
        loc = torch.stack([law.mean for law in laws], -2)
        log_variance = torch.stack([law.variance.log() for law in laws], -2)
        equal = torch.zeros_like(loc[..., 0])
        prior = self.prior_of(laws[0])
        told = prior.log_weight - prior.divergences(MixtureLaw(loc, log_variance, equal))
        told = told + torch.stack([self._decoded(law.mean).log_prob(x.to(loc)) for law in laws], -1)
        odds = (told[..., 0] - told[..., 1]).clamp(-_SURE, _SURE)
        odds = odds.nan_to_num(_SURE)  # padding may hold anything
        if condition is None:
            odds = torch.full_like(odds, _SURE)
        else:
            odds = odds.where(condition.present, _SURE)
        log_weight = torch.nn.functional.logsigmoid(torch.stack([odds, -odds], -1))
        law = MixtureLaw(loc, log_variance, log_weight)
        if latents is None:
            assert noise is not None
            latents = Latents(law.push(noise.z))
        return Posterior(latents, law, None, seen)

    def _loud(self, x: Tensor) -> Tensor:
        if not (self.training and self.loudness):
            return x
        noisy = torch.rand_like(x[..., :1]) < 0.5
        return torch.where(noisy, x + self.loudness * torch.rand_like(x), x)

    def _decoded(self, z: Tensor) -> Distribution:
        return self.observation(self.decoder(self.code(z)))

    def elbo(self, x: Tensor, lengths: Tensor | None = None, **options: Any) -> ELBO:
        """The evidence lower bound: see :meth:`DVAE.elbo`; in training, summed over both encoders."""
        if not self.training or options.get("samples", 1) > 1:
            return super().elbo(x, lengths, **options)
        given = self._given(options.get("condition"), x)
        x, lengths, ragged, valid = self._prepare(x, lengths)
        noise = options.get("noise") or self.draw_noise(x.shape[0], x.shape[1], options.get("generator"))
        law = self.posterior(x, ragged, noise=noise, **given).z
        assert isinstance(law, MixtureLaw)
        z = law.loc + (0.5 * law.log_variance).exp() * noise.z[..., None, :-1]
        terms = [self._decoded(one).log_prob(x) for one in z.unbind(-2)]
        log_likelihood = (law.log_weight.exp() * torch.stack(terms, -1)).sum(-1).where(valid, 0)
        kl = kl_per_dimension(law, self.prior_of(law)).where(valid.unsqueeze(-1), 0)
        return ELBO(log_likelihood, kl, None, lengths)

    def foreseen(self, condition: Condition, x: Tensor) -> Tensor:
        """What the lips alone tell of the latents: the mean of their encoder."""
        mean, _ = self.lips_encoder(self._seen(condition, x)["view.lips"]).chunk(2, -1)
        return mean
