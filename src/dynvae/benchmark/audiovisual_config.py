"""The settings of the audio-visual benchmark, its rows, and the videos that each of them is given."""

from __future__ import annotations

__all__ = ["AV_METRICS", "AV_ROWS", "AVConfig", "AVRow", "Video", "run_name"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from dynvae.data.lips import LipSettings
from dynvae.errors import ConfigError
from dynvae.metrics import METRICS
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.testtime import DVAEPrior, Preset, PriorMixture, preset
from dynvae.testtime.prior import Prior
from dynvae.training import TrainConfig
from dynvae.video.corruption import CORRUPTIONS, Corruption

AV_METRICS = ("si_sdr", "pesq_wb", "stoi", "estoi")
Video = Literal["none", "clean", "spoilt", "swapped"]
"""What is seen beside the noisy sound: nothing; the clip's lips; the same with a share of the frames spoilt; another
clip's lips."""


@dataclass(frozen=True)
class AVRow:
    """One method of the table.

    Attributes:
        label: what the table calls it.
        models: the presets of `dynvae.models` that it is made of, each trained once for a seed.
        mixture: how several are put together: ``"independent"`` frames or a ``"switching"`` chain; empty for one.
        train: what differs in the training.
        sees: whether it sees lips.
    """

    label: str
    models: tuple[str, ...]
    mixture: Literal["", "independent", "switching"] = ""
    train: Mapping[str, Any] = field(default_factory=dict)
    sees: bool = True

    def prior(self, models: Sequence[DVAE], method: Preset) -> Prior:
        """The prior of speech that the engine gets."""
        priors = [DVAEPrior(model, feedback=method.feedback, energy=method.energy) for model in models]
        if self.mixture == "independent":
            return PriorMixture(priors)
        return PriorMixture.switching(priors) if self.mixture else priors[0]


_PLAIN: Mapping[str, Any] = {"alpha": 0.0}

AV_ROWS: Mapping[str, AVRow] = {
    "a-vae": AVRow("A-VAE", ("vae",), sees=False),
    "v-vae": AVRow("V-VAE", ("v-vae",), train=_PLAIN),
    "av-vae": AVRow("AV-VAE", ("av-vae",), train=_PLAIN),
    "av-cvae": AVRow("AV-CVAE", ("av-cvae",)),
    "av-cvae-0": AVRow("AV-CVAE, α = 0", ("av-cvae-0",), train=_PLAIN),
    "vae-mm": AVRow("VAE-MM", ("vae", "av-cvae"), "independent"),
    "min-vae": AVRow("MIN-VAE", ("min-vae",), train=_PLAIN),
    "sw-vae": AVRow("Sw-VAE", ("vae", "av-cvae"), "switching"),
    "a-dkf": AVRow("A-DKF", ("dkf",), sees=False),
    "av-dkf": AVRow("AV-DKF", ("av-dkf",), train={"alpha": 0.01}),
}
"""The methods by name. VAE-MM and Sw-VAE are made of the models of A-VAE and AV-CVAE.

The prior is trained through the decoder (α > 0) where it sees lips: with the configuration's α for the AV-CVAE, and as
published for the AV-DKF."""


@dataclass(frozen=True)
class AVConfig:
    """What to compare, and on what.

    Attributes:
        data: a corpus of clean speech with lips (see `dynvae.data.lips.lips_path`), with the splits train, valid and
            ``split``.
        noise: a corpus of noise; each clip is mixed with some of it, once at each of ``snrs``.
        out: the folder of the results.
        rows: names of `AV_ROWS`.
        seeds: each trains every model and draws the engine's random numbers.
        snrs: in dB.
        split: of speech and noise, for the test.
        limit: so many clips, spread evenly over all.
        corruption: what spoils the lips.
        share: of the frames that is spoilt.
        swapped: rows that are also given the lips of another clip.
        preset: of the engine, the same for all rows.
        iterations: of EM; the preset's if None.
        metrics: scores.
        model: arguments of all models.
        view: arguments of the models that see lips.
        train: how they are trained.
        lips: how lips come to the frames, and are changed in training.
        front_end: of all.
        together: recordings that are enhanced in one batch.
        workers: batches at a time; 0 for none besides this process.
        overwrite: replace what other settings have left in ``out``.
    """

    data: str
    noise: str
    out: str
    rows: tuple[str, ...] = tuple(AV_ROWS)
    seeds: tuple[int, ...] = (0, 1)
    snrs: tuple[float, ...] = (-10.0, -5.0, 0.0, 5.0, 10.0)
    split: str = "test"
    limit: int | None = None
    corruption: Corruption = "noise"
    share: float = 1 / 3
    swapped: tuple[str, ...] = ("av-cvae", "av-cvae-0")
    preset: str = "default"
    iterations: int | None = None
    metrics: tuple[str, ...] = AV_METRICS
    model: Mapping[str, Any] = field(default_factory=dict)
    view: Mapping[str, Any] = field(default_factory=dict)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(alpha=0.1))
    lips: LipSettings = field(default_factory=LipSettings)
    front_end: str = "64ms"
    together: int = 8
    workers: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        for given, known, thing in (
            (self.rows, AV_ROWS, "row"), (self.swapped, AV_ROWS, "row"), (self.metrics, METRICS, "metric"),
            ((self.corruption,), CORRUPTIONS, "corruption"),
        ):  # fmt: skip
            for name in given:
                if name not in known:
                    near = get_close_matches(name, known, n=1)
                    hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
                    raise ConfigError(f"there is no {thing} '{name}'; {hint}")
        if not self.rows or not self.seeds or not self.snrs:
            raise ConfigError("there is nothing to compare; give rows, seeds and ratios")
        if self.together < 1 or self.workers < 0 or (self.limit is not None and self.limit < 2):
            raise ConfigError("together is positive, workers not negative, and a limit two or more")
        if not 0 < self.share <= 1:
            raise ConfigError(f"the share of spoilt frames lies above 0, up to 1, not {self.share}")

    @property
    def method(self) -> Preset:
        """The engine's settings."""
        chosen = preset(self.preset)
        return chosen if self.iterations is None else chosen.replaced(iterations=self.iterations)

    def videos(self, row: str) -> tuple[Video, ...]:
        """What a row is given to see, once each."""
        if not AV_ROWS[row].sees:
            return ("none",)
        return ("clean", "spoilt", "swapped") if row in self.swapped else ("clean", "spoilt")

    @property
    def models(self) -> dict[str, Mapping[str, Any]]:
        """The models to train, with what differs in their training; a model that several rows use comes once."""
        found: dict[str, Mapping[str, Any]] = {}
        for row in self.rows:
            for name in AV_ROWS[row].models:
                found.setdefault(name, AV_ROWS[row].train)
        return found

    def loaded(self, row: str, seed: int) -> list[DVAE]:
        """The trained models of a row."""
        return [load(Path(self.out) / "runs" / run_name(name, seed)) for name in AV_ROWS[row].models]


def run_name(model: str, seed: int) -> str:
    """The folder of a training run."""
    return f"{model}-seed{seed}"
