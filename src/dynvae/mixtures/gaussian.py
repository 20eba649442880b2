"""Observed vectors, each of one source or of none: which of whom, and how exact they are."""

from __future__ import annotations

__all__ = ["GaussianAssignment", "Observations"]

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dynvae.errors import ConfigError
from dynvae.mixtures.values import Estimate, Evidence

_SAYS_NOTHING = -1e30
_RATHER = 0.499
"""A share of more than this is a half, whatever rounding says: two sources in one place are both observed."""


class Observations(NamedTuple):
    """What was observed of all sources together, in no order.

    Attributes:
        values: ``(batch, time, observation, feature)``; anything, NaN too, where nothing is present.
        present: ``(batch, time, observation)``; the number of observations may so vary from frame to frame.
        variance: of the noise of each feature, positive; broadcast to the shape of the values.
    """

    values: Tensor
    present: Tensor
    variance: Tensor

    def frames(self, start: int, stop: int) -> Observations:
        """Those from ``start`` to before ``stop``."""
        variance = self.variance.expand_as(self.values)
        return Observations(self.values[:, start:stop], self.present[:, start:stop], variance[:, start:stop])


@dataclass(frozen=True)
class GaussianAssignment:
    r"""Each observation is a source's frame with Gaussian noise, or clutter (Lin et al., 2023).

    .. math::
        p(o_{tk} | w_{tk} = n, s_t) = \mathcal N(o_{tk}; s_{tn}, \Phi_{tk}), \qquad
        p(w_{tk} = n) = (1 - c) / N, \qquad p(w_{tk} = 0) = c

    E-W: :math:`\eta_{tkn} \propto \exp(-\tau [\ln|\Phi| + (o - m_{tn})^\top \Phi^{-1} (o - m_{tn}) +
    \mathrm{tr}(\Phi^{-1} V_{tn})] / 2)` with the temperature's inverse τ = 1. What is assigned to a source adds up to a
    Gaussian factor of precision :math:`\sum_k \eta_{tkn} \Phi_{tk}^{-1}`. Φ is diagonal.

    M: :math:`\Phi_{tk} = \sum_n \eta_{tkn} [(o - m)^2 + V]`, or one factor of the given Φ for a sequence.

    Args:
        temper: τ at first. Less than one keeps doubts open while the means are still far off (0.008 as published, for
            boxes whose deviation is 4 % of their size); only with 1 does the bound grow for sure.
        anneal: iterations after which τ has risen, by equal factors, to 1; 0 keeps it.
        floor: added to each density, as published 1e-10; it stands for the doubt that a tempered density has lost.
        clutter: c, the chance of an observation to be of no source.
        clutter_density: p(o | clutter).
        noise: what the M-step finds: ``"fixed"`` nothing; ``"scale"`` a factor of all Φ of a sequence;
            ``"observation"`` each Φ_tk.
        least: no variance of the noise falls below.

    Raises:
        ConfigError: a setting is out of range.
    """

    temper: float = 1.0
    anneal: int = 0
    floor: float = 0.0
    clutter: float = 0.0
    clutter_density: float = 1.0
    noise: Literal["fixed", "scale", "observation"] = "fixed"
    least: float = 1e-8

    def __post_init__(self) -> None:
        if not 0 < self.temper <= 1 or self.anneal < 0 or self.floor < 0 or not 0 <= self.clutter < 1:
            raise ConfigError("temper lies in (0, 1], clutter in [0, 1), and neither anneal nor floor is negative; "
                              f"not {self.temper}, {self.clutter}, {self.anneal}, {self.floor}")  # fmt: skip
        if self.clutter_density <= 0 or self.least <= 0:
            raise ConfigError(f"clutter_density and least are positive, not {self.clutter_density} and {self.least}")
        if self.noise not in ("fixed", "scale", "observation"):
            raise ConfigError(f"the noise is fixed, scale or observation, not '{self.noise}'")

    def temper_at(self, iteration: int) -> float:
        """τ of an iteration, counted from 0."""
        if not self.anneal:
            return self.temper
        return self.temper ** max(0.0, 1 - iteration / self.anneal)

    def begin(self, observed: Observations, active: Tensor) -> Assigning:
        """Take up observations.

        Args:
            observed: all there is.
            active: which sources exist, ``(batch, source)``.

        Raises:
            ValueError: the shapes do not fit, something present is not finite, or a variance is not positive.
        """
        values, present, variance = observed
        if values.dim() != 4 or present.shape != values.shape[:3] or present.dtype != torch.bool:
            raise ValueError(f"observations are (batch, time, observation, feature) with a mask of the first three, "
                             f"not {tuple(values.shape)} and {present.dtype} {tuple(present.shape)}")  # fmt: skip
        here = present.unsqueeze(-1)
        variance = variance.expand_as(values)
        if not (values.isfinite() | ~here).all() or not ((variance > 0) & variance.isfinite() | ~here).all():
            raise ValueError("an observation that is present is finite, and the variance of its noise positive")
        values, variance = values.where(here, 0), variance.where(here, 1).clamp(min=self.least)
        return Assigning(self, Observations(values, present, variance), active)


class Assigning:
    """Observations of a batch of sequences on their way to sources.

    Attributes:
        given: the observations, zero where nothing is present.
        variance: Φ now.
        assignment: η, ``(batch, source, time, observation)``.
        clutter: the chance of clutter, ``(batch, time, observation)``.
    """

    begins_assigned = False

    def __init__(self, settings: GaussianAssignment, given: Observations, active: Tensor) -> None:
        self.settings, self.given, self.variance = settings, given, given.variance
        count = active.sum(1).clamp(min=1)
        prior = (math.log1p(-settings.clutter) - count.log()).unsqueeze(1).expand_as(active)
        self.prior = prior.where(active, _SAYS_NOTHING).to(given.values.dtype)
        self.active = active
        self.assignment = given.values.new_zeros(*active.shape, *given.present.shape[1:])
        self.clutter = given.values.new_zeros(given.present.shape)
        self._prepare()

    def _prepare(self) -> None:
        self.precision = self.variance.reciprocal()
        self.log_determinant = self.variance.log().sum(-1)

    def distances(self, q: Estimate) -> Tensor:
        """(o - m)ᵀ Φ⁻¹ (o - m) + tr(Φ⁻¹ V), ``(batch, source, time, observation)``."""
        spread = (self.given.values.unsqueeze(1) - q.mean.unsqueeze(3)).square_().add_(q.variance.unsqueeze(3))
        return torch.einsum("bntkd,btkd->bntk", spread, self.precision)

    def assign(self, q: Estimate, iteration: int) -> None:
        """E-W."""
        settings = self.settings
        exponent = self.distances(q).mul_(-0.5 * settings.temper_at(iteration))
        present = self.given.present
        if settings.floor:  # as published: the determinant is of size one here, and counts beside the floor
            constant = -0.5 * self.log_determinant.unsqueeze(1)
            exponent = torch.logaddexp(exponent + constant, exponent.new_tensor(math.log(settings.floor))) - constant
        score = exponent + self.prior[:, :, None, None]
        if settings.clutter:
            density = math.log(settings.clutter) + math.log(settings.clutter_density)
            dimension = 0.5 * math.log(2 * math.pi) * self.given.values.shape[-1]
            clutter = density + dimension + 0.5 * self.log_determinant
            shares = torch.cat([score, clutter.unsqueeze(1)], 1).softmax(1)
            self.assignment, self.clutter = shares[:, :-1], shares[:, -1] * present
        else:
            self.assignment = score.softmax(1)
        self.assignment = self.assignment * (present.unsqueeze(1) & self.active[:, :, None, None])

    def observed(self) -> Tensor:
        """The frames in which an observation is rather a source's than not, ``(batch, source, time)``."""
        if not self.assignment.shape[-1]:
            return self.assignment.new_zeros(self.assignment.shape[:3], dtype=torch.bool)
        return self.assignment.amax(-1) > _RATHER

    def evidence(self) -> Evidence:
        """What all observations together say of each source's frames."""
        weighted = self.precision * self.given.values
        precision = torch.einsum("bntk,btkd->bntd", self.assignment, self.precision)
        target = torch.einsum("bntk,btkd->bntd", self.assignment, weighted)
        return Evidence.of(precision, target / precision.clamp(min=torch.finfo(precision.dtype).tiny))

    def update(self, q: Estimate) -> None:
        """M: the noise."""
        settings = self.settings
        if settings.noise == "fixed":
            return
        weight = self.assignment
        if settings.noise == "scale":
            found = (weight * self.distances(q)).sum((1, 2, 3))
            count = weight.sum((1, 2, 3)) * self.variance.shape[-1]
            factor = torch.where(count > 0, found / count.clamp(min=1e-30), 1.0)
            variance = self.variance * factor[:, None, None, None]
        else:
            spread = (self.given.values.unsqueeze(1) - q.mean.unsqueeze(3)).square_().add_(q.variance.unsqueeze(3))
            share = weight.sum(1).unsqueeze(-1)
            variance = torch.einsum("bntk,bntkd->btkd", weight, spread) / share.clamp(min=1e-30)
            variance = variance.where(share > 0.01, self.variance)
        self.variance = variance.clamp(min=settings.least).where(self.given.present.unsqueeze(-1), 1)
        self._prepare()

    def bound(self, q: Estimate) -> Tensor:
        """E_q[ln p(o | w, s) + ln p(w) - ln q(w)], ``(batch,)``."""
        dimension = self.given.values.shape[-1] * math.log(2 * math.pi)
        log_density = -0.5 * (self.distances(q) + (self.log_determinant + dimension).unsqueeze(1))
        weight = self.assignment
        total = (weight * (log_density + self.prior[:, :, None, None])).sum((1, 2, 3)) + _entropy(weight).sum((1, 2, 3))
        if self.settings.clutter:
            density = math.log(self.settings.clutter) + math.log(self.settings.clutter_density)
            total = total + (self.clutter * density + _entropy(self.clutter)).sum((1, 2))
        return total


def _entropy(share: Tensor) -> Tensor:
    return -torch.xlogy(share, share)
