"""Video files of any kind that FFmpeg reads: their frames in grey, and their sound track."""

from __future__ import annotations

__all__ = ["VIDEO_SUFFIXES", "VideoInfo", "read_frames", "read_soundtrack", "video_info"]

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.audio import resample
from dynvae.errors import DataError, require

# What a search of a folder takes for video, in lower case.
VIDEO_SUFFIXES = frozenset(
    {".mpg", ".mpeg", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv", ".mts", ".3gp", ".ogv"}
)


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video file says."""

    width: int
    height: int
    rate: float  # frames a second, on average
    codec: str
    sound_rate: int  # hertz; 0 where there is no sound track
    sound_channels: int

    @property
    def sounds(self) -> bool:
        """Whether there is a sound track."""
        return self.sound_rate > 0


def video_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Read the header of a video file.

    Raises:
        DataError: the file is missing, or no video.
        MissingExtraError: PyAV is not installed.
    """
    with _open(path) as container:
        video = _picture_stream(container, path)
        sound = container.streams.audio[0] if container.streams.audio else None
        return VideoInfo(
            video.codec_context.width,
            video.codec_context.height,
            float(video.average_rate or video.guessed_rate or 0),
            video.codec_context.name,
            int(sound.codec_context.sample_rate) if sound else 0,
            int(sound.codec_context.channels) if sound else 0,
        )


def read_frames(path: str | os.PathLike[str]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frames of a video one by one, upright and in grey, in memory that does not grow with it.

    Yields:
        The moment from which the frame is shown, in seconds, and its pixels ``(height, width)``. The time is zero at
        the first sample of the sound track, or at the first frame where there is none.

    Raises:
        DataError: the file is missing, no video, or damaged.
        MissingExtraError: PyAV is not installed.
    """
    zero = _sound_start(path)
    with _open(path) as container:
        stream = _picture_stream(container, path)
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        count = 0
        with _told(path):
            for frame in container.decode(stream):
                moment = frame.time if frame.time is not None else count / rate
                zero = moment if zero is None else zero
                pixels = frame.to_ndarray(format="gray")
                turns = round((frame.rotation or 0) / 90)  # telephones lie on their side
                yield moment - zero, np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
                count += 1
    if not count:
        raise DataError(f"{_show(path)}: a video without frames; get the file anew")


def read_soundtrack(
    path: str | os.PathLike[str], sample_rate: int | None = None, mono: bool = True
) -> tuple[NDArray[np.float32], int]:
    """The first sound track of a video, as `dynvae.audio.read_audio` gives a sound file.

    Args:
        path: a video file.
        sample_rate: the wanted rate in hertz; its own by default.
        mono: fold the channels to their mean. Without it the result keeps them.

    Returns:
        The waveform, ``(samples,)`` or ``(channels, samples)`` when ``mono`` is false, and its rate in hertz.

    Raises:
        DataError: the file is missing, no video, damaged, or has no sound track.
        MissingExtraError: PyAV is not installed.
    """
    av = require("av", "video")
    with _open(path) as container:
        if not container.streams.audio:
            raise DataError(f"{_show(path)}: this video has no sound track; give the sound as a file of its own")
        stream = container.streams.audio[0]
        rate, parts = int(stream.codec_context.sample_rate), []
        plain = av.AudioResampler(format="fltp")  # the same rate and channels as floating-point numbers
        with _told(path):
            for frame in container.decode(stream):
                parts += [part.to_ndarray() for part in plain.resample(frame)]
            parts += [part.to_ndarray() for part in plain.resample(None)]
    if not parts:
        raise DataError(f"{_show(path)}: the sound track is empty; get the file anew")
    sound = np.concatenate(parts, 1).astype(np.float32)
    if not np.isfinite(sound).all():
        raise DataError(f"{_show(path)}: the sound track holds NaN or infinity; repair it")
    if mono:
        sound = sound.mean(0, keepdims=True)
    wanted = rate if sample_rate is None else int(sample_rate)
    sound = np.ascontiguousarray(resample(np.ascontiguousarray(sound.T), rate, wanted).T)
    return (sound[0] if mono else sound), wanted


@contextlib.contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    av = require("av", "video")
    if not Path(path).is_file():
        raise DataError(f"{_show(path)}: no such file")
    with _told(path):
        container = av.open(os.fspath(path), metadata_errors="ignore")
    with container:
        yield container


@contextlib.contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say in one line what FFmpeg complains of."""
    av = require("av", "video")
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{_show(path)}: no video that can be read ({reason}); get the file anew") from error


def _picture_stream(container: Any, path: str | os.PathLike[str]) -> Any:
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]  # as of an SVG drawing
    if not streams:
        raise DataError(f"{_show(path)}: there are no pictures in this file")
    return streams[0]


def _sound_start(path: str | os.PathLike[str]) -> float | None:
    """When the sound track begins, on the file's own clock; None where there is none."""
    with _open(path) as container, _told(path):
        frame = next(container.decode(audio=0), None) if container.streams.audio else None
        return None if frame is None or frame.time is None else float(frame.time)


def _show(path: str | os.PathLike[str]) -> str:
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()
