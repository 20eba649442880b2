"""Scores of poses and of several futures of a movement; all in the unit of what they are given."""

from __future__ import annotations

__all__ = ["FutureScores", "mpjpe", "multimodal_sets", "score_futures"]

from typing import NamedTuple

import torch
from torch import Tensor


class FutureScores(NamedTuple):
    """How K futures of one beginning compare with the true one, and with those of alike beginnings.

    Attributes:
        apd: average pairwise distance, of whole futures: how much they differ. Higher is more diverse.
        ade: average displacement error: the mean over time of the distance to the truth, of the best future.
        fde: final displacement error: the distance to the truth in the last frame, of the best future.
        mmade: the mean of ``ade`` over all true futures of alike beginnings.
        mmfde: the mean of ``fde`` over them.
    """

    apd: float
    ade: float
    fde: float
    mmade: float
    mmfde: float


def mpjpe(estimate: Tensor, reference: Tensor) -> Tensor:
    """Mean per-joint position error: the mean distance between a joint and its true place.

    Args:
        estimate: poses, ``(..., 3 · joints)``, x, y and z of a joint side by side.
        reference: the true ones.

    Returns:
        ``(...)``, the mean over joints.

    Example:
        >>> mpjpe(torch.tensor([3.0, 4.0, 0.0, 0.0, 0.0, 0.0]), torch.zeros(6))
        tensor(2.5000)
    """
    return torch.linalg.vector_norm((estimate - reference).unflatten(-1, (-1, 3)), dim=-1).mean(-1)


def multimodal_sets(last: Tensor, threshold: float = 0.5) -> list[Tensor]:
    """For each beginning, those that end in a pose like its own: their futures could be its own.

    Args:
        last: the last observed poses, ``(windows, feature)``.
        threshold: poses at a smaller distance (L2, over all features) are alike; 0.5 m in Yuan and Kitani (2020).

    Returns:
        For each, the indices of those like it: itself first.
    """
    alike = torch.cdist(last, last, compute_mode="donot_use_mm_for_euclid_dist") < threshold
    alike.fill_diagonal_(False)
    return [torch.cat([torch.tensor([own]), row.nonzero()[:, 0]]) for own, row in enumerate(alike)]


def score_futures(samples: Tensor, references: Tensor) -> FutureScores:
    r"""Compare K futures with true ones, the norm over all features of a frame (Yuan and Kitani, 2020).

    With :math:`d_{kmt} = \lVert y_{kt} - g_{mt} \rVert_2`, all errors come from one tensor:
    :math:`ADE_m = \min_k \frac1T \sum_t d_{kmt}` and :math:`FDE_m = \min_k d_{kmT}`.

    Args:
        samples: ``(samples, time, feature)``.
        references: ``(references, time, feature)``, the truth first, then the futures of alike beginnings.

    Example:
        >>> samples = torch.tensor([[[0.0], [0.0]], [[0.0], [3.0]]])
        >>> score_futures(samples, torch.tensor([[[0.0], [2.0]]]))
        FutureScores(apd=3.0, ade=0.5, fde=1.0, mmade=0.5, mmfde=1.0)
    """
    distances = torch.cdist(
        samples.transpose(0, 1), references.transpose(0, 1), compute_mode="donot_use_mm_for_euclid_dist"
    )  # (time, samples, references)
    ade, fde = distances.mean(0).amin(0), distances[-1].amin(0)
    apd = torch.pdist(samples.flatten(1)).mean() if len(samples) > 1 else samples.new_zeros(())
    return FutureScores(*(float(value) for value in (apd, ade[0], fde[0], ade.mean(), fde.mean())))
