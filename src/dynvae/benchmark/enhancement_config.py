"""The settings of the enhancement benchmark, and where it keeps the sound of its examples."""

from __future__ import annotations

__all__ = ["DEFAULT_METRICS", "RATE", "EnhancementConfig", "sound_file"]

from dataclasses import dataclass
from pathlib import Path

from dynvae.benchmark.enhancement_methods import Method
from dynvae.data.pairs import SpeechPair
from dynvae.errors import ConfigError
from dynvae.metrics import METRICS
from dynvae.work import Engine

RATE = 16000
DEFAULT_METRICS = ("si_sdr", "pesq_nb", "pesq_wb", "stoi", "estoi", "dnsmos")


@dataclass(frozen=True)
class EnhancementConfig:
    """What to compare, and on what.

    Attributes:
        data: pairs of files (see `dynvae.data.pairs.open_pairs`), or a corpus of clean speech if there is ``noise``.
        out: the folder of the results.
        methods: the rows.
        noise: a corpus of noise; then the pairs are mixed, each file of speech once at each of ``snrs``.
        snrs: in dB.
        split: of the data, and of the noise.
        corpus: what the training corpora are compared with: a method is matched where it was trained on this.
        against: label or kind of the method that the others are compared with, file by file.
        metrics: scores, out of `dynvae.metrics.METRICS` and ``dnsmos``.
        limit: so many pairs, spread evenly over all.
        examples: pairs to hear and to see in the report.
        seed: of all random numbers.
        engine: whose workers: processes of this machine, or a Ray cluster.
        workers: at a time; 0 does all in this process, which is best for real-time factors.
        overwrite: replace what other settings have left in ``out``.
    """

    data: str
    out: str
    methods: tuple[Method, ...]
    noise: str | None = None
    snrs: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0)
    split: str = "test"
    corpus: str = ""
    against: str = "noisy"
    metrics: tuple[str, ...] = DEFAULT_METRICS
    limit: int | None = None
    examples: int = 2
    seed: int = 0
    engine: Engine = "processes"
    workers: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError("there is nothing to compare; give --methods")
        known = [*METRICS, "dnsmos"]
        for name in self.metrics:
            if name not in known:
                raise ConfigError(f"there is no metric '{name}'; there are {', '.join(known)}")
        if (self.limit is not None and self.limit < 1) or self.examples < 0 or self.workers < 0:
            raise ConfigError("limit, examples and workers must not be negative, nor the limit zero")
        folders = [method.folder for method in self.methods]
        for method, folder in zip(self.methods, folders, strict=True):
            if folders.count(folder) > 1:
                raise ConfigError(f"two methods are called '{method.label}'; give one of them another label")


def sound_file(pair: SpeechPair) -> str:
    """Where the sound of an example is kept, below the folder of a method."""
    return f"sound/{Path(pair.name).name}.wav"
