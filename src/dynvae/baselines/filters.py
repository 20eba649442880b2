"""Filters that know nothing of speech but that it is louder than the noise."""

from __future__ import annotations

__all__ = ["SpectralSubtraction", "WienerFilter"]

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dynvae.audio import FRONT_ENDS, FrontEnd
from dynvae.baselines.tracking import track_noise
from dynvae.errors import ConfigError


@dataclass(frozen=True)
class SpectralSubtraction:
    r"""Power subtraction with a surplus and a floor (Berouti, Schwartz and Makhoul, 1979).

    .. math:: |\hat s|^2 = \max(|x|^2 - \alpha_t \lambda, \; \beta \lambda), \quad
              \alpha_t = 4 - \tfrac{3}{20} \mathrm{SNR}_t

    with the SNR of the frame, ``Σ_f |x|² / Σ_f λ`` in dB, between -5 and 20. λ is that of
    :func:`~dynvae.baselines.tracking.track_noise`.

    Args:
        floor: β, the noise that is left to cover the rest.
        front_end: the transform; 32 ms windows with half of them overlapping by default.
    """

    floor: float = 0.01
    front_end: FrontEnd = field(default=FRONT_ENDS["32ms"])

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"the floor of a subtraction lies between 0 and 1, not {self.floor}")

    def gain(self, power: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`~dynvae.baselines.enhancer.Gain`."""
        noise = track_noise(power)
        snr = 10 * (power.sum(-1, keepdim=True) / noise.sum(-1, keepdim=True)).clamp(min=1e-10).log10()
        surplus = 4 - 3 / 20 * snr.clamp(-5, 20)
        left = torch.maximum(power - surplus * noise, self.floor * noise)
        return (left / power.clamp(min=torch.finfo(power.dtype).tiny)).clamp(max=1).sqrt()


@dataclass(frozen=True)
class WienerFilter:
    r"""The Wiener filter with the a-priori SNR decided by the estimate before (Ephraim and Malah, 1984).

    .. math::
        \xi_t = 0.98 \frac{|\hat s_{t-1}|^2}{\lambda_{t-1}} + 0.02 \max\Big(\frac{|x_t|^2}{\lambda_t} - 1, 0\Big), \quad
        \hat s_t = \frac{\xi_t}{1 + \xi_t} x_t

    (the gain as in Scalart and Vieira Filho, 1996.) λ is that of :func:`~dynvae.baselines.tracking.track_noise`.

    Args:
        smoothing: the weight of the estimate before.
        least_snr: ξ in dB, below which it never falls.
        front_end: the transform; 32 ms windows with half of them overlapping by default.
    """

    smoothing: float = 0.98
    least_snr: float = -15.0
    front_end: FrontEnd = field(default=FRONT_ENDS["32ms"])

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ConfigError(f"the smoothing of the a-priori SNR lies in [0, 1), not {self.smoothing}")

    def gain(self, power: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`~dynvae.baselines.enhancer.Gain`."""
        above = power / track_noise(power)  # the a-posteriori SNR
        before = (above[..., 0, :] - 1).clamp(min=0)
        gains = []
        for now in above.unbind(-2):
            snr = self.smoothing * before + (1 - self.smoothing) * (now - 1).clamp(min=0)
            snr = snr.clamp(min=10 ** (self.least_snr / 10))
            gain = snr / (1 + snr)
            before = gain.square() * now
            gains.append(gain)
        return torch.stack(gains, -2)
