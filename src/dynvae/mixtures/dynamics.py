"""A DVAE as the dynamics of sources: its latents, and its frames, given what was observed of them."""

from __future__ import annotations

__all__ = ["Dynamics", "Given"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from dynvae.audio.stft import power_of
from dynvae.distributions import ComplexGaussianLikelihood, FixedGaussianLikelihood, GaussianLikelihood
from dynvae.errors import ConfigError
from dynvae.mixtures.laws import Law
from dynvae.mixtures.programs import Feedback, estimating, feeding, walking
from dynvae.mixtures.values import Estimate, Evidence
from dynvae.models import DVAE, Latents, Posterior, RecursiveDVAE
from dynvae.recurrence import Program, run

_CERTAIN = 80.0
"""A log-precision with which a gain is one."""

Seen = Mapping[str, Tensor]


@dataclass(eq=False)
class Given:
    """What is known of rows, each a source of a sequence.

    Attributes:
        evidence: what was observed of the frames, ``(rows, time, feature)``.
        observed: where z is inferred, ``(rows, time)``; elsewhere it is the prior's. Everywhere, if None.
        lengths: ``(rows,)``.
        start: the law of the first frame, ``(rows, feature)``, instead of the model's.
        before: the frame before the first, ``(rows, feature)``; the one that the model was trained with, if None.
    """

    evidence: Evidence
    observed: Tensor | None = None
    lengths: Tensor | None = None
    start: Estimate | None = None
    before: Tensor | None = None


class Dynamics:
    """A DVAE with a Gaussian likelihood, on frames ``(rows, time, feature)``. Its weights are never changed.

    Args:
        model: of one source.
        feedback: of complex sources.

    Raises:
        ConfigError: the model's likelihood is not Gaussian, or it sees a condition.
    """

    def __init__(self, model: DVAE, feedback: Feedback = "auto") -> None:
        known = (ComplexGaussianLikelihood, GaussianLikelihood, FixedGaussianLikelihood)
        name = type(model).__name__
        if not isinstance(model.observation, known):
            raise ConfigError(f"a source has a Gaussian likelihood, real or complex; this {name} has another one")
        if model.condition_dim:
            raise ConfigError(f"a source of a mixture sees no condition, as this {name} does")
        natural: Feedback = "mean" if model.input_transform == "raw" else "power"
        self.model, self.feedback = model, natural if feedback == "auto" else feedback
        self.complex = isinstance(model.observation, ComplexGaussianLikelihood)
        self._programs: dict[str, Program] = {}

    def infer(
        self, x: Tensor, lengths: Tensor | None = None, noise: Latents | None = None, seen: Seen | None = None
    ) -> Posterior:
        """E-Z: q(z | x), along its means, unless noise is given.

        Args:
            x: frames as the model sees them: vectors, or powers.
            lengths: ``(rows,)``.
            noise: standard normal.
            seen: what :meth:`explain` has computed on the way to x.
        """
        model = self.model
        if noise is None:
            w = model.weight.new_zeros(x.shape[0], model.w_dim) if model.w_dim else None
            noise = Latents(model.weight.new_zeros(*x.shape[:2], model.z_dim), w)
        if isinstance(model, RecursiveDVAE):
            return model.infer(x, lengths, noise=noise, seen=seen)
        return model.posterior(x, lengths, noise=noise)

    def draw(self, shape: torch.Size, generator: torch.Generator) -> Tensor | None:
        """The noise of the sampled kinds of feedback; None for the others."""
        if not self.complex or self.feedback in ("mean", "power"):
            return None
        kind = torch.rand if self.feedback == "legacy-uniform" else torch.randn
        weight = self.model.weight
        real, imaginary = (kind(shape, generator=generator, dtype=weight.dtype).to(weight.device) for _ in range(2))
        return torch.complex(real, imaginary)

    def fed(self, q: Estimate, noise: Tensor | None = None) -> Tensor:
        """What the model sees of frames with this law: their means, or their powers (:data:`Feedback`)."""
        if not q.mean.is_complex():
            return q.mean
        if noise is not None:
            return power_of(q.mean + (0.5 * q.variance).sqrt() * noise)
        power = power_of(q.mean)
        return power + q.variance if self.feedback == "power" else power

    def explain(self, latents: Latents, given: Given, noise: Tensor | None = None) -> tuple[Law, Seen | None]:
        """E-S: the laws of all frames, each of which sees the estimates of those before it.

        Args:
            latents: of :meth:`infer`.
            given: what was observed, and how the sequence begins.
            noise: of :meth:`draw`.

        Returns:
            The laws before the frame itself was observed, and what inference may use again.
        """
        evidence = given.evidence
        if given.start is not None:  # its estimate is known beforehand, and taken as if it were observed exactly
            first = Law(given.start.mean, given.start.variance.log())
            log_precision, target = (part.clone() for part in evidence)
            target[:, 0] = first.given(Evidence(log_precision[:, 0], target[:, 0])).mean
            log_precision[:, 0] = _CERTAIN
            evidence = Evidence(log_precision, target)
        if isinstance(self.model, RecursiveDVAE) and not (given.observed is not None and self._steps_through_gaps):
            law, seen = self._run(self.model, latents, given, evidence, noise)
        else:
            law, seen = self._step(latents, given, evidence, noise), None
        return law.beginning(given.start), seen

    @property
    def _steps_through_gaps(self) -> bool:
        """Whether the prior is not one of a program's own laws."""
        return isinstance(self.model, RecursiveDVAE) and self.model.prior_law != "prior"

    def _step(self, latents: Latents, given: Given, evidence: Evidence, noise: Tensor | None) -> Law:
        """Frame by frame, by the contract of all models."""
        model = self.model
        if given.before is not None or noise is not None:
            raise ConfigError(f"a {type(model).__name__} knows neither sampled feedback nor a frame before the first")
        if not model.autoregressive:
            nothing = model.weight.new_zeros(*latents.z.shape[:2], model.x_dim)
            z = self.path(latents, given.observed, nothing)
            return Law.of(model.likelihood(Latents(z, latents.w), nothing, given.lengths))
        state = model.start(len(latents.z), latents.w)
        laws = []
        for t, z in enumerate(latents.z.unbind(1)):
            if given.observed is not None:
                z = z.where(given.observed[:, t, None], model.step_prior(state).mean)
            likelihood, state = model.step_likelihood(state, z)
            laws.append(Law.of(likelihood))
            frame = laws[-1].given(Evidence(evidence.log_precision[:, t], evidence.target[:, t]))
            state = model.advance(state, z, self.fed(frame))
        return Law(*(torch.stack(part, 1) for part in zip(*laws, strict=True)))

    def _run(
        self, model: RecursiveDVAE, latents: Latents, given: Given, evidence: Evidence, noise: Tensor | None
    ) -> tuple[Law, Seen | None]:
        """As a recurrent program."""
        known = feeding(model, self.complex, self.feedback, evidence, noise)
        known |= _known(model, latents, given.observed)
        ends = model.initial(len(evidence.target))
        if given.before is not None:
            ends["x"] = model.features(given.before)
        gaps = "gaps" if given.observed is not None else "whole"
        if gaps not in self._programs:
            self._programs[gaps] = estimating(model, self.complex, self.feedback, gaps == "gaps")
        shared = model.declared.shared | {"x"} if given.before is None and given.lengths is None else frozenset()
        shared = shared if model.autoregressive else frozenset()
        wanted = model.declared.names("likelihood") | shared
        values = run(self._programs[gaps], model, known, wanted, lengths=given.lengths, initial=ends)
        (decoded,) = model.declared.laws["likelihood"]
        law = Law.of(model.observation(values[decoded.name][..., decoded.start : decoded.stop]))
        return law, {name: values[name] for name in shared} or None

    def path(self, latents: Latents, observed: Tensor | None, past: Tensor, noise: Tensor | None = None) -> Tensor:
        """The latents of all frames: inferred where something was observed, drawn from the prior elsewhere.

        Args:
            latents: the inferred ones.
            observed: ``(rows, time)``, or None for everywhere.
            past: the frames that the prior sees.
            noise: of the draws, ``(rows, time, z_dim)``; zeros if None, which gives the prior's means.
        """
        model = self.model
        if observed is None:
            return latents.z
        noise = torch.zeros_like(latents.z) if noise is None else noise
        if isinstance(model, RecursiveDVAE) and not self._steps_through_gaps:
            if "prior" not in model.declared.laws:
                return latents.z.where(observed.unsqueeze(-1), noise)
            if "walk" not in self._programs:
                self._programs["walk"] = walking(model)
            known = _known(model, latents, observed) | {"x": model.features(past), "noise.z": noise}
            return run(self._programs["walk"], model, known, {"z"}, initial=model.initial(len(past)))["z"]
        state, zs = model.start(len(past), latents.w), []
        for t, z in enumerate(latents.z.unbind(1)):
            z = z.where(observed[:, t, None], _moved(model.step_prior(state), noise[:, t]))
            if model.causal:
                _, state = model.step_likelihood(state, z)
            state = model.advance(state, z, past[:, t])
            zs.append(z)
        return torch.stack(zs, 1)


def _known(model: RecursiveDVAE, latents: Latents, observed: Tensor | None) -> dict[str, Tensor]:
    """The latents as a program knows them: z, or where it is inferred, and what it is there."""
    known = {} if latents.w is None else {"w": latents.w}
    if observed is None:
        return known | {"z": latents.z}
    gate = observed.unsqueeze(-1).expand_as(latents.z).to(latents.z.dtype)
    if "prior" not in model.declared.laws:  # N(0, I)
        return known | {"z": latents.z * gate}
    return known | {"z.inferred": latents.z, "gate": gate}


def _moved(law: Distribution, noise: Tensor) -> Tensor:
    """The mean, moved by standard normal noise.

    Raises:
        ConfigError: the prior is no Gaussian.
    """
    if not noise.any():
        return law.mean
    if isinstance(law, Independent) and isinstance(law.base_dist, Normal):
        return law.base_dist.loc + law.base_dist.scale * noise
    triangle: Any = getattr(law, "scale_tril", None)
    if triangle is None:
        raise ConfigError("where nothing is observed, z follows the prior, which must be Gaussian for the bound")
    return law.mean + (triangle @ noise.unsqueeze(-1)).squeeze(-1)
