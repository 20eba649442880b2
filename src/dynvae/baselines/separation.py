"""What separation by models of sources is compared with: patterns of each source, and masks that know the truth."""

from __future__ import annotations

__all__ = ["oracle_shares", "pattern_shares"]

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dynvae.baselines.nmf import factorise


def oracle_shares(power: Tensor, kind: Literal["binary", "ratio"]) -> Tensor:
    """The shares of the bins of a mixture that know its sources: what no mask can do much better than.

    Args:
        power: of the sources, ``(source, time, bins)``.
        kind: ``"binary"`` gives a bin to the loudest source; ``"ratio"`` divides it by powers, as a Wiener filter.

    Example:
        >>> oracle_shares(torch.tensor([[[1.0, 4.0]], [[3.0, 1.0]]]), "ratio")[0]
        tensor([[0.2500, 0.8000]])
    """
    if kind == "binary":
        return torch.nn.functional.one_hot(power.argmax(0), len(power)).movedim(-1, 0).to(power.dtype)
    return power / power.sum(0).clamp(min=torch.finfo(power.dtype).tiny)


def pattern_shares(power: Tensor, patterns: Sequence[Tensor], iterations: int = 60, seed: int = 0) -> Tensor:
    """The shares by supervised NMF: the patterns of each source are known, their activations are fitted to the mixture.

    Args:
        power: of the mixture, ``(time, bins)``.
        patterns: of each source, ``(patterns, bins)``, each of sum one.
        iterations: of the fit.
        seed: of its start.

    Returns:
        Of each bin, ``(source, time, bins)``.
    """
    level = power.mean()
    floor = torch.finfo(power.dtype).tiny
    power = torch.maximum(power, (1e-10 * level).clamp(min=floor))
    w = torch.cat(list(patterns))
    h = torch.rand(len(power), len(w), generator=torch.Generator().manual_seed(seed)).add_(0.1)
    h = h * level * power.shape[-1] / h.sum(-1, keepdim=True)
    _, h = factorise(power, w, h, torch.zeros(len(w), dtype=torch.bool), iterations)
    parts = torch.stack(
        [own @ part for own, part in zip(h.split([len(p) for p in patterns], -1), patterns, strict=True)]
    )
    return oracle_shares(parts, "ratio")
