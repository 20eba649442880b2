"""Pictures of a mouth over time: grey, 67 × 67, one for each frame of a video, and whether there was a mouth at all."""

from __future__ import annotations

__all__ = ["LIP_PIXELS", "LIP_SIDE", "LIP_SUFFIXES", "Layout", "Lips", "read_lips"]

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import ConfigError, DataError, require
from dynvae.files import atomic_write
from dynvae.video.files import VIDEO_SUFFIXES

LIP_SIDE = 67
LIP_PIXELS = LIP_SIDE * LIP_SIDE
LIP_SUFFIXES = frozenset({".npz", ".npy", ".jpg", ".png", *VIDEO_SUFFIXES})
"""Of the files that `read_lips` reads."""
Layout = Literal["columns", "rows"]
"""The order of the pixels in a published array: column by column, or row by row."""

PUBLISHED_RATE = 30000 / 1001
"""Frames a second of TCD-TIMIT, NTCD-TIMIT and the arrays made of them."""
TILE, STRIP_RATE = 72, 25.0
"""Side of a tile in a mosaic of crops, and the frames a second of GRID."""
MEAN, DEVIATION = 0.421, 0.165


@dataclass(frozen=True, eq=False)
class Lips:
    """What a video shows of a mouth, frame by frame.

    Attributes:
        values: uint8 pixels, row by row, ``(time, 4489)``, black to white as 0 to 255; or float32 numbers of any kind,
            ``(time, size)``, such as features that a lip reader has made.
        present: whether a mouth was seen, ``(time,)``.
        times: the moment from which each frame is shown, in seconds from the first sample of the sound, rising.

    Raises:
        DataError: the shapes do not belong together, there are no frames, or a time does not rise.

    Example:
        >>> lips = Lips.at_rate(np.zeros((3, 4489), np.uint8), 25)
        >>> lips.times.tolist(), lips.pictures.shape
        ([0.0, 0.04, 0.08], (3, 67, 67))
    """

    values: NDArray[np.uint8] | NDArray[np.float32]
    present: NDArray[np.bool_]
    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype not in (np.uint8, np.float32):
            raise DataError(f"lips are (time, size) of uint8 or float32, not {self.values.shape} {self.values.dtype}")
        if not len(self.values) or not len(self.values) == len(self.present) == len(self.times):
            raise DataError(f"{len(self.values)} frames of lips, with {len(self.present)} marks of presence and "
                            f"{len(self.times)} times; there must be some, and as many of each")  # fmt: skip
        if not (np.diff(self.times) > 0).all() or not np.isfinite(self.times).all():
            raise DataError("the times of the frames must rise")

    @classmethod
    def at_rate(cls, values: NDArray[np.uint8] | NDArray[np.float32], rate: float) -> Lips:
        """Frames at even distances from time zero on, all with a mouth.

        Args:
            values: as above.
            rate: frames a second.
        """
        if not rate > 0:
            raise ConfigError(f"the rate of a video is positive, not {rate}")
        return cls(values, np.ones(len(values), bool), np.arange(len(values)) / rate)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size(self) -> int:
        """Numbers in a frame."""
        return self.values.shape[1]

    @property
    def period(self) -> float:
        """Seconds for which a frame is shown, usually; that of 25 frames a second where there is but one."""
        return float(np.median(np.diff(self.times))) if len(self) > 1 else 1 / STRIP_RATE

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """The frames as pictures ``(time, 67, 67)``.

        Raises:
            DataError: the values are no pictures.
        """
        if self.values.dtype != np.uint8 or self.size != LIP_PIXELS:
            raise DataError(f"these are {self.size} features a frame, and no pictures of {LIP_SIDE} × {LIP_SIDE}")
        return np.asarray(self.values, np.uint8).reshape(-1, LIP_SIDE, LIP_SIDE)

    def features(self, index: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float32]:
        """What a model sees of some frames, float32 ``(time, size)``: pixels less the mean and by the deviation of
        mouths on television, as lip readers are trained (of black 0 and white 1, 0.421 and 0.165); other numbers as
        they are.
        """
        chosen = self.values[index]
        if chosen.dtype != np.uint8:
            return np.asarray(chosen)
        return (chosen.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)

    def shrunk(self, size: int) -> Lips:
        """The same with smaller pictures: n × n, the mean of what a pixel covers, for ``size`` n².

        Raises:
            ConfigError: these are no pictures of 67 × 67, or the size is no square of at most 67.
        """
        side = math.isqrt(size)
        if size == self.size:
            return self
        if side * side != size or side > LIP_SIDE or self.size != LIP_PIXELS or self.values.dtype != np.uint8:
            raise ConfigError(f"frames of {self.size} numbers cannot be given as {size}: pictures of {LIP_SIDE} × "
                              f"{LIP_SIDE} can, as squares of at most that (v_dim of the model)")  # fmt: skip
        # Pixel i of the small picture covers [i, i+1) · 67/n of the large one.
        edges = np.linspace(0, LIP_SIDE, side + 1)
        start, cells = edges[:-1, None], np.arange(LIP_SIDE)
        weights = np.clip(np.minimum(edges[1:, None], cells + 1) - np.maximum(start, cells), 0, None) * side / LIP_SIDE
        small = np.einsum("ip,tpq,jq->tij", weights, self.pictures, weights, optimize=True)
        return Lips(np.rint(small).astype(np.uint8).reshape(len(self), size), self.present, self.times)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all three arrays, as a compressed ``.npz`` that `read_lips` reads."""
        with atomic_write(path) as temp, temp.open("wb") as file:
            np.savez_compressed(file, values=self.values, present=self.present, times=self.times)


def read_lips(
    path: str | os.PathLike[str], *, rate: float | None = None, layout: Layout = "columns", frames: int | None = None
) -> Lips:
    """Read lips of any form.

    - ``.npz``: what `Lips.save` has written;
    - ``.npy``: a published array ``(4489, time)`` of numbers from 0 to 1, a column a frame, its pixels column by
      column (as MATLAB stores them); or ``(size, time)`` features of a lip reader, which are taken as they are;
    - ``.jpg``, ``.png``: a mosaic of crops, row by row in tiles of 72 × 72, of which each shows its picture in the
      upper left; black tiles at the end are none;
    - a video: the mouth is found and followed (`dynvae.video.find_lips`), which takes a part of its duration.

    Args:
        path: the file.
        rate: frames a second of an array (29.97 by default) or of a mosaic (25 by default).
        layout: how the pixels of a published array are ordered.
        frames: so many pictures of a mosaic, where it is known.

    Raises:
        DataError: the file is missing, or not of this form.
        MissingExtraError: pictures and videos need the extra ``video``.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{path}: no such file of lips")
    if suffix == ".npz":
        return _read_own(path)
    if suffix == ".npy":
        return Lips.at_rate(_read_published(path, layout), rate or PUBLISHED_RATE)
    if suffix in (".jpg", ".png"):
        return Lips.at_rate(_read_mosaic(path, frames), rate or STRIP_RATE)
    if suffix in VIDEO_SUFFIXES:
        from dynvae.video.mouth import find_lips  # which needs what is above

        return find_lips(path)
    raise DataError(f"{path}: lips are an array (.npz, .npy), a mosaic (.jpg, .png) or a video")


def _read_own(path: Path) -> Lips:
    try:
        with np.load(path, allow_pickle=False) as loaded:
            values, present, times = (loaded[name] for name in ("values", "present", "times"))
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as lips ({' '.join(str(error).split())})") from error
    try:
        return Lips(values, present.astype(bool), times.astype(np.float64))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _read_published(path: Path, layout: Layout) -> NDArray[np.uint8] | NDArray[np.float32]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a plain array ({' '.join(str(error).split())})") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        shape = getattr(array, "shape", "no shape")
        raise DataError(f"{path}: {shape} {getattr(array, 'dtype', '')}; a published array holds floating-point "
                        f"numbers, ({LIP_PIXELS}, time) pixels or (size, time) features")  # fmt: skip
    if array.shape[1] == LIP_PIXELS != array.shape[0]:
        raise DataError(f"{path}: {array.shape} is the wrong way round; a published array is ({LIP_PIXELS}, time)")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: holds NaN or infinity; get the file anew")
    if array.shape[0] != LIP_PIXELS:
        return np.ascontiguousarray(array.T, np.float32)
    low, high = float(array.min()), float(array.max())
    if low < -0.01 or high > 1.01:
        raise DataError(f"{path}: pixels from {low:g} to {high:g}; those of a published array are from 0 to 1")
    pictures = array.T.reshape(-1, LIP_SIDE, LIP_SIDE)
    pictures = pictures.transpose(0, 2, 1) if layout == "columns" else pictures
    return np.rint(255 * pictures.clip(0, 1)).astype(np.uint8).reshape(len(pictures), -1)


def _read_mosaic(path: Path, frames: int | None) -> NDArray[np.uint8]:
    cv2 = require("cv2", "video")
    picture = cv2.imread(os.fspath(path), cv2.IMREAD_GRAYSCALE)
    if picture is None or any(side % TILE for side in picture.shape):
        what = "no picture" if picture is None else f"{picture.shape[1]} × {picture.shape[0]} pixels"
        raise DataError(f"{path}: {what}; a mosaic has tiles of {TILE} × {TILE}")
    high, wide = (side // TILE for side in picture.shape)
    tiles = picture.reshape(high, TILE, wide, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)
    if frames is None:  # JPEG leaves a few grey levels in what was black
        shown = np.flatnonzero(tiles.max((1, 2)) > 16)
        frames = int(shown[-1]) + 1 if len(shown) else len(tiles)
    if not 0 < frames <= len(tiles):
        raise DataError(f"{path}: {len(tiles)} tiles, and {frames} pictures are asked for")
    return np.ascontiguousarray(tiles[:frames, :LIP_SIDE, :LIP_SIDE]).reshape(frames, -1)
