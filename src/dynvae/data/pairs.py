"""Noisy speech of which the clean speech is known: pairs of files, or pairs that are mixed when they are read."""

from __future__ import annotations

__all__ = ["Pairs", "SpeechPair", "mixed_pairs", "open_pairs"]

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import AUDIO_SUFFIXES, audio_info, read_audio
from dynvae.audio.mixing import mix
from dynvae.data.corpus import Corpus, Utterance, locate, sound_files, with_splits
from dynvae.data.manifest import MANIFEST_SUFFIXES, read_rows
from dynvae.data.splits import split_of_label
from dynvae.errors import AudioError, DataError


@dataclass(frozen=True)
class SpeechPair:
    """Clean speech and the same in noise.

    Attributes:
        clean: the clean speech; its name is the pair's.
        other: the noisy file; or a recording of noise, if there is an ``snr``.
        snr: in dB, at which the noise is mixed to the speech.
        start: first sample of the noise.
        suffix: of the name, where one clean file is in several pairs.
    """

    clean: Utterance
    other: Path
    snr: float | None = None
    start: int = 0
    suffix: str = ""

    @property
    def name(self) -> str:
        return self.clean.name + self.suffix

    @property
    def split(self) -> str:
        return self.clean.split

    def load(self, sample_rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Clean and noisy waveform, ``(samples,)`` each.

        Raises:
            AudioError: a file cannot be read, or the two are of different length.
        """
        clean, _ = read_audio(self.clean.path, sample_rate)
        other, _ = read_audio(self.other, sample_rate)
        if self.snr is not None:
            return clean, mix(clean, other, self.snr, self.start).astype(np.float32)
        if len(clean) != len(other):
            raise AudioError(f"{self.other}: {len(other)} samples, and {len(clean)} in the clean file; pairs are in "
                             "step, sample by sample")  # fmt: skip
        return clean, other


class Pairs:
    """An ordered collection of pairs: `open_pairs` finds those of files, `mixed_pairs` makes others.

    Args:
        root: where they come from.
        pairs: the pairs.
    """

    def __init__(self, root: str | os.PathLike[str], pairs: Iterable[SpeechPair]) -> None:
        self.root, self.pairs = Path(root), tuple(pairs)

    def split(self, name: str) -> Pairs:
        """The pairs of one split; those that are missing are made as for `dynvae.data.Corpus`.

        Raises:
            DataError: there is none.
        """
        wanted = split_of_label(name)
        told = {pair.split for pair in self.pairs}
        pairs = self.pairs
        if told != {"test"} and (wanted == "train" or wanted not in told):
            divided = with_splits(self.root, [pair.clean for pair in pairs])
            pairs = tuple(replace(pair, clean=clean) for pair, clean in zip(pairs, divided, strict=True))
        part = Pairs(self.root, (pair for pair in pairs if pair.split == wanted))
        if not len(part):
            raise DataError(f"{self.root}: there is no split {name!r} of pairs; it has {', '.join(sorted(told))}")
        return part

    def filter(self, keep: Callable[[SpeechPair], bool]) -> Pairs:
        """The pairs for which ``keep`` is true."""
        return Pairs(self.root, (pair for pair in self.pairs if keep(pair)))

    @property
    def clean(self) -> Corpus:
        """The clean files, in the order of the pairs."""
        return Corpus(self.root, (pair.clean for pair in self.pairs))

    @property
    def noisy(self) -> Corpus:
        """The noisy files, in the order of the pairs."""
        files = ((pair.clean, pair.other, os.path.relpath(pair.other, self.root)) for pair in self.pairs)
        return Corpus(self.root, (Utterance(other, name, clean.speaker, clean.split) for clean, other, name in files))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[SpeechPair]:
        return iter(self.pairs)


def open_pairs(source: str | os.PathLike[str]) -> Pairs:
    """The pairs of a folder or manifest.

    **A manifest** (CSV or JSONL, also ``manifest.csv`` in a folder) has the columns ``clean`` and ``noisy`` with paths
    relative to its folder, or to the folder above; ``split`` and ``speaker`` are optional. **A folder** without one
    holds folders whose names have the word ``clean`` or ``noisy`` and are else alike, such as ``clean_testset_wav`` and
    ``noisy_testset_wav``, with files of the same names; a word such as ``trainset`` in them is the split.

    Raises:
        DataError: there are no pairs, or a file of a pair is not there.
    """
    path = Path(source)
    if path.is_file():
        return _from_manifest(path, path.parent)
    if not path.is_dir():
        raise DataError(f"{path}: no such pairs; give a manifest with the columns clean and noisy, or a folder that "
                        "holds one, or folders of clean and of noisy files")  # fmt: skip
    for end in MANIFEST_SUFFIXES:
        if (path / f"manifest{end}").exists():
            return _from_manifest(path / f"manifest{end}", path)
    return _from_folders(path)


def _from_manifest(manifest: Path, root: Path) -> Pairs:
    clean: list[Utterance] = []
    noisy: list[Path] = []
    for line, row in read_rows(manifest, "clean"):
        try:
            (file, name), (other, _) = locate(root, row["clean"]), locate(root, row.get("noisy", ""))
        except (DataError, OSError) as error:
            raise DataError(f"{manifest}, line {line}: {error}") from None
        for path in (file, other):
            if not path.is_file():
                raise DataError(f"{manifest}, line {line}: {path} is not there; get it, or remove the line")
        extra = {key: value for key, value in row.items() if key not in ("clean", "noisy", "split", "speaker")}
        split = split_of_label(row.get("split", ""))
        clean.append(Utterance(file, name, row.get("speaker", ""), split, extra=extra))
        noisy.append(other)
    return _pairs(manifest, root, clean, noisy)


def _from_folders(root: Path) -> Pairs:
    folders = {place.name: place for place in sorted(root.rglob("*")) if place.is_dir()}
    clean: list[Utterance] = []
    noisy: list[Path] = []
    for name, folder in folders.items():
        other = folders.get(name.replace("clean", "noisy"))
        if "clean" not in name or other is None:
            continue
        words = name.replace("set", " ")
        split = next((split for split in ("train", "valid", "test") if split in words), "")
        for file in sound_files(folder, AUDIO_SUFFIXES):
            if not (other / file).is_file():
                raise DataError(f"{other / file} is not there, and {folder / file} is; pairs have the same names")
            path = folder / file
            speaker = file.parts[0] if len(file.parts) > 1 else file.stem.partition("_")[0]
            clean.append(Utterance(path, path.relative_to(root).as_posix(), speaker, split))
            noisy.append(other / file)
    return _pairs(root, root, clean, noisy)


def _pairs(source: Path, root: Path, clean: list[Utterance], noisy: Sequence[Path]) -> Pairs:
    if not clean:
        raise DataError(f"{source}: there are no pairs of clean and noisy files")
    return Pairs(root, (SpeechPair(one, other) for one, other in zip(clean, noisy, strict=True)))


def mixed_pairs(speech: Corpus, noise: Corpus, snrs: Sequence[float], seed: int = 0) -> Pairs:
    """Each file of speech once at each of some signal-to-noise ratios, in noise that is drawn for it.

    Which recording of noise, and where in it, depends on the seed and the file's place alone.

    Args:
        speech: clean, of one split or of several.
        noise: recordings of noise; for each file those of its own split, or all, if they have no splits.
        snrs: in dB.
        seed: of the draws.

    Raises:
        DataError: a split has speech and no noise.
    """
    lengths = {sound.name: audio_info(sound.path) for sound in noise}
    pairs = []
    for index, utterance in enumerate(speech):
        own = [sound for sound in noise if sound.split == utterance.split]
        if not own:
            raise DataError(f"there is no noise of the split {utterance.split!r} for the speech of {speech.root}")
        for place, snr in enumerate(snrs):
            random = np.random.default_rng([seed, index, place])
            sound = own[int(random.integers(len(own)))]
            start = int(random.integers(lengths[sound.name].samples))
            suffix = f" + {Path(sound.name).stem} {snr:g} dB"
            pairs.append(SpeechPair(utterance, sound.path, snr, start, suffix))
    return Pairs(speech.root, pairs)
