"""Corpora that papers use: where they come from, how their folders are to be read, and how many files they have."""

from __future__ import annotations

__all__ = ["DOWNLOADS", "KNOWN", "Known", "Prepared", "prepare_corpus"]

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dynvae.audio import audio_info
from dynvae.data.corpus import Corpus, Utterance, sound_files
from dynvae.data.download import Archive
from dynvae.data.lips import lips_path
from dynvae.errors import AudioError, DataError
from dynvae.files import inside


class Place(NamedTuple):
    """What the path of a file tells."""

    split: str
    speaker: str
    part: str  # what the expected counts are given for


@dataclass(frozen=True)
class Known:
    """How a corpus is laid out, and what a whole copy holds."""

    title: str
    place: Callable[[PurePosixPath], Place | None]  # None: the file does not belong to it
    files: Mapping[str, int] = field(default_factory=dict)  # of each part
    speakers: Mapping[str, int] = field(default_factory=dict)  # of each part
    optional: bool = False  # parts may be missing altogether
    lips: bool = False  # arrays of lips may lie in another folder, under the speaker's name and the sound's


class Prepared(NamedTuple):
    """A corpus as found, and in what it differs from a whole copy."""

    corpus: Corpus
    differences: list[str]


def _wsj0(path: PurePosixPath) -> Place | None:
    splits = {"si_tr_s": "train", "si_dt_05": "valid", "si_et_05": "test"}
    parts = [part.lower() for part in path.parts]
    for folder, split in splits.items():
        if folder in parts[:-2] and path.suffix.lower() != ".wv2":  # .wv2 is the second microphone
            return Place(split, parts[parts.index(folder) + 1], folder)
    return None


def _voicebank(path: PurePosixPath) -> Place | None:
    folder = next((part.lower() for part in path.parts[:-1] if part.lower().startswith("clean_")), "")
    speaker = path.stem.partition("_")[0].lower()
    if not re.fullmatch(r"p\d{3}", speaker) or "56spk" in folder:
        return None
    if folder.startswith("clean_test"):
        return Place("test", speaker, "test")
    split = "valid" if speaker in ("p226", "p287") else "train"
    return Place(split, speaker, split) if folder.startswith("clean_train") else None


_TCD_VALID = frozenset(["06M", "17F", "20M", "35M", "38F", "42M", "52M", "59F"])
_TCD_TEST = frozenset(["09F", "24M", "26M", "27M", "33F", "40F", "47M", "49F", "56M"])


def _tcd_timit(path: PurePosixPath) -> Place | None:
    speaker = next((part.upper() for part in path.parts[:-1] if re.fullmatch(r"\d\d[MmFf]", part)), None)
    if speaker is None:  # the three lipspeakers are left out
        return None
    split = "valid" if speaker in _TCD_VALID else "test" if speaker in _TCD_TEST else "train"
    return Place(split, speaker, split)


_NOISES = frozenset(["babble", "cafe", "car", "lr", "street", "white"])


def _ntcd_timit(path: PurePosixPath) -> Place | None:
    """TCD-TIMIT's clean speech, of which the same tree holds copies in noise."""
    noisy = any(re.split(r"[_\d-]", part.lower())[0] in _NOISES for part in path.parts[:-1])
    return None if noisy else _tcd_timit(path)


_GRID_VALID, _GRID_TEST = frozenset(["s3", "s4"]), frozenset(["s1", "s2", "s20", "s22"])


def _grid(path: PurePosixPath) -> Place | None:
    speaker = next((part.lower() for part in path.parts[:-1] if re.fullmatch(r"[Ss]\d+", part)), None)
    if speaker is None or not re.fullmatch(r"[a-z]{4}[1-9z][a-z]", path.stem.lower()):
        return None
    split = "valid" if speaker in _GRID_VALID else "test" if speaker in _GRID_TEST else "train"
    return Place(split, speaker, split)


def _librispeech(path: PurePosixPath) -> Place | None:
    for number, part in enumerate(path.parts[:-2]):
        if found := re.fullmatch(r"(train|dev|test)-(clean|other)(-\d+)?", part):
            return Place("valid" if found[1] == "dev" else found[1], path.parts[number + 1], part)
    return None


_LIBRISPEECH_FILES = {
    "train-clean-100": 28539, "train-clean-360": 104014, "train-other-500": 148688,
    "dev-clean": 2703, "dev-other": 2864, "test-clean": 2620, "test-other": 2939,
    "train-clean-5": 1519, "dev-clean-2": 1089,
}  # fmt: skip

_TCD_SPEAKERS = {"train": 39, "valid": 8, "test": 9}

KNOWN = {
    "wsj0": Known("WSJ0", _wsj0, {"si_tr_s": 12765, "si_dt_05": 1026, "si_et_05": 651}),
    "voicebank": Known(
        "VoiceBank", _voicebank, {"train": 10802, "valid": 770, "test": 824}, {"train": 26, "valid": 2, "test": 2}
    ),
    "tcd-timit": Known(
        "TCD-TIMIT", _tcd_timit, {split: 98 * count for split, count in _TCD_SPEAKERS.items()}, _TCD_SPEAKERS, lips=True
    ),
    "ntcd-timit": Known(
        "NTCD-TIMIT",
        _ntcd_timit,
        {split: 98 * count for split, count in _TCD_SPEAKERS.items()},
        _TCD_SPEAKERS,
        lips=True,
    ),
    "grid": Known("GRID", _grid, {"train": 27000, "valid": 2000, "test": 4000}, {"train": 27, "valid": 2, "test": 4}),
    "librispeech": Known("LibriSpeech", _librispeech, _LIBRISPEECH_FILES, optional=True),
}


def _openslr(number: int, name: str, digest: str) -> Archive:
    hosts = ("https://www.openslr.org", "https://openslr.elda.org", "https://us.openslr.org")
    return Archive(f"{name}.tar.gz", tuple(f"{host}/resources/{number}/{name}.tar.gz" for host in hosts), digest)


def _datashare(name: str, identifier: str, digest: str) -> Archive:
    host = "https://datashare.ed.ac.uk"
    urls = (f"{host}/bitstreams/{identifier}/download", f"{host}/bitstream/handle/10283/2791/{name}")
    return Archive(name, urls, f"md5:{digest}")


_LIBRISPEECH = {
    "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
    "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
    "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
    "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
    "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
    "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
}
_PARTS = {name: _openslr(12, name, f"sha256:{digest}") for name, digest in _LIBRISPEECH.items()}

_CLEAN_TRAIN, _CLEAN_TEST = "245452b6-6235-44b6-a6f9-e7eb19797769", "dec213d3-bf57-4777-9663-c24bdce92d5e"

# What anyone may download: the archives of each name.
DOWNLOADS: dict[str, tuple[Archive, ...]] = {
    "librispeech-mini": (
        _openslr(31, "train-clean-5", "md5:5df7d4e78065366204ca6845bb08f490"),
        _openslr(31, "dev-clean-2", "md5:6d7ab67ac6a1d2c993d050e16d61080d"),
        _PARTS["test-clean"],
    ),
    "librispeech-100": tuple(_PARTS[name] for name in ("train-clean-100", "dev-clean", "test-clean")),
    **{f"librispeech-{name}": (archive,) for name, archive in _PARTS.items()},
    "voicebank": (
        _datashare("clean_trainset_28spk_wav.zip", _CLEAN_TRAIN, "d2d5a45ec32f8fcbf201bde0447e20ba"),
        _datashare("clean_testset_wav.zip", _CLEAN_TEST, "34eb1c0ba7ef667e9b966866c542fc16"),
    ),
}


def prepare_corpus(kind: str, source: Path, progress: Callable[[int, int], None] | None = None) -> Prepared:
    """Read the layout of a corpus, and compare it with what a whole copy holds.

    Args:
        kind: a key of `KNOWN`, or ``"folder"`` for any folder of sound files.
        source: where the corpus lies.
        progress: called with the number of files done and of all.

    Returns:
        The corpus, with the duration of every file, and the differences from a whole copy, one line each.

    Raises:
        DataError: there is nothing of that corpus below the folder, or a header cannot be read.
    """
    if not source.is_dir():
        raise DataError(f"{source}: no such folder")
    if kind == "folder":
        found = list(Corpus.from_folder(source))
        return Prepared(Corpus(source, _measured(found, progress)), [])
    if kind not in KNOWN:
        raise DataError(f"there is no corpus {kind!r}; there are {', '.join(KNOWN)} and folder")
    known = KNOWN[kind]
    found, parts = [], []
    for name in _one_of_each(source):
        place = known.place(PurePosixPath(name.as_posix()))
        if place:
            found.append(Utterance(inside(source, name), name.as_posix(), place.speaker, place.split))
            parts.append(place.part)
    if not found:
        raise DataError(f"{source}: nothing of {known.title} below this folder; the recipe tells how it must look")
    found = _with_lips(source, found) if known.lips else found
    return Prepared(Corpus(source, _measured(found, progress)), _differences(known, found, parts))


def _with_lips(source: Path, found: list[Utterance]) -> list[Utterance]:
    """Name the arrays of lips that lie in another folder than the sound, in the column that `LipBank` reads."""
    arrays: dict[tuple[str, str], str] = {}
    for name in sound_files(source, {".npy", ".npz"}):
        for part in name.parts[:-1]:
            arrays.setdefault((part.upper(), name.stem.removesuffix("Raw").lower()), name.as_posix())
    named = []
    for utterance in found:
        lips = arrays.get((utterance.speaker, utterance.path.stem.lower()))
        if lips is not None and lips_path(utterance) is None:
            utterance = dataclasses.replace(utterance, extra={**utterance.extra, "lips": lips})
        named.append(utterance)
    return named


def _one_of_each(source: Path) -> list[Path]:
    """The sound files, one of each utterance: a copy in a common format is taken rather than NIST SPHERE."""
    chosen: dict[Path, Path] = {}
    for path in sound_files(source):
        if path.with_suffix("") not in chosen or path.suffix.lower() not in (".wv1", ".wv2", ".sph", ".nist"):
            chosen[path.with_suffix("")] = path
    return sorted(chosen.values())


def _measured(found: list[Utterance], progress: Callable[[int, int], None] | None) -> list[Utterance]:
    measured = []
    for number, utterance in enumerate(found):
        try:
            seconds = round(audio_info(utterance.path).seconds, 6)
        except AudioError as error:
            packed = utterance.path.suffix.lower().startswith(".wv")
            raise DataError(f"{error}{'; expand it with sph2pipe' if packed else ''}") from error
        measured.append(dataclasses.replace(utterance, seconds=seconds))
        if progress:
            progress(number + 1, len(found))
    return measured


def _differences(known: Known, found: list[Utterance], parts: list[str]) -> list[str]:
    files = Counter(parts)
    speakers: defaultdict[str, set[str]] = defaultdict(set)
    for utterance, part in zip(found, parts, strict=True):
        speakers[part].add(utterance.speaker)
    lines = []
    for part, expected in known.files.items():
        if files[part] != expected and not (known.optional and not files[part]):
            lines.append(f"{part} has {files[part]:,} files, a whole copy has {expected:,}")
    for part, expected in known.speakers.items():
        if len(speakers[part]) != expected:
            lines.append(f"{part} has {len(speakers[part])} speakers, a whole copy has {expected}")
    return lines
