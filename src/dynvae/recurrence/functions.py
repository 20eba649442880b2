"""The functions of recurrent programs, by name, all but one element-wise: the meaning that every executor agrees on."""

from __future__ import annotations

__all__ = ["FUNCTIONS"]

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.distributions import OBSERVATION_LOG_VARIANCE_LIMIT, POWER_FLOOR, bound_log_variance
from dynvae.nn import ACTIVATIONS


def _log_softplus(x: Tensor) -> Tensor:
    return F.softplus(x).clamp(min=torch.finfo(x.dtype).tiny).log()


def _power(x: Tensor) -> Tensor:
    return bound_log_variance(x, OBSERVATION_LOG_VARIANCE_LIMIT).exp() + POWER_FLOOR


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **ACTIVATIONS,
    "identity": lambda x: x,
    "beside": lambda *x: torch.cat(x, -1),
    "sigmoid": torch.sigmoid,
    "average": lambda *x: sum(x) / len(x),
    "product": torch.mul,
    "blend": lambda gate, x, y: (1 - gate) * x + gate * y,
    "gain": lambda log_variance, log_precision: torch.sigmoid(log_variance + log_precision),
    "log_softplus": _log_softplus,
    "power": _power,
    "log_power": lambda x: (x + POWER_FLOOR).log() / 10,
    "root_power": lambda x: (x + POWER_FLOOR).sqrt(),
    "standardise": lambda x, mean, std: (x - mean) / std,
}
"""What a linear operation (one source) and :class:`~dynvae.recurrence.program.Map` may apply.

beside: its sources side by side. average: the mean of its sources. product: x · y. blend: (1 - gate) · x + gate · y.
gain: σ(x + y), the weight of a measurement of log-precision y beside a Gaussian of log-variance x. log_softplus:
ln(ln(1 + e^x)), the log-variance whose variance is a softplus. power: exp(x) + 1e-10 with x bounded, the mean of a
complex Gaussian given its log-variance. What networks see of a frame: log_power: ln(x + 1e-10) / 10, with
``input_transform="log"``; root_power: (x + 1e-10)^½, with ``"root"``; standardise: (x - mean) / std, with
``"standardise"``.
"""
