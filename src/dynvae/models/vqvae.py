"""The vector-quantised VAE: every frame becomes a few codes."""

from __future__ import annotations

__all__ = ["VQVAE"]

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dynvae.dependencies import Dependencies
from dynvae.distributions import PriorLaw
from dynvae.errors import ConfigError
from dynvae.models.framewise import FramewiseDVAE
from dynvae.models.quantisers import FSQ, Codebook, Quantised, Quantiser, perplexity
from dynvae.models.values import Latents, Posterior
from dynvae.nn import ACTIVATIONS, time_mask


class Chosen(PriorLaw):
    """The law of codes that are known: all mass on one value, which has a density of 1 and elsewhere 0."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> Tensor:
        return self.value

    @property
    def mean(self) -> Tensor:
        """The value."""
        return self.value

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.value)

    def log_prob(self, value: Tensor) -> Tensor:
        here = (value == self.value).all(-1)
        return torch.zeros_like(self.value[..., 0]).where(here, -math.inf)

    def divergence(self, q: Distribution) -> Tensor:
        if not isinstance(q, Chosen):
            raise TypeError(f"no closed form for a divergence of a {type(q).__name__} from codes that are known")
        return torch.zeros_like(self.value).where(q.value == self.value, math.inf)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        return self.value.expand(*torch.Size(sample_shape), *self.value.shape)

    def white(self, value: Tensor) -> Tensor:
        raise NotImplementedError("a constant has no variance")


class Uniform(PriorLaw):
    """The law of codes all of which are as likely, at each of ``positions`` independent places.

    Args:
        quantiser: knows the codes' vectors.
        positions: how many vectors make a frame.
        like: tells shape, type and place of a value, ``(..., width · positions)``.
    """

    def __init__(self, quantiser: Quantiser, positions: int, like: Tensor) -> None:
        self.quantiser, self.positions, self.like = quantiser, positions, like.detach()
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> Tensor:
        return torch.full_like(self.like, math.log(self.quantiser.count) / self.quantiser.width)

    @property
    def mean(self) -> Tensor:
        """The mean of all codes' vectors."""
        every = torch.arange(min(self.quantiser.count, 2**16), device=self.like.device)
        return _flat(self.quantiser.lookup(every).mean(0).to(self.like).expand(self.positions, -1)).expand_as(self.like)

    @property
    def variance(self) -> Tensor:
        """The variance of all codes' vectors."""
        every = torch.arange(min(self.quantiser.count, 2**16), device=self.like.device)
        spread = self.quantiser.lookup(every).var(0, correction=0).to(self.like)
        return _flat(spread.expand(self.positions, -1)).expand_as(self.like)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of codes' vectors: -positions · ln K."""
        return -self.parameters.sum(-1).expand(value.shape[:-1])

    def divergence(self, q: Distribution) -> Tensor:
        if not isinstance(q, Chosen):
            raise TypeError(f"no closed form for a divergence of a {type(q).__name__} from codes")
        return self.parameters

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        shape = (*torch.Size(sample_shape), *self.like.shape[:-1], self.positions)
        codes = torch.randint(self.quantiser.count, shape, generator=generator, device=self.like.device)
        return _flat(self.quantiser.lookup(codes).to(self.like))

    def white(self, value: Tensor) -> Tensor:
        return (value - self.mean) / self.variance.sqrt()


class VQVAE(FramewiseDVAE):
    r"""Vector-quantised VAE (van den Oord et al., 2017) on each frame, which is a spectrum or a picture.

    Convolutions make ``positions`` vectors of a frame, each of which becomes the nearest of K codes:

    .. math:: p(x, z) = \prod_t p(x_t | z_t)\, K^{-n}, \qquad q(z_t | x_t) = \delta(z_t - e_{k(x_t)}),

    so that the bound is :math:`\ln p(x_t | z_t) - n \ln K`: with complex Gaussian frames, the Itakura-Saito divergence
    up to constants. What training pays to the quantiser stands beside it (:attr:`ELBO.penalty`). Gradients pass the
    quantiser as if it were not there.

    The contract's z is the codes' vectors, ``(batch, time, width · positions)``, all positions of the first component
    first; :meth:`encode` gives them before, :meth:`codes` their numbers. Sampling draws all codes as equally likely,
    which sounds like nothing: a prior over codes is another model's task.

    The networks are those of Sadok et al. (2024) for spectra (1 → ... → 64 positions of 513 bins), and for pictures,
    which are eight times smaller in both directions.

    Args:
        x_dim: size of a frame; for pictures the product of ``image``.
        z_dim: size of a code's vector (for ``"fsq"`` the number of ``levels``).
        image: (channels, height, width) of a picture, the latter two multiples of 8; none for spectra.
        hidden: channels of the networks.
        residual_layers: number of residual blocks on either side.
        residual_hidden: channels inside them.
        quantiser: ``"ema"`` or ``"gradient"``, how the codebook learns
            (:class:`~dynvae.models.quantisers.Codebook`), or ``"fsq"`` (:class:`~dynvae.models.quantisers.FSQ`).
        codes: K.
        levels: of ``"fsq"``, whose K is their product.
        commitment: β, what the encoder pays for its distance to the codes.
        decay: of the codebook's moving averages.
        revive: below this part of the mean use, a code starts again; 0 never.
        activation: of the networks.
        dropout: in the residual blocks.
        kwargs: see :class:`~dynvae.models.base.DVAE`; the latent has no other structure.

    Raises:
        ConfigError: the sizes do not fit.
    """

    title: ClassVar[str] = "Vector-quantised VAE"
    paper: ClassVar[str] = "van den Oord et al., 2017"
    discrete: ClassVar[bool] = True
    dependencies = Dependencies(prior="", likelihood="z[t]", posterior="x[t]")

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 8,
        *,
        image: Sequence[int] = (),
        hidden: int = 32,
        residual_layers: int = 1,
        residual_hidden: int = 16,
        quantiser: Literal["ema", "gradient", "fsq"] = "ema",
        codes: int = 64,
        levels: Sequence[int] = (8, 5, 5, 5),
        commitment: float = 0.25,
        decay: float = 0.99,
        revive: float = 0.05,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, **kwargs)
        if self.degrees is not None or self.dictionary is not None:
            raise ConfigError("the latents of a VQVAE are codes: no other structure")
        if hidden < 2 or not 0 <= residual_layers <= 100 or residual_hidden < 1 or activation not in ACTIVATIONS:
            raise ConfigError(f"a VQVAE has hidden >= 2, 0 to 100 residual_layers, residual_hidden >= 1 and one of the "
                              f"activations {', '.join(ACTIVATIONS)}")  # fmt: skip
        if image and (len(image) != 3 or math.prod(image) != x_dim or image[1] % 8 or image[2] % 8):
            raise ConfigError(f"image is (channels, height, width), the latter multiples of 8 and their product x_dim "
                              f"= {x_dim}, not {list(image)}")  # fmt: skip
        if quantiser == "fsq":
            self.quantiser: Quantiser = FSQ(levels)
        else:
            self.quantiser = Codebook(
                codes, z_dim, learning=quantiser, commitment=commitment, decay=decay, revive=revive
            )
        width = self.quantiser.width
        self.image = tuple(image)
        self.grid = (image[1] // 8, image[2] // 8) if image else (math.ceil((x_dim - 1) / 8) or 1,)
        self.positions = math.prod(self.grid)
        self.z_dim = width * self.positions
        stack = (hidden, residual_layers, residual_hidden, activation, dropout)
        outputs = self.observation.outputs
        if image:
            self.encoder, self.decoder = (
                _image_encoder(image[0], width, *stack),
                _image_decoder(width, image[0] * outputs, *stack),
            )
        else:
            self.encoder, self.decoder = _spectrum_encoder(width, *stack), _spectrum_decoder(width, outputs, *stack)

    @torch.no_grad()
    def begin_at(self, mean: Tensor, std: Tensor) -> None:
        """Let the decoder's last bias, one a channel, be right on average: see :meth:`DVAE.begin_at`."""
        packed = self.observation.packed(mean.to(self.weight), std.to(self.weight))
        bias = self.decoder[-1].bias
        assert isinstance(bias, Tensor)
        bias.copy_(packed.unflatten(0, (len(bias), -1)).mean(1))

    # ---- codes ---------------------------------------------------------------------------------------------------

    def encode(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the encoder makes of frames ``(batch, time, x_dim)``, not quantised, ``(batch, time, z_dim)``."""
        seen = self.features(x, lengths).flatten(0, -2)
        if self.image:
            frames = seen.unflatten(1, self.image)
        else:
            frames = nn.functional.pad(seen, (0, 8 * self.positions + 1 - self.x_dim)).unsqueeze(1)
        return self.encoder(frames).flatten(1).unflatten(0, x.shape[:-1])

    def quantise(self, h: Tensor) -> Quantised:
        """Values ``(..., z_dim)``, codes ``(..., positions)`` and the penalty ``(...)`` of what `encode` gave."""
        vectors = h.unflatten(-1, (self.quantiser.width, self.positions)).transpose(-1, -2)
        values, codes, penalty = self.quantiser(vectors)
        return Quantised(_flat(values), codes, penalty.sum(-1))

    def codes(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The numbers of the codes of frames, ``(batch, time, positions)``; those of the padding mean nothing."""
        return self.quantise(self.encode(x, lengths)).codes

    def from_codes(self, codes: Tensor) -> Tensor:
        """The z ``(batch, time, z_dim)`` of codes ``(batch, time, positions)``."""
        return _flat(self.quantiser.lookup(codes).to(self.weight))

    def perplexity(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """How many codes are in use, evenly, in these frames (:func:`~dynvae.models.quantisers.perplexity`)."""
        codes = self.codes(x, lengths)
        return perplexity(codes if lengths is None else codes[time_mask(lengths, x.shape[1])], self.quantiser.count)

    @torch.no_grad()
    def after_step(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
        total: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        h = self.encode(x, lengths)
        h = h if lengths is None else h[time_mask(lengths, x.shape[1])]
        vectors = h.unflatten(-1, (self.quantiser.width, self.positions)).transpose(-1, -2)
        self.quantiser.learn(vectors.reshape(-1, self.quantiser.width), generator, total)

    # ---- the contract --------------------------------------------------------------------------------------------

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        """The codes that frames are nearest to: no noise is needed."""
        packed = self.encode(x, lengths)
        values, _, penalty = self.quantise(packed.to(torch.promote_types(packed.dtype, torch.float32)))
        return Posterior(Latents(values) if latents is None else latents, Chosen(values), penalty=penalty)

    def frame_prior(self, like: Tensor) -> Distribution:
        return Uniform(self.quantiser, self.positions, like)

    def frame_likelihood(self, z: Tensor) -> Distribution:
        decoded = self.decoder(z.flatten(0, -2).unflatten(1, (self.quantiser.width, *self.grid)))
        size = math.prod(decoded.shape[2:]) if self.image else self.x_dim
        return self.observation(decoded.flatten(2)[..., :size].flatten(1).unflatten(0, z.shape[:-1]))


def _flat(vectors: Tensor) -> Tensor:
    """Vectors ``(..., positions, width)`` side by side, all positions of a component together."""
    return vectors.transpose(-1, -2).flatten(-2)


class _Activation(nn.Module):
    """A function of :data:`dynvae.nn.ACTIVATIONS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


class _Residual(nn.Module):
    """The input, and what two convolutions make of it; with ``rectified``, the input is that of the first of them."""

    def __init__(
        self,
        kind: type[nn.Conv1d] | type[nn.Conv2d],
        channels: int,
        inside: int,
        activation: str,
        dropout: float,
        rectified: bool,
    ) -> None:
        super().__init__()
        self.first = kind(channels, inside, 3, padding=1, bias=False)
        self.second = kind(inside, channels, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.activation, self.rectified = activation, rectified

    def forward(self, x: Tensor) -> Tensor:
        act = ACTIVATIONS[self.activation]
        inner = act(x)
        return (inner if self.rectified else x) + self.second(self.dropout(act(self.first(inner))))


def _residuals(
    kind: type[nn.Conv1d] | type[nn.Conv2d], channels: int, layers: int, inside: int, activation: str, dropout: float
) -> list[nn.Module]:
    # The published network for pictures rectifies in place, and so adds to the rectified input.
    blocks = (_Residual(kind, channels, inside, activation, dropout, kind is nn.Conv2d) for _ in range(layers))
    return [*blocks, _Activation(activation)]


def _spectrum_encoder(
    width: int, hidden: int, layers: int, inside: int, activation: str, dropout: float
) -> nn.Sequential:
    """From 8n + 1 bins to n positions."""
    return nn.Sequential(
        nn.Conv1d(1, hidden // 2, 4, stride=2, padding=1),
        _Activation(activation),
        nn.Conv1d(hidden // 2, hidden, 4, stride=2, padding=1),
        _Activation(activation),
        nn.Conv1d(hidden, hidden, 3, stride=2, padding=1),
        *_residuals(nn.Conv1d, hidden, layers, inside, activation, dropout),
        nn.Conv1d(hidden, width, 1),
    )


def _spectrum_decoder(
    width: int, outputs: int, hidden: int, layers: int, inside: int, activation: str, dropout: float
) -> nn.Sequential:
    """From n positions to 8n + 1 bins."""
    return nn.Sequential(
        nn.Conv1d(width, hidden, 3, padding=1),
        *_residuals(nn.Conv1d, hidden, layers, inside, activation, dropout),
        nn.ConvTranspose1d(hidden, hidden, 4, stride=2, padding=1),
        _Activation(activation),
        nn.ConvTranspose1d(hidden, hidden // 2, 4, stride=2, padding=1),
        _Activation(activation),
        nn.ConvTranspose1d(hidden // 2, outputs, 3, stride=2),
    )


def _image_encoder(
    channels: int, width: int, hidden: int, layers: int, inside: int, activation: str, dropout: float
) -> nn.Sequential:
    """From a picture to one of an eighth of its height and width."""
    return nn.Sequential(
        nn.Conv2d(channels, hidden // 2, 4, stride=2, padding=1),
        _Activation(activation),
        nn.Conv2d(hidden // 2, hidden, 4, stride=2, padding=1),
        _Activation(activation),
        nn.Conv2d(hidden, hidden, 4, stride=2, padding=1),
        _Activation(activation),
        nn.Conv2d(hidden, hidden, 3, padding=1),
        *_residuals(nn.Conv2d, hidden, layers, inside, activation, dropout),
        nn.Conv2d(hidden, width, 1),
    )


def _image_decoder(
    width: int, channels: int, hidden: int, layers: int, inside: int, activation: str, dropout: float
) -> nn.Sequential:
    """The way back."""
    return nn.Sequential(
        nn.Conv2d(width, hidden, 3, padding=1),
        *_residuals(nn.Conv2d, hidden, layers, inside, activation, dropout),
        nn.ConvTranspose2d(hidden, hidden // 2, 4, stride=2, padding=1),
        _Activation(activation),
        nn.ConvTranspose2d(hidden // 2, hidden // 2, 4, stride=2, padding=1),
        _Activation(activation),
        nn.ConvTranspose2d(hidden // 2, channels, 4, stride=2, padding=1),
    )
