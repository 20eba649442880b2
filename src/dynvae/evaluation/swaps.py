"""What a latent carries: linear probes, and what moves when a latent is swapped between two sequences."""

from __future__ import annotations

__all__ = ["Probe", "Swaps", "latent_probes", "swap_table"]

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.errors import ConfigError
from dynvae.models import MDVAE, Latents

_RIDGE = 1e-3


@dataclass(frozen=True)
class Probe:
    """A linear map from features to a factor, fitted by ridge regression; classes are told by the largest output.

    Attributes:
        weight: ``(features + 1, outputs)``, the last row being the offset.
        classes: how many there are; 0 for numbers.
    """

    weight: Tensor
    classes: int

    @classmethod
    def fit(cls, features: Tensor, target: Tensor) -> Probe:
        """Fit to features ``(n, features)`` and a target: ``(n,)`` whole numbers or ``(n, outputs)``.

        Raises:
            ConfigError: there is nothing to fit to.
        """
        if not len(features) or len(features) != len(target):
            raise ConfigError(f"a probe needs as many features as targets, not {len(features)} and {len(target)}")
        classes = 0 if target.is_floating_point() else int(target.max()) + 1
        wanted = (F.one_hot(target, classes) if classes else target).double()
        seen = _with_one(features)
        gram = seen.T @ seen
        ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        return cls(torch.linalg.solve(gram + ridge, seen.T @ wanted), classes)

    def __call__(self, features: Tensor) -> Tensor:
        """The factor ``(n,)`` or ``(n, outputs)`` of features ``(n, features)``."""
        told = _with_one(features) @ self.weight
        return told.argmax(-1) if self.classes else told

    def score(self, features: Tensor, target: Tensor) -> float:
        """Accuracy of classes; of numbers R², 1 less the part of the variance that is not explained."""
        told = self(features)
        if self.classes:
            return float((told == target).double().mean())
        target = target.double()
        return 1 - float((told - target).square().sum() / (target - target.mean(0)).square().sum())


@dataclass(frozen=True)
class Swaps:
    """What swaps move: by the latent that is swapped and by factor, how much of the factor then is the other's.

    Attributes:
        moved: of classes, the part of pairs (of different classes) in which the other's is told; of numbers, the
            other's coefficient in the regression of what is told on both. 1 is all, 0 nothing.
        kept: the same of the own factor.
        probes: how well the probes tell the factors of the true data, by factor (accuracy or R²): 1 is perfect.
        resynthesized: the same for sequences that are analysed and resynthesized without a swap.
    """

    moved: dict[str, dict[str, float]]
    kept: dict[str, dict[str, float]]
    probes: dict[str, float]
    resynthesized: dict[str, float]


@torch.no_grad()
def swap_table(
    model: MDVAE, train: tuple[Tensor, Mapping[str, Tensor]], test: tuple[Tensor, Mapping[str, Tensor]]
) -> Swaps:
    """Swap each latent between the sequences of a test set, and ask probes which factors have moved.

    Each sequence gets, one at a time, the latents of the next one. The probes see the decoded frames and know nothing
    of the model: they are fitted to the true data, for a static factor to the mean of a sequence's frames.

    Args:
        model: what is asked.
        train: sequences ``(n, time, x_dim)`` and their factors, to fit the probes to: ``(n,)`` whole numbers for those
            that stay, ``(n, time, size)`` for those that move.
        test: the same, to swap.
    """
    fitted = {name: Probe.fit(*_rows(train[0], factor)) for name, factor in train[1].items()}
    x, factors = test
    other = {name: factor.roll(-1, 0) for name, factor in factors.items()}
    latents = model.posterior(x, noise=model.noise_of(x)).latents
    assert latents.w is not None
    others = Latents(latents.z.roll(-1, 0), latents.w.roll(-1, 0))
    again = model.likelihood(latents, x).mean
    moved: dict[str, dict[str, float]] = {}
    kept: dict[str, dict[str, float]] = {}
    for swapped in model.latents_of(latents):
        frames = model.likelihood(model.swapped(latents, others, [swapped]), x).mean
        moved[swapped], kept[swapped] = {}, {}
        for name, probe in fitted.items():
            told, own = probe(_rows(frames, factors[name])[0]), _rows(frames, factors[name])[1]
            theirs = _rows(frames, other[name])[1]
            moved[swapped][name], kept[swapped][name] = _shares(told, theirs, own, probe.classes)
    true = {name: probe.score(*_rows(x, factors[name])) for name, probe in fitted.items()}
    resynthesized = {name: probe.score(*_rows(again, factors[name])) for name, probe in fitted.items()}
    return Swaps(moved, kept, true, resynthesized)


@torch.no_grad()
def latent_probes(
    model: MDVAE, train: tuple[Tensor, Mapping[str, Tensor]], test: tuple[Tensor, Mapping[str, Tensor]]
) -> dict[str, dict[str, float]]:
    """How well each latent tells each factor, by latent and factor: accuracy, or R² (see :class:`Probe`).

    Args:
        model: what is asked.
        train: sequences and their factors, as of :func:`swap_table`, to fit to.
        test: the same, to score on.
    """
    seen = []
    for x, _ in (train, test):
        seen.append(model.latents_of(model.posterior(x, noise=model.noise_of(x)).latents))
    scores: dict[str, dict[str, float]] = {}
    for latent in seen[0]:
        scores[latent] = {}
        for name in train[1]:
            pairs = []
            for (x, factors), latents in zip((train, test), seen, strict=True):
                value = latents[latent]
                value = value.unsqueeze(1).expand(-1, x.shape[1], -1) if latent == "w" else value
                pairs.append(_rows(value, factors[name]))
            scores[latent][name] = Probe.fit(*pairs[0]).score(*pairs[1])
    return scores


def _rows(frames: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Features and target side by side: of frames, or of whole sequences where the factor stays."""
    return (frames.mean(1), factor) if factor.dim() == 1 else (frames.flatten(0, 1), factor.flatten(0, 1))


def _shares(told: Tensor, theirs: Tensor, own: Tensor, classes: int) -> tuple[float, float]:
    if classes:
        apart = theirs != own
        return float((told == theirs)[apart].double().mean()), float((told == own)[apart].double().mean())
    pairs = torch.stack([(part - part.mean(0)).flatten().double() for part in (theirs, own)], -1)
    moved, kept = torch.linalg.lstsq(pairs, (told - told.mean(0)).flatten().unsqueeze(-1)).solution.flatten().tolist()
    return moved, kept


def _with_one(features: Tensor) -> Tensor:
    features = features.double()
    return torch.cat([features, torch.ones_like(features[..., :1])], -1)
