"""Quantisers: vectors become codes out of a finite set, and gradients go straight through."""

from __future__ import annotations

__all__ = ["FSQ", "Codebook", "Quantised", "Quantiser", "perplexity"]

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from dynvae.errors import ConfigError

Learning = Literal["ema", "gradient"]


class Quantised(NamedTuple):
    """What a quantiser makes of vectors.

    Attributes:
        values: the vectors of the codes, ``(..., width)``; their gradient is that of the vectors that went in.
        codes: numbers of the codes, ``(...)``.
        penalty: what training pays for each vector, ``(...)``.
    """

    values: Tensor
    codes: Tensor
    penalty: Tensor


class Quantiser(nn.Module, ABC):
    """Maps vectors ``(..., width)`` to one of ``count`` codes each."""

    width: int
    count: int

    @abstractmethod
    def forward(self, h: Tensor) -> Quantised:
        """Quantise vectors ``(..., width)``."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors ``(..., width)`` of codes ``(...)``."""

    def learn(self, h: Tensor, generator: torch.Generator | None, total: Callable[[Tensor], Tensor]) -> None:
        """Learn beside the gradient from vectors ``(n, width)``; nothing, unless there is something to learn."""


def perplexity(codes: Tensor, count: int) -> Tensor:
    """The exponential of the entropy of how often codes occur: how many of them are in use, evenly.

    Example:
        >>> perplexity(torch.tensor([0, 1, 0, 1]), 512)
        tensor(2.)
    """
    share = torch.bincount(codes.flatten(), minlength=count) / max(1, codes.numel())
    return torch.special.entr(share).sum().exp()


def _straight_through(h: Tensor, values: Tensor) -> Tensor:
    """The values, exactly, with the gradient of h."""
    return values.detach() + (h - h.detach())


class Codebook(Quantiser):
    r"""Vector quantisation (van den Oord et al., 2017): the nearest of K vectors :math:`e_k`.

    The penalty is :math:`\beta \lVert h - \mathrm{sg}[e_k] \rVert^2`; the vectors learn from a moving average of what
    is nearest to them (``"ema"``, appendix A.1 there), or from the gradient of :math:`\lVert \mathrm{sg}[h] - e_k
    \rVert^2`, which then is in the penalty, too.

    A code that is hardly ever nearest learns nothing more. One whose averaged count falls below ``revive`` times the
    mean starts again at some vector of the batch (Dhariwal et al., 2020); so does every code in the first step.

    Args:
        count: K.
        width: size of a vector.
        learning: ``"ema"`` or ``"gradient"``.
        commitment: β.
        decay: of the moving averages.
        revive: see above; 0 never does.

    Raises:
        ConfigError: a number is out of range.
    """

    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        count: int = 512,
        width: int = 8,
        *,
        learning: Learning = "ema",
        commitment: float = 0.25,
        decay: float = 0.99,
        revive: float = 0.05,
    ) -> None:
        super().__init__()
        if count < 1 or width < 1 or commitment < 0 or not 0 <= decay < 1 or not 0 <= revive < 1:
            raise ConfigError(f"codes ({count}) and their size ({width}) are positive, commitment ({commitment}) not "
                              f"negative, decay ({decay}) and revive ({revive}) lie in [0, 1)")  # fmt: skip
        if learning not in get_args(Learning):
            raise ConfigError(f"a codebook learns by {' or '.join(get_args(Learning))}, not by '{learning}'")
        self.count, self.width, self.learning = count, width, learning
        self.commitment, self.decay, self.revive = commitment, decay, revive
        self.register_buffer("counts", torch.zeros(count))
        vectors = torch.randn(count, width) / math.sqrt(width)
        if learning == "ema":
            self.register_buffer("sums", torch.zeros(count, width))
            self.register_buffer("vectors", vectors)
        else:
            self.vectors = nn.Parameter(vectors)

    def nearest(self, h: Tensor) -> Tensor:
        """Numbers of the nearest codes, ``(...)``."""
        vectors = self.vectors.to(h.dtype)
        return (vectors.square().sum(1) - 2 * h @ vectors.mT).argmin(-1)

    def forward(self, h: Tensor) -> Quantised:
        codes = self.nearest(h.detach())
        values = self.lookup(codes).to(h.dtype)
        penalty = self.commitment * (h - values.detach()).square().sum(-1)
        if self.learning == "gradient":
            penalty = penalty + (h.detach() - values).square().sum(-1)
        return Quantised(_straight_through(h, values), codes, penalty)

    def lookup(self, codes: Tensor) -> Tensor:
        vectors: Tensor = self.vectors
        return vectors[codes]

    @torch.no_grad()
    def learn(self, h: Tensor, generator: torch.Generator | None, total: Callable[[Tensor], Tensor]) -> None:
        h = h.to(self.counts.dtype)
        codes = self.nearest(h)
        seen = total(torch.bincount(codes, minlength=self.count).to(self.counts))
        new = not bool(self.counts.any())
        rate = 1.0 if new else 1 - self.decay
        self.counts.lerp_(seen, rate)
        if self.learning == "ema":
            sums = total(torch.zeros_like(self.sums).index_add_(0, codes, h))
            self.sums.lerp_(sums, rate)
            # Laplace smoothing: what is never nearest does not divide by zero.
            mass = self.counts.sum()
            smooth = (self.counts + 1e-5) / (mass + self.count * 1e-5) * mass
            self.vectors.copy_(self.sums / smooth.unsqueeze(1).clamp(min=1e-12))
        if self.revive:
            self._revive(h, generator, total, torch.ones_like(self.counts, dtype=torch.bool) if new else None)

    def _revive(
        self, h: Tensor, generator: torch.Generator | None, total: Callable[[Tensor], Tensor], dead: Tensor | None
    ) -> None:
        """Start codes again at vectors drawn from h; of several processes each gives its part of them."""
        mean = self.counts.sum() / self.count
        dead = self.counts < self.revive * mean if dead is None else dead
        if not bool(dead.any()):
            return
        drawn = torch.randint(len(h), (self.count,), generator=generator, device=h.device)
        processes = total(h.new_ones(()))
        fresh = total(h[drawn] / processes)
        self.vectors.data[dead] = fresh[dead].to(self.vectors.dtype)
        self.counts[dead] = mean
        if self.learning == "ema":
            self.sums[dead] = mean * fresh[dead]


class FSQ(Quantiser):
    r"""Finite scalar quantisation (Mentzer et al., 2024): each number is rounded to one of a few levels.

    .. math:: \mathrm{round}\left(\tfrac{L - 1}2 \tanh h\right), \text{ in units that span } [-1, 1],

    shifted by half a step where L is even. There is no codebook, nothing to pay and nothing that can die; the codes are
    all combinations of levels.

    Args:
        levels: L of each number, at least 2; together at most 2^31 codes.

    Raises:
        ConfigError: there are no levels, or too few or too many.

    Example:
        >>> FSQ((3, 2))(torch.tensor([[0.1, -5.0], [9.0, 9.0]])).values
        tensor([[ 0., -1.],
                [ 1.,  1.]])
    """

    def __init__(self, levels: Sequence[int] = (8, 5, 5, 5)) -> None:
        super().__init__()
        if not levels or min(levels) < 2 or math.prod(levels) > 2**31:
            raise ConfigError(f"levels are at least 2 each, and 2^31 codes at most, not {list(levels)}")
        self.width, self.count, self.levels = len(levels), math.prod(levels), tuple(levels)

    def forward(self, h: Tensor) -> Quantised:
        levels, steps = self._units(h)
        top = levels - 1
        bounded = top * h.tanh().add(1).div(2)  # 0..L-1
        digits = bounded.detach().round().long()
        values = 2 * digits.to(h) / top - 1
        codes = (digits * steps).sum(-1)
        return Quantised(_straight_through(2 * bounded / top - 1, values), codes, torch.zeros_like(h[..., 0]))

    def lookup(self, codes: Tensor) -> Tensor:
        levels, steps = self._units(codes)
        return 2 * (codes.unsqueeze(-1) // steps % levels) / (levels - 1) - 1

    def _units(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """L of each number, and how many codes one step of it is."""
        steps = [math.prod(self.levels[:i]) for i in range(self.width)]
        return torch.tensor(self.levels, device=like.device), torch.tensor(steps, device=like.device)
