"""Two sequences with known causes: what stays, what moves in both, and what moves in one alone."""

from __future__ import annotations

__all__ = ["FACTORS", "TWO_MODALITIES", "Pairs", "draw_pairs"]

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynvae.errors import ConfigError

TWO_MODALITIES = "two-modalities"
"""What to give as data, to train on these."""
FACTORS = ("static", "shared", "audio", "video")
"""The causes: of the sequence; of a frame in both modalities; of a frame in the one, and in the other."""
SIZES = {"audio": 24, "video": 20}
_KINDS, _SHARED, _PRIVATE = 6, 2, 2
_MEMORY = 0.9  # of the moving factors, from frame to frame
_NOISE = 0.1
_WORLD = 7  # seed of the mixing, which is the same in every corpus


@dataclass(frozen=True)
class Pairs:
    """Pairs of sequences, and what made them.

    Attributes:
        audio: ``(sequences, time, 24)``.
        video: ``(sequences, time, 20)``.
        factors: by the names of :data:`FACTORS`: which of six kinds a sequence is of, ``(sequences,)``, whole numbers;
            and of the moving ones, two numbers a frame, ``(sequences, time, 2)``.
    """

    audio: Tensor
    video: Tensor
    factors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.audio)

    @property
    def x(self) -> Tensor:
        """Both side by side, ``(sequences, time, 44)``: what `dynvae.models.Modalities` of their sizes joins."""
        return torch.cat([self.audio, self.video], -1)


def draw_pairs(count: int, length: int = 30, *, seed: int = 0) -> Pairs:
    r"""Draw pairs of sequences.

    .. math:: x^m_t = A_m c^m_t + \tfrac12 \tanh(B_m c^m_t) + 0.1\, \epsilon, \qquad
              c^m_t = (e_k,\; s_t,\; u^m_t)

    with the vector e of the sequence's kind k, the factors :math:`s_t` that both modalities have and :math:`u^m_t` that
    one has, all first-order autoregressive with unit variance, and matrices A, B that never change.

    Args:
        count: number of pairs.
        length: frames of each.
        seed: of everything but the matrices.

    Raises:
        ConfigError: there is nothing to draw.

    Example:
        >>> pairs = draw_pairs(3, length=5)
        >>> pairs.x.shape, pairs.factors["shared"].shape
        (torch.Size([3, 5, 44]), torch.Size([3, 5, 2]))
    """
    if count < 1 or length < 1 or seed < 0:
        raise ConfigError(f"there must be a pair of a frame at least, and a seed from 0: {count}, {length}, {seed}")
    world, random = np.random.default_rng(_WORLD), np.random.default_rng([_WORLD, seed])
    kind = random.integers(_KINDS, size=count)
    moving = {
        name: _moving(random, count, length, _SHARED if name == "shared" else _PRIVATE)
        for name in ("shared", "audio", "video")
    }
    frames = {}
    for name, size in SIZES.items():
        kinds = world.standard_normal((_KINDS, 3))
        causes = 3 + _SHARED + _PRIVATE
        linear, bent = world.standard_normal((2, causes, size)) / np.sqrt(causes)
        static = np.repeat(kinds[kind][:, None], length, 1)
        cause = np.concatenate([static, moving["shared"], moving[name]], -1)
        noise = _NOISE * random.standard_normal((count, length, size))
        frames[name] = torch.from_numpy((cause @ linear + 0.5 * np.tanh(cause @ bent) + noise).astype(np.float32))
    factors = {name: torch.from_numpy(value.astype(np.float32)) for name, value in moving.items()}
    return Pairs(frames["audio"], frames["video"], {"static": torch.from_numpy(kind), **factors})


def _moving(random: np.random.Generator, count: int, length: int, size: int) -> np.ndarray:
    steps = random.standard_normal((count, length, size))
    values = [steps[:, 0]]
    for t in range(1, length):
        values.append(_MEMORY * values[-1] + np.sqrt(1 - _MEMORY**2) * steps[:, t])
    return np.stack(values, 1)
