"""The Kalman filter and smoother against one big Gaussian, and against recorded exact moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dense_gaussian import diagonal_blocks, joint
from torch import Tensor

from dynvae.models.kalman import LinearGaussian, kalman_filter, kalman_smoother


def positive(size: int, generator: torch.Generator) -> Tensor:
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return 0.2 * torch.eye(size, dtype=torch.float64) + 0.3 * root @ root.mT


def random_problem(
    batch: int = 3, time: int = 5, state: int = 3, observed: int = 2, inputs: int = 2
) -> tuple[Tensor, Tensor, LinearGaussian, Tensor]:
    generator = torch.Generator().manual_seed(7)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    model = LinearGaussian(
        0.6 * randn(batch, time, state, state),
        randn(batch, time, state, inputs),
        randn(batch, time, observed, state),
        positive(state, generator),
        positive(observed, generator),
    )
    return randn(batch, time, observed), randn(batch, time, inputs), model, positive(state, generator)


def item(model: LinearGaussian, i: int) -> LinearGaussian:
    return model._replace(transition=model.transition[i], control=model.control[i], emission=model.emission[i])


def test_filter_and_smoother_equal_dense_conditioning() -> None:
    a, u, model, initial = random_problem()
    filtered = kalman_filter(a, u, model, initial)
    means, covariances = kalman_smoother(filtered, model)
    for i in range(a.shape[0]):
        dense = joint(item(model, i), u[i], initial)
        total = filtered.observation.log_prob(a)[i].sum()
        torch.testing.assert_close(total, dense.log_prob(a[i]), rtol=1e-11, atol=1e-11)
        smoothed = dense.given(a[i])
        torch.testing.assert_close(means[i].flatten(), smoothed.mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(covariances[i], diagonal_blocks(smoothed.covariance_matrix, 3), rtol=1e-9, atol=1e-9)
        for t in range(a.shape[1]):
            for until, mean, covariance in (
                (t, filtered.predicted_mean, filtered.predicted_covariance),
                (t + 1, filtered.mean, filtered.covariance),
            ):
                law = dense.given(a[i, :until])
                torch.testing.assert_close(mean[i, t], law.mean.view(-1, 3)[t], rtol=1e-9, atol=1e-9)
                block = diagonal_blocks(law.covariance_matrix, 3)[t]
                torch.testing.assert_close(covariance[i, t], block, rtol=1e-9, atol=1e-9)


def test_smoother_with_lengths_is_the_smoother_of_the_cut_sequence() -> None:
    a, u, model, initial = random_problem()
    lengths = torch.tensor([5, 3, 1])
    spoiled = a.where(torch.arange(5)[None, :, None] < lengths[:, None, None], 1e6)
    means, covariances = kalman_smoother(kalman_filter(spoiled, u, model, initial), model, lengths)
    for i, length in enumerate(lengths.tolist()):
        part = LinearGaussian(*(m[i : i + 1, :length] for m in model[:3]), *model[3:])
        alone = kalman_smoother(kalman_filter(a[i : i + 1, :length], u[i : i + 1, :length], part, initial), part)
        torch.testing.assert_close(means[i, :length], alone[0][0], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(covariances[i, :length], alone[1][0], rtol=1e-10, atol=1e-10)


def test_gradients() -> None:
    a, u, model, initial = random_problem(batch=1, time=3)

    def function(a: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        system = model._replace(transition=A, control=B, emission=C)
        filtered = kalman_filter(a, u, system, initial)
        return filtered.observation.log_prob(a).sum(), kalman_smoother(filtered, system)[0]

    inputs = [tensor.requires_grad_() for tensor in (a, *model[:3])]
    torch.autograd.gradcheck(function, inputs, fast_mode=True)


def test_float32_survives_where_the_problem_is_stiff() -> None:
    generator = torch.Generator().manual_seed(0)
    time = 300
    stiff = LinearGaussian(
        torch.eye(4).expand(1, time, -1, -1),
        torch.zeros(1, time, 4, 1),
        torch.randn(1, time, 2, 4, generator=generator),
        1e-6 * torch.eye(4),
        1e-6 * torch.eye(2),
    )
    a = torch.randn(1, time, 2, generator=generator)
    filtered = kalman_filter(a, torch.zeros(1, time, 1), stiff, 100 * torch.eye(4))
    _, smoothed = kalman_smoother(filtered, stiff)
    for covariances in (filtered.predicted_covariance, filtered.covariance, smoothed):
        assert torch.equal(covariances, covariances.mT)
        assert torch.linalg.eigvalsh(covariances).min() > -1e-6 * 100  # rounding of the largest
    assert filtered.observation.log_prob(a).isfinite().all()
    assert smoothed.isfinite().all()


@pytest.mark.shared
def test_recorded_exact_moments(shared: Path) -> None:
    recorded = {
        key: torch.from_numpy(np.asarray(value))
        for key, value in np.load(shared / "reference" / "dvae" / "kalman_exact.npz").items()
    }
    A, B, C = (torch.einsum("tbk,kij->btij", recorded["alpha"], recorded[name]) for name in "ABC")
    a, u = recorded["a"].transpose(0, 1), recorded["u"].transpose(0, 1)
    noise = (recorded[name] * torch.eye(size, dtype=torch.float64) for name, size in (("q", 3), ("r", 4)))
    model = LinearGaussian(A, B, C, *noise)
    filtered = kalman_filter(a, u, model, recorded["p0"] * torch.eye(3, dtype=torch.float64))
    mean, covariance = kalman_smoother(filtered, model)
    for actual, name in (
        (filtered.mean, "mu_filt"), (filtered.covariance, "S_filt"), (mean, "mu_smooth"), (covariance, "S_smooth")
    ):  # fmt: skip
        torch.testing.assert_close(actual.transpose(0, 1), recorded[name], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(filtered.observation.log_prob(a).sum(-1), recorded["loglik"], rtol=1e-11, atol=1e-10)
