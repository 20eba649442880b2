"""Sound files named on the command line, and where their results go: never over each other, never over an input."""

from __future__ import annotations

__all__ = ["beside", "kept_suffix", "sound_inputs", "sound_targets", "stem"]

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from dynvae.audio import AUDIO_SUFFIXES, audio_info
from dynvae.audio.blocks import Kept
from dynvae.data import Corpus
from dynvae.data.manifest import MANIFEST_SUFFIXES
from dynvae.errors import AudioError, ConfigError, DataError
from dynvae.video import VIDEO_SUFFIXES


def sound_inputs(inputs: Sequence[str], split: str | None = None, *, videos: bool = False) -> list[tuple[Path, Path]]:
    """All files, each with its name: below the folder or manifest that it was found by, or its own.

    Args:
        inputs: files, folders that are searched, and manifests (.csv, .jsonl).
        split: of the manifests; all by default.
        videos: whether videos are taken from a folder that holds no sound files.

    Raises:
        AudioError: there is no such file or folder.
        DataError: a folder holds no sound, or a manifest is wrong.
    """
    found: list[tuple[Path, Path]] = []
    for text in inputs:
        given = Path(text)
        if given.suffix.lower() in MANIFEST_SUFFIXES and given.is_file():
            corpus = Corpus.open(given)
            found += [(one.path, Path(one.name)) for one in (corpus if split is None else corpus.split(split))]
        elif given.is_dir():
            inside = sorted(path for path in given.rglob("*") if path.is_file())
            files = [path for path in inside if path.suffix.lower() in AUDIO_SUFFIXES]
            files = files or [path for path in inside if videos and path.suffix.lower() in VIDEO_SUFFIXES]
            if not files:
                raise DataError(f"{given}: there are no sound files in this folder")
            found += [(path, path.relative_to(given)) for path in files]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise AudioError(f"{given}: no such file or folder")
    return found


def sound_targets(
    found: Sequence[tuple[Path, Path]], out: Path, suffix: Callable[[Path], str]
) -> dict[Path, tuple[Path, Path]]:
    """What is written: by target, the source and its name.

    Args:
        found: of :func:`sound_inputs`.
        out: folder of the results.
        suffix: of the result of a file.

    Raises:
        ConfigError: two inputs have one target, or a target is an input.
    """
    targets: dict[Path, tuple[Path, Path]] = {}
    for source, name in found:
        target = out / name.with_suffix(suffix(source))
        if target in targets:
            raise ConfigError(f"{targets[target][0]} and {source} would both become {target}; pass them in two calls, "
                              "or their common folder")  # fmt: skip
        targets[target] = source, name
    sources = {source.resolve() for source, _ in found}
    for target in targets:
        if target.resolve() in sources:
            raise ConfigError(f"{target} is one of the inputs and would be overwritten; choose another --out")
    return targets


def kept_suffix(source: Path, float_samples: bool) -> str:
    """Of a result in its source's format; a file that cannot be opened keeps its own, and fails when it is its turn.

    Args:
        source: a sound file, or a video, whose sound becomes WAV.
        float_samples: write 32-bit floating-point samples.
    """
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return ".wav"
    try:
        return Kept.of(audio_info(source), source.suffix, float_samples=float_samples).suffix
    except AudioError:
        return ".wav" if float_samples else source.suffix


def beside(
    given: str | None, found: list[tuple[Path, Path]], option: str, suffixes: Collection[str] = ()
) -> Mapping[Path, Path]:
    """The file of each source that an option names: one for a single source, or of the same name in a folder.

    Raises:
        ConfigError: it is one file, and there are several sources.
        DataError: there is none.
    """
    if given is None:
        return {}
    folder = Path(given)
    if folder.is_file():
        if len(found) > 1:
            raise ConfigError(f"--{option} {folder} is one file, and there are {len(found)} inputs; give a folder")
        return {found[0][0]: folder}
    if not folder.is_dir():
        raise DataError(f"{folder}: no such file or folder of --{option}")
    pairs = {}
    for source, name in found:
        same = sorted(folder.joinpath(name.parent).glob(f"{_literal(name.stem)}.*"))
        like = [path for path in same if not suffixes or path.suffix.lower() in suffixes]
        if not like:
            raise DataError(f"{folder / name} is not there: the files of --{option} have the names of the inputs")
        pairs[source] = folder / name if folder / name in like else like[0]
    return pairs


def stem(text: str) -> str:
    """The telling part of a path: the run's name rather than its folder ``model``."""
    parts = [part for part in Path(text).resolve().parts if part not in ("model", "manifest.csv", "manifest.jsonl")]
    return parts[-1].replace("@", "-")


def _literal(stem: str) -> str:
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in stem)
