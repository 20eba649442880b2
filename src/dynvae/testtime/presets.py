"""Named ways to enhance speech: our own, and those that were published, with the settings their authors ran."""

from __future__ import annotations

__all__ = ["PRESETS", "Preset", "preset"]

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType

from dynvae.errors import ConfigError
from dynvae.testtime.em import EM
from dynvae.testtime.esteps import EncoderTuning, Langevin, MeanField, Metropolis, PointEstimate
from dynvae.testtime.noise import NMF
from dynvae.testtime.prior import Feedback, PriorEnergy


@dataclass(frozen=True)
class Preset:
    """A method: the engine's settings, and how a DVAE serves as prior.

    Attributes:
        em: E-step, noise and iterations.
        feedback: see :class:`~dynvae.testtime.prior.DVAEPrior`.
        energy: see there.
        attempts: runs that a recording gets before a collapsed estimate is replaced by the last healthy one.
        text: what it is, in a line.
    """

    em: EM
    feedback: Feedback = "estimate"
    energy: PriorEnergy = "exact"
    attempts: int = 3
    text: str = ""

    def replaced(self, **changes: object) -> Preset:
        """With other settings of the engine (fields of :class:`~dynvae.testtime.em.EM`)."""
        try:
            return replace(self, em=replace(self.em, **changes))  # type: ignore[arg-type]
        except TypeError as error:
            raise ConfigError(f"the engine has no such setting ({error})") from error


_LEGACY_NMF = NMF(rank=8, level=None, floor=False)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "default": Preset(
            # Two patterns of noise: where the prior fits badly, eight take the speech.
            EM(Langevin(), NMF(rank=2, exponent=1.0), iterations=60, average=20),
            text="Langevin EM: one chain, steps in standard deviations of the posterior, 60 iterations of fast noise "
            "updates, the last twenty averaged",
        ),
        "fast": Preset(
            EM(Langevin(step=0.2), NMF(rank=2, exponent=1.0), iterations=40, average=10),
            text="40 iterations of larger steps: as good near 0 dB, worse above 10 dB",
        ),
        "vae-mcem": Preset(
            EM(Metropolis(0.01, steps=40, burn_in=30, adapt=False), NMF(rank=10, level=None), least_gain=0.0),
            attempts=1,
            text="Monte-Carlo EM of a VAE with published settings (Leglaive, Girin and Horaud, 2018)",
        ),
        "vae-vi-mcem": Preset(
            EM(MeanField(Metropolis(0.01, steps=40, burn_in=30, adapt=False)), NMF(10, exponent=1.0, level=None)),
            attempts=1,
            text="variational-inference Monte-Carlo EM of a VAE (Sadeghi and Alameda-Pineda, 2020)",
        ),
        "peem": Preset(
            EM(PointEstimate(), _LEGACY_NMF, least_gain=0.0),
            energy="published",
            attempts=1,
            text="point-estimate EM, the prior without its ½ (Sadeghi and Serizel, 2023)",
        ),
        "dkf-ldem": Preset(
            EM(
                Langevin(
                    5e-3, moves=20, chains=5, precondition="rmsprop", reach=None, temperature=1, jitter=0.01, smooth=5.0
                ),
                _LEGACY_NMF,
                gains=False,
            ),
            energy="published",
            attempts=1,
            text="preconditioned Langevin EM of a DKF with published settings (Sadeghi and Serizel, 2023)",
        ),
        "ldem": Preset(
            EM(
                Langevin(5e-3, chains=10, precondition=None, reach=None, temperature=1, jitter=0.01),
                _LEGACY_NMF,
                least_gain=0.0,
            ),
            energy="published",
            attempts=1,
            text="Langevin EM as published: ten chains, the prior without its ½ (Sadeghi and Serizel, 2024)",
        ),
        "mhem": Preset(
            EM(
                Metropolis(0.01, steps=10, burn_in=5, adapt=False, accept="frames", jitter=0.01),
                _LEGACY_NMF,
                least_gain=0.0,
                closing=True,
            ),
            attempts=1,
            text="Metropolis-Hastings EM as published: each frame accepted alone (Sadeghi and Serizel, 2024)",
        ),
        "malaem": Preset(
            EM(
                Metropolis(5e-3, steps=10, burn_in=5, drift=True, adapt=False, accept="frames", tame=True, jitter=0.01),
                _LEGACY_NMF,
                least_gain=0.0,
                closing=True,
            ),
            energy="published",
            attempts=1,
            text="Metropolis-adjusted Langevin EM as published (Sadeghi and Serizel, 2024)",
        ),
        **{
            f"{model}-vem": Preset(
                EM(EncoderTuning(clip=None, redraw=True), _LEGACY_NMF, iterations=300, least_gain=0.0),
                feedback="own",
                attempts=1,
                text=f"variational EM of {title} as published, 300 iterations (Bie et al., 2022)",
            )
            for model, title in (("vae", "VAE"), ("dkf", "DKF"), ("rvae", "RVAE"), ("srnn", "SRNN"))
        },
    }
)
"""The methods by name."""


def preset(name: str) -> Preset:
    """A method by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"there is no way '{name}' to enhance; {hint}")
    return PRESETS[name]
