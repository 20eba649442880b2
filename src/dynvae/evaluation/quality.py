"""How good generated sound is as a whole: its distance to real sound, beside that of real sound to other real sound."""

from __future__ import annotations

__all__ = ["RealSound", "clip_features", "find_clips", "model_features", "speech_distances"]

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dynvae.audio import read_audio, resample, trim_bounds
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation.analysis import speech_front_end
from dynvae.evaluation.generation import Drawing, draw_clips
from dynvae.metrics import Comparison, Extractor, LogMel, compare, extract
from dynvae.models import DVAE

Report = Callable[[int, int], None]

_AT_ONCE = 64  # clips
_FULL_SCALE = 2**15


class Piece(NamedTuple):
    """A clip in a file: from this sample on, at the extractor's rate."""

    path: Path
    start: int


def find_clips(
    files: Sequence[Path], seconds: float, sample_rate: int, *, trim_db: float | None = None, seed: int = 0
) -> list[Piece]:
    """All clips of one length that lie side by side in sound files; what is left over at an end is not used.

    Args:
        files: of any rate and number of channels.
        seconds: length of a clip.
        sample_rate: at which they will be read.
        trim_db: cut ends that are so many decibels below the loudest frame before, as models are trained without them.
        seed: of the order of the files.

    Returns:
        Clips in the order in which they are to be taken: one of each file, in random order, then a second of each, ...

    Raises:
        ConfigError: the length is not positive.
        AudioError: a file cannot be read.
    """
    samples = _samples(seconds, sample_rate)
    order = np.random.default_rng(seed).permutation(len(files))
    found = []
    for rank, path in enumerate(files[index] for index in order):
        waveform, _ = read_audio(path, sample_rate)
        start, stop = (0, len(waveform)) if trim_db is None else trim_bounds(waveform - waveform.mean(), trim_db)
        starts = range(start, stop - samples + 1, samples)
        found += [(turn, rank, Piece(path, begin)) for turn, begin in enumerate(starts)]
    return [piece for *_, piece in sorted(found)]


def clip_features(
    pieces: Sequence[Piece], seconds: float, extractor: Extractor, *, report: Report | None = None
) -> Tensor:
    """The features of clips, ``(n, d)``, in their order.

    Args:
        pieces: of `find_clips`.
        seconds: their length, as given there.
        extractor: makes the features, at the rate that was given there.
        report: called with the number of clips that are done, and of all.

    Raises:
        DataError: there are no clips, or no features come out.
    """
    order = sorted(range(len(pieces)), key=lambda index: pieces[index])
    waves = _read(pieces, order, _samples(seconds, extractor.sample_rate), extractor.sample_rate)
    features = extract(extractor, _batches(waves, len(pieces), report))
    return torch.empty_like(features).index_copy_(0, torch.tensor(order), features)


def model_features(
    model: DVAE, n: int, drawing: Drawing, extractor: Extractor, *, report: Report | None = None
) -> Tensor:
    """The features of sound that a model draws, ``(n, d)``: of the 16 bits a sample that `write_clips` would write.

    Args:
        model: with a front end.
        n: number of clips.
        drawing: how they are drawn.
        extractor: makes the features.
        report: called with the number of clips that are done, and of all.

    Raises:
        ConfigError: the model has no front end that fits.
        AudioError: the model has drawn a power that is not finite.
        DataError: no features come out.
    """
    rate = speech_front_end(model).sample_rate

    def waves() -> Iterator[Tensor]:
        for clip in draw_clips(model, range(n), drawing):
            written = (clip.waveform.float() * _FULL_SCALE).round() / _FULL_SCALE
            yield torch.from_numpy(resample(written.numpy(), rate, extractor.sample_rate))

    return extract(extractor, _batches(waves(), n, report))


@dataclass(frozen=True)
class RealSound:
    """Features of real sound: a reference, and other sound that tells how near one can come to it.

    Attributes:
        reference: ``(n, d)``.
        floor: ``(n, d)``.
    """

    reference: Tensor
    floor: Tensor

    @classmethod
    def of(
        cls,
        files: Sequence[Path],
        n: int | None,
        extractor: Extractor,
        *,
        at_most: int | None = None,
        seconds: float = 1.6,
        splits: int = 5,
        floor: Sequence[Path] | None = None,
        trim_db: float | None = 30.0,
        seed: int = 0,
        report: Report | None = None,
    ) -> RealSound:
        """Take n clips of each kind.

        Args:
            files: the reference.
            n: clips on each side; None for as many as there are.
            at_most: but no more than so many.
            extractor: makes the features.
            seconds: length of a clip.
            splits: n must be a multiple of it; where n is not given, it is made one.
            floor: other real sound. By default every other one of the files, so that no file is on both sides.
            trim_db: quiet ends are cut before, so many decibels below the loudest frame.
            seed: of the choice of clips.
            report: called with the number of clips that are done, and of all.

        Raises:
            ConfigError: n is no multiple of splits, or the length is not positive.
            DataError: there are too few clips.
            AudioError: a file cannot be read.
        """
        if n is not None and (n % splits or n < 2 * splits):
            raise ConfigError(f"{n} clips cannot be split into {splits} equal parts of two or more")
        order = np.random.default_rng(seed).permutation(len(files))
        shuffled = [files[index] for index in order]
        sides = [shuffled[0::2], shuffled[1::2]] if floor is None else [shuffled, list(floor)]
        found = [find_clips(side, seconds, extractor.sample_rate, trim_db=trim_db, seed=seed) for side in sides]
        most = min(map(len, found))
        if most < (n or 2 * splits):
            where = "half of the real sound (the other is the floor)" if floor is None else "the reference or the floor"
            raise DataError(f"{where} gives {most} clips of {seconds:g} s, where {n or 2 * splits} are needed")
        if n is None:
            most = min(most, at_most or most)
            n = most - most % splits

        clips = n
        features = [
            clip_features(pieces[:n], seconds, extractor, report=_part(report, side * clips, 2 * clips))
            for side, pieces in enumerate(found)
        ]
        return cls(features[0], features[1])

    def distances(self, generated: Tensor, splits: int = 5) -> Comparison:
        """Fréchet and kernel distance of generated sound to the reference, and of the other real sound to it.

        Args:
            generated: features ``(n, d)``, as many as here.
            splits: disjoint parts that each is computed on.
        """
        return compare(generated, self.reference, self.floor, splits=splits)


def speech_distances(
    model: DVAE,
    files: Sequence[Path],
    n: int,
    *,
    seconds: float = 1.6,
    seed: int = 0,
    splits: int = 5,
    extractor: Extractor | None = None,
    floor: Sequence[Path] | None = None,
    batch: int | None = None,
    report: Report | None = None,
) -> Comparison:
    """Draw n clips from a model, and tell how far they are from real sound.

    To compare several models, make a :class:`RealSound` once, and for each model :func:`model_features`.

    Args:
        model: with a front end, whose trimming of quiet ends the real sound gets, too.
        files: real sound.
        n: clips on each side, a multiple of splits.
        seconds: length of a clip.
        seed: of what is drawn and chosen.
        splits: disjoint parts that each distance is computed on.
        extractor: makes the features; `dynvae.metrics.LogMel` by default.
        floor: other real sound; by default half of the files are taken for it.
        batch: clips that are drawn together.
        report: called with the number of clips that are done, and of all.

    Raises:
        ConfigError: a setting cannot be used.
        DataError: there are too few clips of real sound.
        AudioError: a file cannot be read, or the model has drawn a power that is not finite.
    """
    extractor = extractor or LogMel()
    trim_db = speech_front_end(model).trim_db
    drawing = Drawing(seconds, seed, batch=batch)
    whole = 3 * n
    real = RealSound.of(
        files, n, extractor, seconds=seconds, splits=splits, floor=floor, trim_db=trim_db, seed=seed,
        report=_part(report, 0, whole),
    )  # fmt: skip
    return real.distances(model_features(model, n, drawing, extractor, report=_part(report, 2 * n, whole)), splits)


def _part(report: Report | None, before: int, whole: int) -> Report | None:
    """What a part of the work reports to."""
    return None if report is None else lambda done, _: report(before + done, whole)


def _samples(seconds: float, sample_rate: int) -> int:
    samples = round(seconds * sample_rate)
    if samples < 1:
        raise ConfigError(f"the length of a clip ({seconds} s) must be positive")
    return samples


def _read(pieces: Sequence[Piece], order: Sequence[int], samples: int, sample_rate: int) -> Iterator[Tensor]:
    """The clips in an order that reads each file once."""
    for path, indices in itertools.groupby(order, lambda index: pieces[index].path):
        waveform = torch.from_numpy(read_audio(path, sample_rate)[0])
        for index in indices:
            start = pieces[index].start
            yield waveform[start : start + samples]


def _batches(waves: Iterator[Tensor], total: int, report: Report | None) -> Iterator[Tensor]:
    done = 0
    while several := list(itertools.islice(waves, _AT_ONCE)):
        yield torch.stack(several)
        done += len(several)
        if report is not None:
            report(done, total)
