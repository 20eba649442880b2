"""Toys: a linear-Gaussian model whose posterior is known exactly, and small scenes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynvae.distributions import diagonal_normal
from dynvae.models import DVAE, Latents, build
from dynvae.nn import shift
from dynvae.testtime import Draws, Scene
from dynvae.testtime.prior import Decoded, Moves
from dynvae.testtime.scene import Draws as Numbers

TIME, BINS, SIZE = 6, 5, 2
NOISE = 0.3


def toy_scene(
    batch: int = 1, time: int = TIME, bins: int = BINS, seed: int = 0, lengths: Tensor | None = None
) -> Scene:
    """Random power spectra in float64."""
    generator = torch.Generator().manual_seed(seed)
    return Scene.of(torch.rand(batch, time, bins, generator=generator, dtype=torch.float64) + 0.1, lengths)


def numbers(scene: Scene, seed: int = 0) -> Numbers:
    return Draws.seeded(seed, scene)


def small(name: str) -> DVAE:
    """A model of the zoo, in float64, with random weights."""
    torch.manual_seed(0)
    transformer = {"w_dim": 2, "model_dim": 8, "layers": 1, "heads": 2, "feed_forward": 8, "w_rnn": 4}
    return build(name, x_dim=BINS, z_dim=SIZE, **(transformer if name in ("hit", "light") else {})).double()


class LinearPrior:
    """Z ~ N(0, I), or a chain z_t ~ N(0.8 z_t-1, 0.36 I); the output C z_t, or one that sees the frame before too."""

    fed = False

    def __init__(self, moves: Moves) -> None:
        self.moves, self.bins = moves, BINS
        self.local = moves != "sequence"
        generator = torch.Generator().manual_seed(5)
        self.emission = 0.4 * torch.randn(SIZE, BINS, generator=generator, dtype=torch.float64)

    def on(self, scene: Scene) -> LinearPrior:
        self.scene = scene
        return self

    def encode(self, samples: int) -> Latents:
        batch, time, _ = self.scene.power.shape
        return Latents(torch.zeros(batch * samples, time, SIZE, dtype=torch.float64))

    def decode(self, latents: Latents) -> Decoded:
        z = latents.z
        seen = z if self.local else z + 0.5 * shift(z)
        if self.moves == "oddeven":
            first = (torch.arange(z.shape[1]) == 0).view(1, -1, 1)
            law = diagonal_normal(
                0.8 * shift(z), torch.where(first, 0.0, torch.tensor(0.36).log()).expand_as(z).double()
            )
        else:
            law = diagonal_normal(torch.zeros_like(z), torch.zeros_like(z))
        return Decoded(latents, seen @ self.emission, law)

    def feed(self, clean: Tensor) -> None:
        pass


@dataclass
class Additive:
    """Observations x = output + noise of known variance: what makes the posterior Gaussian."""

    x: Tensor

    def of(self, output: Tensor) -> Tensor:
        return output.detach()

    def log_prob(self, speech: Tensor) -> Tensor:
        return -(self.x - speech).square().sum(-1) / (2 * NOISE)

    def score(self, speech: Tensor) -> Tensor:
        return (self.x - speech) / NOISE

    def sensitivity(self, speech: Tensor) -> Tensor:
        return torch.full_like(speech, NOISE**-0.5)


def exact_posterior(prior: LinearPrior, likelihood: Additive, scene: Scene) -> tuple[Tensor, Tensor]:
    """Mean and variance of every latent: the log-density is quadratic, so that two derivatives tell all."""
    prior.on(scene)
    shape = prior.encode(1).z.shape

    def cost(flat: Tensor) -> Tensor:
        decoded = prior.decode(Latents(flat.view(shape)))
        residual = (likelihood.x - decoded.output).square().sum() / (2 * NOISE)
        return residual - decoded.log_prior.sum()

    zero = torch.zeros(shape, dtype=torch.float64).flatten()
    precision = torch.autograd.functional.hessian(cost, zero)
    slope = torch.autograd.functional.jacobian(cost, zero)
    covariance = torch.linalg.inv(precision)
    return -(covariance @ slope).view(shape), covariance.diagonal().view(shape)
