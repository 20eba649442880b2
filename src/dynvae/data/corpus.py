"""A corpus: which sound files there are, who speaks in them, and what they are for."""

from __future__ import annotations

__all__ = ["Corpus", "Utterance", "locate", "sound_files", "with_splits"]

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dynvae.audio import AUDIO_SUFFIXES
from dynvae.data.manifest import MANIFEST_SUFFIXES, read_rows, write_rows
from dynvae.data.splits import assign, split_of_folder, split_of_label
from dynvae.errors import DataError
from dynvae.files import inside

logger = logging.getLogger(__name__)

_SHARES = [("test", 0.1), ("valid", 0.1), ("train", 0.8)]


@dataclass(frozen=True)
class Utterance:
    """One sound file of a corpus."""

    path: Path  # absolute
    name: str  # path below the corpus's folder, with "/" between its parts
    speaker: str  # empty where nobody knows
    split: str  # "train", "valid", "test", or a manifest's own word
    seconds: float | None = None  # where a manifest tells it
    extra: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)  # a manifest's other columns


class Corpus:
    """An ordered collection of utterances below one folder.

    Open one with `Corpus.open`. It is never changed; `split` and `filter` give smaller ones.

    Example:
        >>> corpus = Corpus("somewhere", [Utterance(Path("a.wav"), "a.wav", "ann", "train")])
        >>> len(corpus.split("train")), corpus.speakers
        (1, ['ann'])
    """

    def __init__(self, root: str | os.PathLike[str], utterances: Iterable[Utterance]):
        self.root = Path(root)
        self.utterances = tuple(utterances)

    @classmethod
    def open(cls, source: str | os.PathLike[str] | Corpus, suffixes: Collection[str] = AUDIO_SUFFIXES) -> Corpus:
        """Open a folder of sound files, a manifest, or the built-in corpus.

        **A folder** that holds ``manifest.csv`` or ``manifest.jsonl`` is read by it. Otherwise every sound file below
        it belongs to the corpus. First-level folders with names like ``train``, ``dev-clean`` or ``si_et_05`` are
        splits, and the level below is the speaker; without such names the first level is the speaker. Files that lie
        in no folder have no known speaker.

        **A manifest** is CSV or JSONL with the column ``path`` (or ``audio`` in its place), relative to the manifest's
        folder (or to the folder above, if it then leads into the manifest's folder); ``split``, ``speaker`` and
        ``seconds`` are optional, other columns are kept in `Utterance.extra`. ``"list.csv@/data/wsj0"`` names another
        folder for the paths. No path may lead out of the folder.

        **Splits** that are missing are made by speaker, about 80/10/10, by the hash of the speaker's name, so that no
        speaker is in two of them. With fewer than three speakers the files are divided instead, with a notice.

        Args:
            source: path, or ``"builtin"`` for the corpus that `dynvae.data.builtin` makes.
            suffixes: of the files to look for in a folder without a manifest.

        Raises:
            DataError: there is nothing to open, a manifest is wrong, or a path leads outside.
        """
        if isinstance(source, Corpus):
            return source
        text = os.fspath(source)
        if text == "builtin" and not Path(text).exists():
            from dynvae.data.builtin import builtin_corpus  # needs an extra, and most corpora do not

            text = os.fspath(builtin_corpus())
        file, at, folder = text.rpartition("@")
        if at and file.lower().endswith(MANIFEST_SUFFIXES) and Path(folder).is_dir():
            return cls._from_manifest(Path(file), Path(folder))
        path = Path(text)
        if path.is_dir():
            manifests = [path / f"manifest{end}" for end in MANIFEST_SUFFIXES]
            found = next((manifest for manifest in manifests if manifest.exists()), None)
            return cls.from_folder(path, suffixes) if found is None else cls._from_manifest(found, path)
        if path.is_file():
            return cls._from_manifest(path, path.parent)
        raise DataError(f"{text}: no such corpus; give a folder of sound files, a manifest (.csv, .jsonl) or 'builtin'")

    @classmethod
    def from_folder(cls, folder: Path, suffixes: Collection[str] = AUDIO_SUFFIXES) -> Corpus:
        """The sound files below a folder, or those with other suffixes, whatever manifest it holds; see `open`.

        Raises:
            DataError: there are none.
        """
        names = list(sound_files(folder, suffixes))
        if not names:
            kind = "sound files" if suffixes is AUDIO_SUFFIXES else "sequences"
            raise DataError(f"{folder}: no {kind} in this folder; looked for {' '.join(sorted(suffixes))}")
        tops = {name.parts[0] for name in names if len(name.parts) > 1}
        told = {top: split_of_folder(top) for top in tops}
        by_folder = "train" in told.values() or (bool(told) and all(told.values()))
        utterances = []
        for name in names:
            split = told.get(name.parts[0]) if by_folder else None
            rest = name.parts[1:] if split else name.parts
            speaker = rest[0] if len(rest) > 1 else ""
            utterances.append(Utterance(inside(folder, name), name.as_posix(), speaker, split or ""))
        if by_folder:
            stray = [utterance.name for utterance in utterances if not utterance.split]
            if stray:
                logger.warning("%s: %d files lie outside the split folders and are left out, e.g. %s",
                               folder, len(stray), stray[0])  # fmt: skip
            utterances = [utterance for utterance in utterances if utterance.split]
        return cls(folder, with_splits(folder, utterances))

    @classmethod
    def _from_manifest(cls, manifest: Path, root: Path) -> Corpus:
        utterances: list[Utterance] = []
        lines: dict[Path, int] = {}
        missing: list[str] = []
        for line, row in read_rows(manifest, other="audio"):
            try:
                path, name = locate(root, row.pop("path"))
                there = path.is_file()
            except (DataError, OSError) as error:  # the system refuses some paths, e.g. those that are too long
                raise DataError(f"{manifest}, line {line}: {error}") from None
            if path in lines:
                raise DataError(f"{manifest}, line {line}: {name} is listed already in line {lines[path]}")
            lines[path] = line
            if not there:
                missing.append(name)
                continue
            speaker = row.pop("speaker", None)
            if speaker is None:
                speaker = PurePosixPath(name).parent.name
            split, seconds = split_of_label(row.pop("split", "")), _seconds(manifest, line, row.pop("seconds", ""))
            utterances.append(Utterance(path, name, speaker, split, seconds, row))
        if missing:
            raise DataError(f"{manifest}: {len(missing)} of {len(lines)} files are not there, the first {missing[0]}; "
                            "get them, or remove their lines")  # fmt: skip
        if not utterances:
            raise DataError(f"{manifest}: the manifest lists no files")
        return cls(root, with_splits(manifest, utterances))

    def split(self, name: str) -> Corpus:
        """The utterances of one split.

        Raises:
            DataError: there is none; the text says which there are.
        """
        wanted = split_of_label(name)
        part = self.filter(lambda utterance: utterance.split == wanted)
        if not len(part):
            raise DataError(
                f"{self.root}: there is no split {name!r}; it has {', '.join(sorted(self.splits)) or 'none'}"
            )
        return part

    def filter(self, keep: Callable[[Utterance], bool]) -> Corpus:
        """The utterances for which ``keep`` is true."""
        return Corpus(self.root, (utterance for utterance in self.utterances if keep(utterance)))

    @property
    def splits(self) -> dict[str, int]:
        """The number of utterances in every split."""
        return dict(Counter(utterance.split for utterance in self.utterances))

    @property
    def speakers(self) -> list[str]:
        """The speakers' names, sorted."""
        return sorted({utterance.speaker for utterance in self.utterances})

    def write_manifest(self, path: str | os.PathLike[str]) -> int:
        """Write the corpus down as CSV or JSONL, paths relative to `root`, and return the number of rows."""
        extras = sorted({key for utterance in self.utterances for key in utterance.extra})
        return write_rows(path, (_row(utterance, extras) for utterance in self.utterances))

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]

    def __repr__(self) -> str:
        counts = ", ".join(f"{split} {count}" for split, count in self.splits.items())
        return f"Corpus({str(self.root)!r}: {counts or 'empty'}; {len(self.speakers)} speakers)"


def sound_files(folder: Path, suffixes: Collection[str] = AUDIO_SUFFIXES) -> Iterator[Path]:
    """Sound files (or others) below a folder, relative to it and sorted; not hidden ones, none in linked folders."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and Path(file).suffix.lower() in suffixes:
                yield (Path(place) / file).relative_to(folder)


def locate(root: Path, text: str) -> tuple[Path, str]:
    """A manifest's path as it is on the disk, and its name below the root."""
    path = inside(root, text)
    if not path.exists():  # the paths may begin with the name of the manifest's own folder
        above = inside(root.resolve().parent, text)
        if above.exists():
            path = inside(root, os.path.relpath(above, root.resolve()))
    return path, path.relative_to(root.resolve()).as_posix()


def _seconds(manifest: Path, line: int, text: str) -> float | None:
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = -1.0
    if seconds is not None and not 0 <= seconds < 1e9:
        raise DataError(f"{manifest}, line {line}: {text!r} is not a number of seconds")
    return seconds


def with_splits(source: Path, utterances: list[Utterance]) -> list[Utterance]:
    """Make the splits that are missing: all three where there is none, the validation split where there is training."""
    known = {utterance.split for utterance in utterances}
    if "" in known and len(known) > 1:
        blank = next(utterance.name for utterance in utterances if not utterance.split)
        raise DataError(f"{source}: some files have a split and some have none, e.g. {blank}; give all of them one")
    if known == {""}:
        return _divide(source, utterances, _SHARES)
    if "train" in known and "valid" not in known:
        logger.warning("%s: there is no validation split; about a tenth of the training speakers become it", source)
        train = [utterance for utterance in utterances if utterance.split == "train"]
        divided = iter(_divide(source, train, [("valid", 0.1), ("train", 0.9)]))
        return [next(divided) if utterance.split == "train" else utterance for utterance in utterances]
    return utterances


def _divide(source: Path, utterances: list[Utterance], shares: list[tuple[str, float]]) -> list[Utterance]:
    speakers = {utterance.speaker for utterance in utterances}
    if len(speakers) >= len(shares):
        splits = assign(sorted(speakers), shares)
        return [dataclasses.replace(utterance, split=splits[utterance.speaker]) for utterance in utterances]
    logger.warning("%s: too few known speakers (%d) to divide by speaker; the files are divided instead, and a "
                   "speaker is in several splits", source, len(speakers))  # fmt: skip
    kept = shares if len(utterances) >= len(shares) else shares[-len(utterances) :]
    splits = assign([utterance.name for utterance in utterances], kept)
    return [dataclasses.replace(utterance, split=splits[utterance.name]) for utterance in utterances]


def _row(utterance: Utterance, extras: list[str]) -> dict[str, object]:
    row: dict[str, object] = {"path": utterance.name, "split": utterance.split, "speaker": utterance.speaker}
    if utterance.seconds is not None:
        row["seconds"] = utterance.seconds
    return row | {key: utterance.extra.get(key, "") for key in extras}
