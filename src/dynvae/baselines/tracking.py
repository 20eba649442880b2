"""The variance of noise, followed from frame to frame under speech."""

from __future__ import annotations

__all__ = ["track_noise"]

import math

import torch
from torch import Tensor

_QUIET = 0.2  # the share of frames of a bin that is taken to be noise when the tracking begins


def track_noise(power: Tensor, *, smoothing: float = 0.8, prior_snr: float = 15.0) -> Tensor:
    r"""The noise variance by the speech presence probability (Gerkmann and Hendriks, 2012).

    With speech as likely as not, and of an a-priori SNR ξ of 15 dB where it is present,

    .. math::
        p_t &= \Big(1 + (1 + \xi) \, e^{-\frac{|x_t|^2}{\lambda_{t-1}} \frac{\xi}{1 + \xi}}\Big)^{-1} \\
        \lambda_t &= 0.8 \, \lambda_{t-1} + 0.2 \, [p_t \lambda_{t-1} + (1 - p_t) |x_t|^2]

    and p is held at 0.99 where its running mean is above that, so that the estimate cannot stand still for ever. The
    first λ is the 20 % quantile of each bin over the recording, divided by that of an exponential law: it does not ask
    for a pause at the beginning. On noise alone λ settles 1.2 dB below the variance: loud moments of noise are taken
    for speech.

    Args:
        power: ``|x|²``, ``(..., time, bins)``, at some 16 ms from frame to frame.
        smoothing: weight of the old estimate.
        prior_snr: ξ in dB.

    Returns:
        λ, in the shape of ``power``, positive.
    """
    snr = 10 ** (prior_snr / 10)
    floor = (1e-10 * power.mean((-2, -1), keepdim=True)).clamp(min=torch.finfo(power.dtype).tiny).squeeze(-2)
    noise = torch.maximum(torch.quantile(power, _QUIET, dim=-2) / -math.log1p(-_QUIET), floor)
    mean = torch.full_like(noise, 0.5)
    tracked = []
    for frame in power.unbind(-2):
        present = 1 / (1 + (1 + snr) * torch.exp(-frame / noise * (snr / (1 + snr))))
        mean = 0.9 * mean + 0.1 * present
        present = torch.where(mean > 0.99, present.clamp(max=0.99), present)
        noise = smoothing * noise + (1 - smoothing) * (present * noise + (1 - present) * frame)
        noise = torch.maximum(noise, floor)
        tracked.append(noise)
    return torch.stack(tracked, -2)
