"""The lips that belong to the sound of a corpus: where they are, and how they come with the frames of a batch."""

from __future__ import annotations

__all__ = ["LipBank", "LipSettings", "Seen", "condition_of", "lips_path", "read_lips_of"]

import hashlib
import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dynvae.audio import FrontEnd
from dynvae.condition import Condition
from dynvae.data.batches import Waves
from dynvae.data.builtin import cache_folder
from dynvae.data.corpus import Utterance, locate
from dynvae.data.crops import Crops
from dynvae.data.decode import stamp
from dynvae.data.utterances import Utterances
from dynvae.errors import ConfigError, DataError
from dynvae.video import LIP_PIXELS, VIDEO_SUFFIXES, Alignment, Lips, read_lips
from dynvae.video.alignment import Interpolation
from dynvae.video.lips import LIP_SIDE

logger = logging.getLogger(__name__)

Frames = NDArray[np.float32]
"""Features, ``(time, size)``."""
COLUMNS = ("lips", "video")
"""Columns of a manifest that name the lips of a sound file; the first that is not empty counts."""
BESIDE = (".npz", ".npy", "Raw.npy", *sorted(VIDEO_SUFFIXES))
"""Ends of the names of files that lie beside a sound file and hold its lips, in the order in which they are taken."""


def lips_path(utterance: Utterance, root: Path | None = None) -> Path | None:
    """Where the lips of an utterance are: in the file that the manifest names, or beside the sound under the same name.

    The manifest's columns are ``lips`` or ``video``, with paths like those of the sound. Beside ``sa1.wav`` are taken
    ``sa1.npz``, ``sa1.npy``, ``sa1Raw.npy`` (as published for TCD-TIMIT) or a video such as ``sa1.mp4``.

    Args:
        utterance: of a `dynvae.data.Corpus`.
        root: the corpus's folder, for the paths of a manifest.

    Returns:
        The file; None where there is none.

    Raises:
        DataError: the manifest names one that is not there.
    """
    told = next((utterance.extra[name] for name in COLUMNS if utterance.extra.get(name)), None)
    if told is not None and root is not None:
        path = locate(root, told)[0]
        if not path.is_file():
            raise DataError(f"{path} is not there, and the manifest names it as the lips of {utterance.name}")
        return path
    places = (utterance.path.with_name(utterance.path.stem + end) for end in BESIDE)
    return next((path for path in places if path != utterance.path and path.is_file()), None)


class LipBank:
    """The lips of some utterances, read when they are asked for; the latest ones stay in memory.

    Mouths that were found in videos are kept in the cache folder, since it takes seconds to find them.

    Args:
        utterances: of a corpus.
        root: the corpus's folder.
        size: numbers in a frame: pictures are shrunk to it (`dynvae.video.Lips.shrunk`); None leaves them as they are.
        memory: bytes that stay in memory.

    Raises:
        DataError: a file that a manifest names is not there, or no utterance has lips.
    """

    def __init__(
        self, utterances: Sequence[Utterance], root: Path, size: int | None = LIP_PIXELS, memory: int = 2 << 30
    ) -> None:
        self.paths = [lips_path(utterance, root) for utterance in utterances]
        self.size, self.memory = size, memory
        self._kept: OrderedDict[int, Lips] = OrderedDict()
        self._bytes = 0
        missing = [utterance.name for utterance, path in zip(utterances, self.paths, strict=True) if path is None]
        if len(missing) == len(self.paths):
            example = Path(utterances[0].name).with_suffix(".npz").name
            raise DataError(f"{root}: no lips: a manifest's column 'lips' or 'video' names them, or they lie beside "
                            f"the sound, e.g. {example}; dynvae data lips cuts them out of videos")  # fmt: skip
        if missing:
            logger.warning("%s: %d of %d files have no lips, e.g. %s; they count as absent",
                           root, len(missing), len(self.paths), missing[0])  # fmt: skip

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Lips | None:
        """The lips of an utterance; None where it has none.

        Raises:
            DataError: the file cannot be read, or has frames of another size.
        """
        path = self.paths[index]
        if path is None:
            return None
        if index not in self._kept:
            self._keep(index, self._read(path))
        self._kept.move_to_end(index)
        return self._kept[index]

    def _read(self, path: Path) -> Lips:
        lips = read_lips_of(path)
        try:
            return lips if self.size is None else lips.shrunk(self.size)
        except ConfigError as error:
            raise DataError(f"{path}: {error}") from None

    def _keep(self, index: int, lips: Lips) -> None:
        self._kept[index] = lips
        self._bytes += lips.values.nbytes
        while self._bytes > self.memory and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].values.nbytes


def read_lips_of(path: Path) -> Lips:
    """Lips of any form, as `dynvae.video.read_lips` reads them; those of a video are kept in the cache folder.

    Raises:
        DataError: the file cannot be read.
    """
    return _found(path) if path.suffix.lower() in VIDEO_SUFFIXES else read_lips(path)


def _found(video: Path) -> Lips:
    """The lips of a video, found now or before."""
    key = hashlib.sha256(repr((str(video.resolve()), *stamp(video))).encode("utf-8", "surrogateescape")).hexdigest()
    place = cache_folder() / "lips" / f"{key[:32]}.npz"
    if place.is_file():
        return read_lips(place)
    lips = read_lips(video)
    lips.save(place)
    return lips


@dataclass(frozen=True)
class LipSettings:
    """How lips come to the frames of the sound, and how those of training crops are changed, each crop as chance wants.

    A small corpus teaches more if its lips are never twice the same.

    Attributes:
        offset: seconds by which the pictures are late; see `dynvae.video.Alignment`.
        interpolation: the nearest picture of each frame, or a line between two (``"linear"``).
        mirror: whether half of the crops are mirrored.
        shift: the most pixels (of the model's pictures) by which they are moved up or down and to a side.
        light: largest change of the brightness, in what the model sees (black and white are 6 apart).
        noise: deviation of the noise that is added to what the model sees.
        drop: probability that a crop has no lips at all.

    Raises:
        ConfigError: a number is out of its range.
    """

    offset: float = 0.0
    interpolation: Interpolation = "nearest"
    mirror: bool = False
    shift: int = 0
    light: float = 0.0
    noise: float = 0.0
    drop: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1 or not 0 <= self.shift < LIP_SIDE or self.light < 0 or self.noise < 0:
            raise ConfigError("lips: drop is a probability, shift a number of pixels; light and noise are not negative")

    def alignment(self, lips: Lips, frames: int, front_end: FrontEnd, start: float = 0.0) -> Alignment:
        """The pictures of a sound's frames, see `dynvae.video.Alignment.of`."""
        return Alignment.of(lips, frames, front_end, start=start, offset=self.offset, interpolation=self.interpolation)

    def changed(self, features: Frames, random: np.random.Generator) -> Frames:
        """The lips of a crop ``(time, n²)`` after the changes; what is no picture gets nothing but noise."""
        side = math.isqrt(features.shape[1])
        mirrored, light = random.random() < 0.5, random.uniform(-1, 1)
        across, down = (int(move) for move in random.integers(-self.shift, self.shift, 2, endpoint=True))
        if side * side == features.shape[1]:
            pictures = features.reshape(-1, side, side)
            pictures = pictures[:, :, ::-1] if self.mirror and mirrored else pictures
            if self.shift:
                edge = np.pad(pictures, ((0, 0), (self.shift,) * 2, (self.shift,) * 2), mode="edge")
                pictures = edge[:, self.shift + down :, self.shift + across :][:, :side, :side]
            features = pictures.reshape(features.shape) + np.float32(self.light * light)
        if self.noise:
            features = features + np.float32(self.noise) * random.standard_normal(features.shape, np.float32)
        return features


def condition_of(
    lips: Lips, frames: int, front_end: FrontEnd, size: int, settings: LipSettings | None = None, start: float = 0.0
) -> Condition:
    """The lips of one recording, as a model sees them on the frames of its transform.

    Args:
        lips: on the recording's clock.
        frames: of the transform.
        front_end: of the model.
        size: numbers in a frame that the model sees (``condition_dim``).
        settings: how pictures come to frames; the changes for training crops are not made.
        start: seconds of the recording before the first frame.

    Raises:
        ConfigError: the lips cannot be given in this size.
    """
    lips = lips.shrunk(size)
    seen = (settings or LipSettings()).alignment(lips, frames, front_end, start)
    return Condition.of(torch.from_numpy(seen.features(lips))[None], torch.from_numpy(seen.present)[None])


class Seen(Dataset[Waves]):
    """Crops or utterances as sound, and the lips of their frames as their condition.

    Args:
        data: the sound.
        lips: of the utterances of ``data.bank``.
        size: numbers in a frame.
        settings: alignment, and changes for crops.
    """

    def __init__(self, data: Crops | Utterances, lips: LipBank, size: int, settings: LipSettings | None = None) -> None:
        self.data, self.lips, self.size = data, lips, size
        self.settings = settings or LipSettings()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> Waves:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[Any]) -> Waves:
        """Several items as one batch; what a `DataLoader` calls."""
        waves = self.data.waves(indices)
        time = self.data.frames if isinstance(self.data, Crops) else int(waves.lengths.max())
        features = np.zeros((len(indices), time, self.size), np.float32)
        present = np.zeros((len(indices), time), bool)
        for row, index in enumerate(indices):
            length = int(waves.lengths[row])
            features[row, :length], present[row, :length] = self._item(index, length)
        return waves._replace(condition=Condition.of(torch.from_numpy(features), torch.from_numpy(present)))

    def _item(self, index: Any, length: int) -> tuple[Frames, NDArray[np.bool_]]:
        """Lips and presence on the frames of one item; the changes depend on seed, epoch and item alone."""
        data, settings = self.data, self.settings
        utterance, begin = data.find(index) if isinstance(data, Crops) else (index, 0)
        lips, random = self.lips[utterance], None
        if isinstance(data, Crops):
            epoch, item = index if isinstance(index, tuple) else (data.epoch, index)
            random = np.random.default_rng([data.seed, epoch, 2, item])
        if lips is None or (random is not None and random.random() < settings.drop):
            return np.zeros((length, self.size), np.float32), np.zeros(length, bool)
        start = data.bank.preparations[utterance].start / data.front_end.sample_rate
        seen = settings.alignment(lips, data.bank.frames(utterance), data.front_end, start)[begin : begin + length]
        features = seen.features(lips)
        if random is not None:
            features = np.where(seen.present[:, None], settings.changed(features, random), np.float32(0))
        return features, seen.present
