"""The Gaussian algebra of a source's frame: prediction, observation, and what the bound takes of them."""

from __future__ import annotations

__all__ = ["Law", "entropy"]

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.nn import functional as F

from dynvae.distributions import ComplexGaussian
from dynvae.mixtures.values import Estimate, Evidence


class Law(NamedTuple):
    """p(s_t | z_≤t, s_<t) of frames ``(..., feature)``: a mean, zero for complex sources, and a log-variance."""

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, likelihood: Distribution) -> Law:
        """That of a model's likelihood, Gaussian, real or complex."""
        if isinstance(likelihood, ComplexGaussian):
            return cls(torch.zeros_like(likelihood.log_variance), likelihood.log_variance)
        assert isinstance(likelihood, Independent)
        assert isinstance(likelihood.base_dist, Normal)
        return cls(likelihood.base_dist.loc, 2 * likelihood.base_dist.scale.log())

    def given(self, evidence: Evidence) -> Estimate:
        r"""Bayes' rule: a measurement o of precision a moves the law's mean μ and variance v.

        With the gain :math:`K = \sigma(\ln v + \ln a)`, the mean is :math:`\mu + K (o - \mu)` and the variance
        :math:`(1 - K) v`.
        """
        score = self.log_variance + evidence.log_precision
        mean = self.mean + score.sigmoid() * (evidence.target - self.mean)
        return Estimate(mean, (self.log_variance - F.softplus(score)).exp())

    def beginning(self, start: Estimate | None) -> Law:
        """The laws of ``(rows, time, feature)`` with another one for the first frame."""
        if start is None:
            return self
        mean, log_variance = self.mean.clone(), self.log_variance.clone()
        mean[:, 0], log_variance[:, 0] = start.mean, start.variance.log()
        return Law(mean, log_variance)

    def expected(self, q: Estimate) -> Tensor:
        """E_q[ln p(s_t)] of each frame."""
        distance = (q.mean - self.mean).abs().square() + q.variance
        each = self.log_variance + distance * (-self.log_variance).exp()
        if q.mean.is_complex():
            return -(each + math.log(math.pi)).sum(-1)
        return -0.5 * (each + math.log(2 * math.pi)).sum(-1)


def entropy(q: Estimate) -> Tensor:
    """Of q(s_t), for each frame."""
    if q.mean.is_complex():
        return (q.variance.log() + math.log(math.pi * math.e)).sum(-1)
    return 0.5 * (q.variance.log() + math.log(2 * math.pi * math.e)).sum(-1)
