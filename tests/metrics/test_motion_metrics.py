"""Scores of futures against loops that write the definitions out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dynvae.metrics.motion import mpjpe, multimodal_sets, score_futures


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mpjpe_is_the_mean_over_joints() -> None:
    estimate, reference = randn(2, 5, 12), randn(2, 5, 12, seed=1)
    for b in range(2):
        for t in range(5):
            errors = [np.linalg.norm((estimate - reference)[b, t, 3 * j : 3 * j + 3]) for j in range(4)]
            assert float(mpjpe(estimate, reference)[b, t]) == pytest.approx(np.mean(errors), rel=1e-12)


@pytest.mark.parametrize(("samples", "references"), [(7, 4), (2, 1), (1, 3)])
def test_scores_of_futures(samples: int, references: int) -> None:
    y, g = randn(samples, 6, 9).numpy(), randn(references, 6, 9, seed=1).numpy()
    ades, fdes = [], []
    for m in range(references):
        ades.append(min(np.mean([np.linalg.norm(y[k, t] - g[m, t]) for t in range(6)]) for k in range(samples)))
        fdes.append(min(np.linalg.norm(y[k, 5] - g[m, 5]) for k in range(samples)))
    pairs = [np.linalg.norm(y[i].ravel() - y[j].ravel()) for i in range(samples) for j in range(samples) if i < j]
    found = score_futures(torch.from_numpy(y), torch.from_numpy(g))
    expected = (np.mean(pairs) if pairs else 0.0, ades[0], fdes[0], np.mean(ades), np.mean(fdes))
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_future_that_is_true_has_no_error() -> None:
    truth = randn(3, 4, 6)
    found = score_futures(torch.cat([randn(5, 4, 6, seed=1), truth[:1]]), truth[:1])
    assert (found.ade, found.fde, found.mmade, found.mmfde) == (0, 0, 0, 0)
    assert found.apd > 0


def test_beginnings_that_are_alike() -> None:
    last = randn(30, 2) * 0.5
    sets = multimodal_sets(last, 0.4)
    for i, found in enumerate(sets):
        expected = [j for j in range(30) if j != i and np.linalg.norm(last[i] - last[j]) < 0.4]
        assert found.tolist() == [i, *expected]
    assert [len(found) for found in multimodal_sets(last, 0.0)] == [1] * 30
