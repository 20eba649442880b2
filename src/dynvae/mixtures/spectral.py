"""A mixed spectrum, each bin of which is taken to be of one source."""

from __future__ import annotations

__all__ = ["SpectralAssignment"]

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dynvae.audio.stft import power_of
from dynvae.errors import ConfigError
from dynvae.mixtures.values import Estimate, Evidence


@dataclass(frozen=True)
class SpectralAssignment:
    r"""Each bin of the mixture's STFT is a source's, with a noise that is a share of its own power (Lin et al., 2023).

    .. math::
        p(x_{tf} | w_{tf} = n, s_t) = \mathcal N_c(x_{tf}; s_{tfn}, r |x_{tf}|^2), \qquad p(w_{tf} = n) = 1 / N

    E-W: :math:`\eta_{tfn} \propto \exp(-(|x - \mu_{tfn}|^2 + v_{tfn}) / (r |x|^2)) + \epsilon r |x|^2`; it begins
    with 1/N.

    Args:
        ratio: r.
        floor: ε, added to each density; as published 1e-10. Where no source explains a bin, it keeps the doubt.
        least: power below which the noise does not fall: that of digital silence.

    Raises:
        ConfigError: a setting is not positive.
    """

    ratio: float = 0.03
    floor: float = 1e-10
    least: float = 1e-12

    def __post_init__(self) -> None:
        if self.ratio <= 0 or self.least <= 0 or self.floor < 0:
            raise ConfigError(f"ratio and least are positive, and the floor is not negative; not {self.ratio}, "
                              f"{self.least}, {self.floor}")  # fmt: skip

    def begin(self, observed: Tensor, active: Tensor) -> Sharing:
        """Take up spectra.

        Args:
            observed: complex, ``(batch, time, bins)``.
            active: which sources exist, ``(batch, source)``.

        Raises:
            ValueError: they are no spectra, or not finite.
        """
        if observed.dim() != 3 or not observed.is_complex():
            raise ValueError(f"spectra are complex, (batch, time, bins), not {observed.dtype} {tuple(observed.shape)}")
        if not torch.view_as_real(observed).isfinite().all():
            raise ValueError("a spectrum is finite")
        return Sharing(self, observed, active)


class Sharing:
    """Spectra of a batch of mixtures on their way to sources.

    Attributes:
        assignment: η, ``(batch, source, time, bins)``.
        variance: of the noise of each bin, ``(batch, time, bins)``.
        clutter: nothing.
    """

    begins_assigned = True

    def __init__(self, settings: SpectralAssignment, mixture: Tensor, active: Tensor) -> None:
        self.settings, self.mixture = settings, mixture
        self.variance = (settings.ratio * power_of(mixture)).clamp(min=settings.least)
        self.active = active[:, :, None, None]
        self.count = active.sum(1).clamp(min=1)[:, None, None, None].to(self.variance.dtype)
        self.assignment = (self.active / self.count) * torch.ones_like(self.variance).unsqueeze(1)
        self.clutter = self.variance.new_zeros(*mixture.shape[:2], 0)

    def distances(self, q: Estimate) -> Tensor:
        """(|x - μ|² + v) / v_x, ``(batch, source, time, bins)``."""
        return (power_of(self.mixture.unsqueeze(1) - q.mean) + q.variance) / self.variance.unsqueeze(1)

    def assign(self, q: Estimate, iteration: int) -> None:
        """E-W."""
        score = -self.distances(q)
        if self.settings.floor:  # of densities, whose constant is 1 / v_x
            doubt = (self.settings.floor * self.variance).log().unsqueeze(1)
            score = torch.logaddexp(score, doubt)
        self.assignment = score.where(self.active, -1e30).softmax(1) * self.active

    def observed(self) -> Tensor:
        """Every frame of every source is, ``(batch, source, time)``."""
        return torch.ones_like(self.assignment[..., 0], dtype=torch.bool)

    def evidence(self) -> Evidence:
        """The mixture itself, as precise as it is a source's."""
        target = self.mixture.unsqueeze(1).expand_as(self.assignment)
        return Evidence.of(self.assignment / self.variance.unsqueeze(1), target)

    def update(self, q: Estimate) -> None:
        """The noise is fixed."""

    def bound(self, q: Estimate) -> Tensor:
        """E_q[ln p(x | w, s) + ln p(w) - ln q(w)], ``(batch,)``."""
        weight = self.assignment
        log_density = -(self.distances(q) + (self.variance.log() + math.log(math.pi)).unsqueeze(1) + self.count.log())
        return (weight * log_density - torch.xlogy(weight, weight)).sum((1, 2, 3))
