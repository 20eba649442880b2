"""What visitors may bring: how much, how long, and of which kind; everything else is refused with one line."""

from __future__ import annotations

__all__ = ["Limits", "Sound", "number", "read_boxes_of", "read_sound", "sound_of_video", "survey_video"]

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import audio_info, read_audio
from dynvae.errors import AudioError, ConfigError, DataError, DynvaeError, require
from dynvae.tracking import Boxes
from dynvae.video import read_soundtrack, video_info

_RATES = (4_000, 384_000)
_PIXELS = 1920 * 1080
_PICTURES_A_SECOND = 65
_FRAMES, _BOXES, _BOXES_A_FRAME = 3_000, 50_000, 100
_T = TypeVar("_T")


class Sound(NamedTuple):
    """A recording: ``(channels, samples)``, float32, and its rate in hertz."""

    waveform: NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.waveform.shape[1] / self.rate


@dataclass(frozen=True)
class Limits:
    """How much a visitor may ask for.

    Args:
        megabytes: of an upload.
        seconds: of a recording or a video.
        channels: of a recording.
        jobs: that run at a time; others wait.
        waiting: that may wait; more are turned away.
        minutes: after which uploads and results are deleted; at the end of the server all of them are.

    Raises:
        ConfigError: a number is not positive.
    """

    megabytes: float = 20.0
    seconds: float = 30.0
    channels: int = 2
    jobs: int = 1
    waiting: int = 16
    minutes: float = 15.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"the limit of {name} is positive, not {value}")


def number(name: str, value: Any, low: float, high: float) -> float:
    """A number that somebody has sent, once it is sure that it is one and in its range.

    Raises:
        ConfigError: it is not.

    Example:
        >>> number("seed", "7", 0, 9)
        7.0
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not low <= found <= high:
        raise ConfigError(f"{name}: a number from {low:g} to {high:g} is wanted")
    return found


def read_sound(path: str | os.PathLike[str] | None, limits: Limits) -> Sound:
    """A visitor's recording. Its header is judged before a sample is decoded.

    Raises:
        AudioError: there is none, or it is too long, has too many channels, is damaged, no sound, or not finite.
    """
    if not path:
        raise AudioError("there is no recording yet: record or upload one, or take the example")

    def read() -> Sound:
        _small(path, limits)
        info = audio_info(path)
        _judge(info.seconds, info.channels, info.sample_rate, limits)
        return Sound(*read_audio(path, mono=False))

    return _anonymous(read, path, "the recording")


def survey_video(path: str | os.PathLike[str] | None, limits: Limits) -> bool:
    """Judge a visitor's video by its packets, before a picture is decoded; tell whether it has sound.

    Raises:
        DataError: there is none, it is no video, too long, or its pictures are too large or too many.
        MissingExtraError: PyAV is not installed.
    """
    if not path:
        raise DataError("there is no video yet: record or upload one, or take the example")

    def survey() -> bool:
        _small(path, limits)
        info = video_info(path)
        if info.width * info.height > _PIXELS:
            raise DataError(f"pictures of {info.width} × {info.height}; at most {_PIXELS} pixels are taken")
        pictures, end = _packets(path)
        if end > limits.seconds + 0.5 or pictures > limits.seconds * _PICTURES_A_SECOND:
            raise DataError(f"{max(end, 0):.0f} s and {pictures} pictures; at most {limits.seconds:g} s are taken")
        return info.sounds

    return _anonymous(survey, path, "the video")


def sound_of_video(path: str | os.PathLike[str], limits: Limits) -> Sound:
    """The sound track of a video that `survey_video` has let pass.

    Raises:
        DataError: it has none, or it cannot be read.
        AudioError: it is of another kind than a recording may be.
    """

    def read() -> Sound:
        sound = Sound(*read_soundtrack(path, mono=False))
        _judge(sound.seconds, len(sound.waveform), sound.rate, limits, spare=0.5)
        return sound

    return _anonymous(read, path, "the video")


def read_boxes_of(
    path: str | os.PathLike[str] | None, limits: Limits, read: Callable[[Path], Boxes], what: str = "the detections"
) -> Boxes:
    """A visitor's boxes, as ``read`` reads them: a plain text of the MOT challenges.

    Raises:
        DataError: there is none, it is no such text, or there are too many frames or boxes.
    """
    if not path:
        raise DataError(f"there is no file yet for {what}: upload one, or take the example")

    def judged() -> Boxes:
        _small(path, limits)
        if Path(path).suffix.lower() == ".gz":
            raise DataError("compressed; upload the plain text")
        boxes = read(Path(path))
        if boxes.last_frame > _FRAMES or len(boxes) > _BOXES:
            raise DataError(f"{len(boxes)} boxes in {boxes.last_frame} frames; at most {_BOXES} in {_FRAMES} are taken")
        if len(boxes) and np.bincount(boxes.frame).max() > _BOXES_A_FRAME:
            raise DataError(f"more than {_BOXES_A_FRAME} boxes in a frame")
        return boxes

    return _anonymous(judged, path, what)


def _judge(seconds: float, channels: int, rate: int, limits: Limits, spare: float = 0.0) -> None:
    if channels > limits.channels:
        raise AudioError(f"{channels} channels; at most {limits.channels} are taken")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise AudioError(f"a rate of {rate} Hz; {_RATES[0]} to {_RATES[1]} Hz are taken")
    if seconds > limits.seconds + spare:
        raise AudioError(f"{seconds:.1f} s; at most {limits.seconds:g} s are taken")


def _small(path: str | os.PathLike[str], limits: Limits) -> None:
    """Refuse what is too large, also where it did not come through the door that counts bytes."""
    size = Path(path).stat().st_size if Path(path).is_file() else 0
    if size > limits.megabytes * 1e6:
        raise DataError(f"{size / 1e6:.1f} MB; at most {limits.megabytes:g} MB are taken")


def _packets(path: str | os.PathLike[str]) -> tuple[int, float]:
    """Pictures and last moment of a video, in seconds, from its packets alone."""
    av = require("av", "video")
    pictures, first, last = 0, math.inf, 0.0
    try:
        with av.open(os.fspath(path), metadata_errors="ignore") as container:
            for packet in container.demux():
                pictures += packet.size > 0 and packet.stream.type == "video"
                if packet.pts is not None and packet.time_base is not None:
                    moment = float(packet.pts * packet.time_base)
                    first, last = min(first, moment), max(last, moment)
    except (av.error.FFmpegError, ValueError) as error:
        raise DataError(f"no video that can be read ({getattr(error, 'strerror', None) or error})") from error
    return pictures, last - first if first < math.inf else 0.0


def _anonymous(read: Callable[[], _T], path: str | os.PathLike[str], name: str) -> _T:
    """What ``read`` returns; what it complains of is told without the server's paths."""
    try:
        return read()
    except DynvaeError as error:
        kind = AudioError if isinstance(error, AudioError) else DataError
        text = str(error)
        for shown in (os.fspath(path), Path(path).name):
            text = text.replace(shown, name)
        raise kind(text if name in text else f"{name}: {text}") from error
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise DataError(f"{name} cannot be read ({type(error).__name__})") from error
