"""Linear-Gaussian state space models as one big Gaussian, without any recursion over moments."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynvae.models.kalman import LinearGaussian


class Joint(NamedTuple):
    """Means and covariances of all states and all observations of one sequence, and those between them."""

    z_mean: Tensor
    z_cov: Tensor
    a_mean: Tensor
    a_cov: Tensor
    cross: Tensor

    def log_prob(self, a: Tensor) -> Tensor:
        """Ln p(a) of the first ``len(a)`` frames."""
        n = a.numel()
        return MultivariateNormal(self.a_mean[:n], self.a_cov[:n, :n]).log_prob(a.flatten())

    def given(self, a: Tensor) -> MultivariateNormal:
        """All states given the first ``len(a)`` observations."""
        n = a.numel()
        gain = torch.linalg.solve(self.a_cov[:n, :n], self.cross[:, :n].mT).mT
        cov = self.z_cov - gain @ self.cross[:, :n].mT
        return MultivariateNormal(self.z_mean + gain @ (a.flatten() - self.a_mean[:n]), 0.5 * (cov + cov.mT))


def joint(model: LinearGaussian, u: Tensor, initial_covariance: Tensor) -> Joint:
    """One sequence: ``model`` has matrices ``(time, ...)``, u is ``(time, input)``."""
    time, size, _ = model.transition.shape
    like = model.transition
    # z = M w + m with independent w: row t of M is A_t times row t - 1, plus its own w.
    rows, means = [], []
    for t in range(time):
        own = like.new_zeros(size, time * size)
        own[:, t * size : (t + 1) * size] = torch.eye(size, dtype=like.dtype)
        rows.append(own + (model.transition[t] @ rows[-1] if t else 0))
        means.append(model.transition[t] @ means[-1] + model.control[t] @ u[t] if t else like.new_zeros(size))
    M = torch.cat(rows)
    w_cov = torch.block_diag(initial_covariance, *[model.transition_noise] * (time - 1))
    C = torch.block_diag(*model.emission)
    z_mean, z_cov = torch.cat(means), M @ w_cov @ M.mT
    a_cov = C @ z_cov @ C.mT + torch.block_diag(*[model.emission_noise] * time)
    return Joint(z_mean, z_cov, C @ z_mean, a_cov, z_cov @ C.mT)


def diagonal_blocks(matrix: Tensor, size: int) -> Tensor:
    """The covariances of single frames, ``(time, size, size)``."""
    return torch.stack([matrix[i : i + size, i : i + size] for i in range(0, len(matrix), size)])
