"""A model's generation as a recurrent program that is fed with what was observed of its frames."""

from __future__ import annotations

__all__ = ["Feedback", "estimating", "feeding", "walking"]

import math
from typing import Literal

import torch
from torch import Tensor

from dynvae.audio.stft import power_of
from dynvae.distributions import FixedGaussianLikelihood
from dynvae.mixtures.values import Evidence
from dynvae.models import RecursiveDVAE
from dynvae.recurrence import Program
from dynvae.recurrence.program import Map, Operation, Read, Sample

Feedback = Literal["auto", "mean", "power", "gaussian", "legacy-uniform"]
"""What is fed back of a complex source with q(s) = N(μ, v).

|μ|²; |μ|² + v, the expected power; or the power of μ + √(v/2) (a + i b), where a and b are standard normal or, as
published, uniform in [0, 1). ``"auto"`` is the first for models that see raw powers, and the second for those that see
logarithms or roots: a power of nearly nothing, as μ has it where a bin is another source's, is none that they know.
"""

_SEEN = {"raw": "identity", "log": "log_power", "root": "root_power", "standardise": "standardise"}


def estimating(model: RecursiveDVAE, complex_valued: bool, feedback: Feedback, gated: bool) -> Program:
    r"""Generation in which the next frame sees the estimate of this one.

    With the gain :math:`K = \sigma(\ln v + \ln a)`, a real source has the estimate :math:`\mu + K (o - \mu)`. A complex
    one has :math:`K x`, of variance :math:`K / a`, so that what is fed back is K times :math:`K |x|^2`,
    :math:`K |x|^2 + 1 / a`, or :math:`|\sqrt K x + e / \sqrt{2a}|^2`; :func:`feeding` gives what is known of it.

    Args:
        model: of the source.
        complex_valued: whether its frames are spectra.
        feedback: of spectra.
        gated: whether z is the prior's mean in some frames.
    """
    (decoded,) = model.declared.laws["likelihood"]
    n = model.x_dim

    def whole(name: str) -> Read:
        return Read(name, 0, n)

    def apply(out: str, function: str, *sources: Read) -> Map:
        return Map(out, n, function, sources)

    first, second = (Read(decoded.name, decoded.start + i * n, decoded.start + (i + 1) * n) for i in range(2))
    log_variance = first if complex_valued else whole("log_variance") if _is_fixed(model) else second
    steps: list[Operation] = [apply("gain", "gain", log_variance, whole("log_precision"))]
    if complex_valued:
        if feedback == "mean":
            steps.append(apply("share", "product", whole("gain"), whole("power")))
        elif feedback == "power":
            steps.append(apply("share", "blend", whole("gain"), whole("spread"), whole("power")))
        else:
            steps += [
                apply("squares", "blend", whole("gain"), whole("spread"), whole("power")),
                apply("root", "root_power", whole("gain")),
                apply("crossed", "product", whole("root"), whole("cross")),
                apply("share", "average", whole("squares"), whole("crossed")),
            ]
        steps.append(apply("estimate", "product", whole("gain"), whole("share")))
    else:
        steps.append(apply("estimate", "blend", whole("gain"), first, whole("target")))
    scale = [whole(name) for name in ("x.mean", "x.std")] if model.input_transform == "standardise" else []
    steps.append(apply("x", _SEEN[model.input_transform], whole("estimate"), *scale))
    if gated and "prior" in model.declared.laws:
        steps.append(_gate(model, model.declared.laws["prior"][0]))
    return model.declared.generation.extended(steps)


def feeding(
    model: RecursiveDVAE, complex_valued: bool, feedback: Feedback, evidence: Evidence, noise: Tensor | None
) -> dict[str, Tensor]:
    """What :func:`estimating` knows at every frame; ``noise`` is e, complex, where it is sampled."""
    target = evidence.target
    known = {"log_precision": evidence.log_precision}
    if model.input_transform == "standardise":
        known |= {"x.mean": model.input_mean.expand(len(target), -1), "x.std": model.input_std.expand(len(target), -1)}
    if not complex_valued:
        fixed = model.observation.std if isinstance(model.observation, FixedGaussianLikelihood) else 1.0
        known |= {"log_variance": torch.full_like(target, 2 * math.log(fixed))} if _is_fixed(model) else {}
        return known | {"target": target}
    power = power_of(target)
    if feedback == "mean":
        return known | {"power": power}
    inverse = (-evidence.log_precision).exp().clamp(max=1e30)
    if feedback == "power":
        return known | {"spread": inverse, "power": power + inverse}
    assert noise is not None
    spread = 0.5 * inverse * power_of(noise)
    cross = (2 * inverse).sqrt() * (target.real * noise.real + target.imag * noise.imag)
    return known | {"spread": 2 * spread, "power": 2 * (power + spread), "cross": 2 * cross}  # halved by the average


def walking(model: RecursiveDVAE) -> Program:
    """Generation along known frames, with z drawn from the prior in some of them."""
    mean, log_variance = model.declared.laws["prior"]
    drawn = Sample("z.prior", model.z_dim, mean, log_variance, "noise.z")
    return model.declared.generation.extended([drawn, _gate(model, Read("z.prior", 0, model.z_dim))])


def _is_fixed(model: RecursiveDVAE) -> bool:
    return isinstance(model.observation, FixedGaussianLikelihood)


def _gate(model: RecursiveDVAE, otherwise: Read) -> Map:
    """The inferred z where the gate is open."""
    n = model.z_dim
    return Map("z", n, "blend", (Read("gate", 0, n), otherwise, Read("z.inferred", 0, n)))
