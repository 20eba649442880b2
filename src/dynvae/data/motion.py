"""Recorded motion: sequences of the places of a body's joints, from the formats that the field uses."""

from __future__ import annotations

__all__ = ["MotionCorpus", "MotionSequence", "is_motion"]

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.data.corpus import Corpus, Utterance, with_splits
from dynvae.data.pickled import read_dictionary
from dynvae.data.splits import split_of_label
from dynvae.errors import ConfigError, DataError
from dynvae.motion import H36M_OFFSETS, H36M_PARENTS, Skeleton, forward_kinematics

SKELETON = "skeleton.json"
UNITS = {"m": 1.0, "mm": 1e-3}
PUBLISHED = ("data_3d_h36m.npz", "data_3d_humaneva15.npz")

# Published Human3.6M: 17 of the 32 joints, the arms hung on the thorax; HumanEva-I as it is. Both have z upwards.
H36M = Skeleton((-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15), frame_rate=50, up=2)
H36M_KEPT = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]
HUMANEVA = Skeleton((-1, 0, 1, 2, 3, 1, 5, 6, 0, 8, 9, 0, 11, 12, 1), frame_rate=60, up=2)
# Takes whose head is in the wrong place.
HUMANEVA_LEFT_OUT = {"Train/S3/Walking 1 chunk0", "Train/S3/Walking 1 chunk2", "Validate/S3/Walking 1 chunk4"}

EXPMAP = Skeleton(H36M_PARENTS, frame_rate=25, up=1)
EXPMAP_SPLITS = {
    "S1": "train",
    "S6": "train",
    "S7": "train",
    "S8": "train",
    "S9": "train",
    "S5": "valid",
    "S11": "test",
}


class MotionSequence(NamedTuple):
    """A recorded movement."""

    name: str
    subject: str  # empty where nobody knows
    split: str
    places: Tensor  # (time, joints, 3), float32, in metres


class MotionCorpus:
    """Sequences of one body, in memory.

    Args:
        root: where they come from.
        skeleton: how the joints hang together, and how many frames a second has.
        sequences: each with the skeleton's number of joints.

    Raises:
        DataError: a sequence has another number of joints, no frames, or a number that is not finite.
    """

    def __init__(self, root: str | os.PathLike[str], skeleton: Skeleton, sequences: Iterable[MotionSequence]) -> None:
        self.root, self.skeleton, self.sequences = Path(root), skeleton, tuple(sequences)
        for sequence in self.sequences:
            places = sequence.places
            if places.dim() != 3 or places.shape[1:] != (skeleton.joints, 3) or not len(places):
                shape = f"(time, {skeleton.joints}, 3)"
                raise DataError(f"{root}: {sequence.name} has the shape {tuple(places.shape)}; {shape} is needed")
            if not places.isfinite().all():
                raise DataError(f"{root}: {sequence.name} has places that are not finite; repair or remove it")

    @classmethod
    def open(cls, source: str | os.PathLike[str] | MotionCorpus) -> MotionCorpus:
        """Open recorded motion, in one of these forms.

        **A folder with** ``skeleton.json``: a file a sequence, ``.npy`` or ``.npz`` with one array ``positions`` or
        ``xyz_RATE`` (RATE in frames a second), ``(time, joints, 3)``. The JSON holds ``parents`` (or ``parent``; -1 for
        the root, which is the first), ``frame_rate``, unless the arrays' names tell it, ``unit`` (``"mm"``, the
        default, or ``"m"``) and ``up`` (``"x"``, ``"y"``, the default, or ``"z"``). Splits and subjects come from
        ``manifest.csv`` or from the folders, as in `Corpus.open`.

        **Human3.6M and HumanEva-I as VideoPose3D publishes them**: ``data_3d_h36m.npz`` or ``data_3d_humaneva15.npz``,
        or their folder. 17 of the 32 joints are kept; metres; 50 and 60 frames a second. S9 and S11, and HumanEva's
        Validate, are the test split. These files are pickles, which can run code when they are loaded; they are read
        without loading them (see `dynvae.data.pickled`).

        **Exponential maps**, ``S1/walking_1.txt`` and so on, 99 comma-separated columns at 50 frames a second: every
        second frame is kept, the first six columns (the root's place and turn) are zeroed, and forward kinematics gives
        all 32 joints. S5 is the validation split, S11 the test split.

        Args:
            source: the folder or file.

        Raises:
            DataError: there is no motion, or a file cannot be used.
        """
        if isinstance(source, MotionCorpus):
            return source
        path = Path(source)
        published = [path] if path.suffix.lower() == ".npz" else [path / name for name in PUBLISHED]
        found = next((file for file in published if file.is_file()), None)
        if found is not None:
            return cls._from_published(found)
        folder = path.parent if path.is_file() else path
        if (folder / SKELETON).is_file():
            return cls._from_arrays(path, folder / SKELETON)
        if _is_expmap(path):
            return cls._from_expmaps(path)
        raise DataError(f"{source}: no motion here; give a folder with {SKELETON} and .npy or .npz files, one of "
                        f"{', '.join(PUBLISHED)}, or folders S1, S5, ... of exponential maps")  # fmt: skip

    @classmethod
    def _from_arrays(cls, source: Path, description: Path) -> MotionCorpus:
        parents, rate, unit, up = _read_description(description)
        files = Corpus.open(source, suffixes=(".npy", ".npz"))
        sequences = []
        for file in files:
            places, told = _read_array(file.path)
            if rate is not None and told is not None and rate != told:
                raise DataError(f"{file.path}: {told:g} frames a second, and {rate:g} before; one rate is needed")
            rate = rate if told is None else told
            sequences.append(MotionSequence(file.name, file.speaker, file.split, _metres(places, UNITS[unit])))
        if rate is None:
            raise DataError(f"{description}: 'frame_rate' is missing")
        try:
            skeleton = Skeleton(parents, rate, up=up)
        except ConfigError as error:
            raise DataError(f"{description}: {error}") from error
        return cls(files.root, skeleton, sequences)

    @classmethod
    def _from_published(cls, file: Path) -> MotionCorpus:
        subjects = read_dictionary(file, "positions_3d")
        found: dict[str, tuple[str, str, NDArray[Any]]] = {}
        for subject, takes in subjects.items():
            for take, places in takes.items() if isinstance(takes, dict) else ():
                if not (isinstance(places, np.ndarray) and places.ndim == 3 and places.shape[2] == 3):
                    raise DataError(f"{file}: {subject}/{take} is no array (time, joints, 3)")
                found[f"{subject}/{take}"] = (str(subject).rpartition("/")[2], _published_split(str(subject)), places)
        joints = {places.shape[1] for _, _, places in found.values()}
        kinds = {32: (H36M, H36M_KEPT), 17: (H36M, list(range(17))), 15: (HUMANEVA, list(range(15)))}
        if len(joints) != 1 or not joints <= set(kinds):
            raise DataError(f"{file}: poses of {sorted(joints)} joints; those of Human3.6M have 32 (or 17), those of "
                            "HumanEva-I 15")  # fmt: skip
        skeleton, kept = kinds[joints.pop()]
        names = [name for name in found if name not in HUMANEVA_LEFT_OUT and found[name][1]]
        takes = with_splits(file, [Utterance(file, name, found[name][0], found[name][1]) for name in names])
        sequences = (
            MotionSequence(take.name, take.speaker, take.split, _metres(found[take.name][2][:, kept], 1.0))
            for take in takes
        )
        return cls(file, skeleton, sequences)

    @classmethod
    def _from_expmaps(cls, folder: Path) -> MotionCorpus:
        files = [
            Utterance(
                file, file.relative_to(folder).as_posix(), file.parent.name, EXPMAP_SPLITS.get(file.parent.name, "")
            )
            for file in sorted(folder.glob("S*/*.txt"))
        ]
        known = {file.split for file in files} - {""}
        files = with_splits(folder, [file for file in files if file.split] if known else files)
        offsets = torch.tensor(H36M_OFFSETS)
        sequences = []
        for file in files:
            values = torch.from_numpy(_read_table(file.path, 99)[::2].copy())
            values[:, :6] = 0
            places = forward_kinematics(values[:, 3:].unflatten(-1, (-1, 3)), offsets, H36M_PARENTS)
            sequences.append(MotionSequence(file.name, file.speaker, file.split, (places * UNITS["mm"]).float()))
        return cls(folder, EXPMAP, sequences)

    def split(self, name: str) -> MotionCorpus:
        """The sequences of one split.

        Raises:
            DataError: there is none; the text says which there are.
        """
        wanted = split_of_label(name)
        part = MotionCorpus(self.root, self.skeleton, (item for item in self.sequences if item.split == wanted))
        if not len(part):
            there = sorted({item.split for item in self.sequences})
            raise DataError(f"{self.root}: there is no split {name!r}; it has {', '.join(there) or 'none'}")
        return part

    def filter(self, keep: Callable[[MotionSequence], bool]) -> MotionCorpus:
        """The sequences for which ``keep`` is true."""
        return MotionCorpus(self.root, self.skeleton, filter(keep, self.sequences))

    @property
    def frames(self) -> int:
        """Frames of all sequences together."""
        return sum(len(item.places) for item in self.sequences)

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[MotionSequence]:
        return iter(self.sequences)

    def __repr__(self) -> str:
        splits = Counter(item.split for item in self.sequences)
        counts = ", ".join(f"{split} {count}" for split, count in splits.items())
        return f"MotionCorpus({str(self.root)!r}: {counts or 'empty'}; {self.skeleton.joints} joints)"


def is_motion(source: object) -> bool:
    """Whether `MotionCorpus.open` knows the form of a source; nothing but names is looked at."""
    if isinstance(source, MotionCorpus):
        return True
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = Path(source)
    if path.suffix.lower() == ".npz":
        return True
    if path.is_file():  # a manifest
        return (path.parent / SKELETON).is_file()
    return any((path / name).is_file() for name in (SKELETON, *PUBLISHED)) or _is_expmap(path)


def _is_expmap(path: Path) -> bool:
    return path.is_dir() and any(path.glob("S[0-9]*/*_[12].txt"))


def _published_split(subject: str) -> str:
    """By the published protocols; empty for what they do not use."""
    first, _, name = subject.rpartition("/")
    if first:
        return {"Train": "train", "Validate": "test"}.get(first, "")
    return "test" if name in ("S9", "S11") else "train"


def _read_description(path: Path) -> tuple[tuple[int, ...], float | None, str, int]:
    """Parents, frame rate where it is told, unit and upward axis out of a ``skeleton.json``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    parents = content.get("parents", content.get("parent")) if isinstance(content, Mapping) else None
    if not isinstance(parents, list) or not all(isinstance(parent, int) for parent in parents):
        raise DataError(f"{path}: 'parents' must be a list of whole numbers, one a joint")
    rate, unit, up = content.get("frame_rate"), content.get("unit", "mm"), content.get("up", "y")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float))):
        raise DataError(f"{path}: 'frame_rate' must be a number")
    if unit not in UNITS or up not in ("x", "y", "z"):
        raise DataError(f"{path}: 'unit' must be mm or m, 'up' x, y or z; they are {unit!r} and {up!r}")
    return tuple(parents), None if rate is None else float(rate), unit, "xyz".index(up)


def _read_array(path: Path) -> tuple[NDArray[Any], float | None]:
    """The places in a file, and the frames a second where its name for them tells it."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            names = [name for name in loaded.files if name == "positions" or name.startswith("xyz_")]
            if len(names) != 1:
                raise DataError(
                    f"{path}: one array 'positions' or 'xyz_RATE' is needed; it has {', '.join(loaded.files)}"
                )
            rate = names[0].removeprefix("xyz_")
            return loaded[names[0]], float(rate) if rate != names[0] else None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as plain arrays ({' '.join(str(error).split())})") from error


def _read_table(path: Path, columns: int) -> NDArray[np.float64]:
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a table of numbers ({error})") from error
    if table.shape[1] != columns or not len(table):
        raise DataError(f"{path}: {table.shape[1]} columns; {columns} are needed")
    return table


def _metres(places: NDArray[Any], unit: float) -> Tensor:
    if places.dtype.kind not in "fiu":
        raise DataError(f"places must be numbers, not {places.dtype}")
    return torch.from_numpy(np.asarray(places, np.float64) * unit).float()
