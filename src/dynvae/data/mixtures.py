"""Mixtures of which every source is known: excerpts of recordings, put together when they are read."""

from __future__ import annotations

__all__ = ["FLUTE", "KnownMixture", "Part", "plan_mixtures"]

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import audio_info, read_audio
from dynvae.audio.mixing import noise_gain
from dynvae.data.corpus import Corpus, Utterance
from dynvae.data.flute import flute
from dynvae.errors import DataError

FLUTE = "flute"
"""The word for a source that is no corpus but :func:`~dynvae.data.flute.flute`."""
_LOUD = 0.3
_TRIES = 20

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """A source of a mixture: a recording, or a flute if there is none; ``seed`` tells where in it, or what it plays."""

    path: Path | None
    seed: tuple[int, ...]

    def load(self, samples: int, sample_rate: int) -> Sound:
        """So many samples of it, without offset: an excerpt that is not much quieter than the whole.

        Raises:
            AudioError: the file cannot be read.
            DataError: it is silent, or too short.
        """
        random = np.random.default_rng(self.seed)
        if self.path is None:
            return flute(samples / sample_rate, sample_rate, seed=int(random.integers(1 << 31)))[:samples]
        sound, _ = read_audio(self.path, sample_rate)
        sound = sound - sound.mean(dtype=np.float64).astype(np.float32)
        power = float(np.mean(np.square(sound, dtype=np.float64)))
        if len(sound) < samples or not power:
            raise DataError(f"{self.path}: silent, or shorter than {samples / sample_rate:g} s; take shorter mixtures")
        best = sound[:samples]
        for _ in range(_TRIES):
            start = int(random.integers(len(sound) - samples + 1))
            excerpt = sound[start : start + samples]
            if np.mean(np.square(excerpt, dtype=np.float64)) > _LOUD * power:
                return excerpt
            best = max(best, excerpt, key=lambda each: float(np.abs(each).sum()))
        return best


@dataclass(frozen=True)
class KnownMixture:
    """A mixture, whose sources are all of one level but for the ratio of the first to each of the others.

    Attributes:
        name: of the mixture.
        parts: its sources.
        seconds: its length.
        ratio: in dB.
    """

    name: str
    parts: tuple[Part, ...]
    seconds: float
    ratio: float = 0.0

    def load(self, sample_rate: int) -> tuple[Sound, Sound]:
        """The mixture ``(samples,)``, of peak one, and its sources ``(source, samples)``, which add up to it.

        Raises:
            DataError: an excerpt is silent, or a file too short.
        """
        samples = round(self.seconds * sample_rate)
        sounds = [part.load(samples, sample_rate) for part in self.parts]
        powers = [float(np.mean(np.square(sound, dtype=np.float64))) for sound in sounds]
        if not all(powers):
            raise DataError(f"{self.name}: the excerpt of a source is silent")
        gains = [1.0] + [noise_gain(powers[0], power, self.ratio) for power in powers[1:]]
        sources = np.stack([gain * sound for gain, sound in zip(gains, sounds, strict=True)])
        mixture = sources.sum(0)
        peak = np.abs(mixture).max()
        return (mixture / peak).astype(np.float32), (sources / peak).astype(np.float32)


def plan_mixtures(
    sources: Sequence[str | os.PathLike[str]],
    count: int,
    seconds: float,
    *,
    ratio: float = 0.0,
    split: str = "test",
    seed: int = 0,
) -> list[KnownMixture]:
    """Draw mixtures: of each source another recording, and another place in it.

    Args:
        sources: corpora, or ``"flute"``; where one stands twice, the two recordings are of different speakers, if these
            are known, and never the same.
        count: of the mixtures.
        seconds: their length; what is shorter is not taken.
        ratio: level of the first source over each of the others, in dB.
        split: of the corpora.
        seed: of all draws.

    Raises:
        DataError: there are not enough recordings of the length.
    """
    files = {os.fspath(source): _long_enough(source, seconds, split) for source in sources if source != FLUTE}
    mixtures = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        parts: list[Part] = []
        taken: list[Utterance] = []
        for place, source in enumerate(sources):
            path = None
            if source != FLUTE:
                free = [each for each in files[os.fspath(source)] if not any(_alike(each, other) for other in taken)]
                if not free:
                    raise DataError(f"{source}: there are not enough recordings of {seconds:g} s for different sources")
                taken.append(free[int(random.integers(len(free)))])
                path = taken[-1].path
            parts.append(Part(path, (seed, index, place)))
        mixtures.append(KnownMixture(f"mixture{index:04d}", tuple(parts), seconds, ratio))
    return mixtures


def _long_enough(source: str | os.PathLike[str], seconds: float, split: str) -> list[Utterance]:
    files = [each for each in Corpus.open(source).split(split) if audio_info(each.path).seconds >= seconds]
    if not files:
        raise DataError(f"{source}: no recording of the split '{split}' has {seconds:g} s")
    return files


def _alike(one: Utterance, other: Utterance) -> bool:
    return one.path == other.path or bool(one.speaker and one.speaker == other.speaker)
