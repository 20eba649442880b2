"""Pictures and sound written out: as a video, and as a strip of pictures side by side."""

from __future__ import annotations

__all__ = ["write_clip", "write_strips"]

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import DataError, require
from dynvae.files import atomic_write


def write_clip(
    path: str | os.PathLike[str],
    pictures: NDArray[np.uint8],
    rate: float,
    sound: NDArray[np.float32] | None = None,
    sample_rate: int = 16000,
    *,
    enlarge: int = 4,
) -> None:
    """Write an MP4 video (H.264 and AAC) of grey pictures, with a sound track.

    Args:
        path: the file.
        pictures: ``(time, height, width)``.
        rate: pictures a second.
        sound: ``(samples,)``, clipped at ±1; none leaves the video mute.
        sample_rate: of the sound.
        enlarge: pixels for a pixel of a picture, in a row and in a column.

    Raises:
        DataError: the file cannot be written, or there are no pictures.
        MissingExtraError: PyAV is not installed.
    """
    av = require("av", "video")
    if pictures.ndim != 3 or not len(pictures):
        raise DataError(f"{path}: a clip is (time, height, width) of grey, not {pictures.shape}")
    large = pictures.repeat(enlarge, 1).repeat(enlarge, 2)
    large = np.pad(large, ((0, 0), (0, large.shape[1] % 2), (0, large.shape[2] % 2)), mode="edge")
    try:
        with atomic_write(Path(path)) as temp, av.open(os.fspath(temp), "w", format="mp4") as container:
            video = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
            video.height, video.width = large.shape[1:]
            video.pix_fmt, video.options = "yuv420p", {"crf": "16"}
            track = None if sound is None else container.add_stream("aac", rate=sample_rate, layout="mono")
            for picture in large:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
                container.mux(video.encode(frame.reformat(format="yuv420p")))
            container.mux(video.encode())
            if track is not None and sound is not None:
                _mux_sound(container, track, sound, sample_rate, av)
    except (OSError, av.error.FFmpegError) as error:
        raise DataError(f"{path}: cannot be written as a video ({getattr(error, 'strerror', error)})") from error


def _mux_sound(container: Any, track: Any, sound: NDArray[np.float32], sample_rate: int, av: Any) -> None:
    samples = np.ascontiguousarray(np.clip(sound, -1, 1).astype(np.float32)[None])
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate = sample_rate
    frame.pts = 0
    fitted = av.AudioResampler(
        format="fltp", layout="mono", rate=sample_rate, frame_size=track.codec_context.frame_size or 1024
    )
    for part in [*fitted.resample(frame), *fitted.resample(None)]:
        container.mux(track.encode(part))
    container.mux(track.encode())


def write_strips(
    path: str | os.PathLike[str], rows: Sequence[NDArray[np.uint8]], *, columns: int = 15, enlarge: int = 2
) -> None:
    """Write a picture with a row for each clip, of pictures at even distances, side by side.

    Args:
        path: the file, ``.png``.
        rows: clips, ``(time, height, width)`` each.
        columns: how many pictures of each.
        enlarge: pixels for a pixel of a picture, in a row and in a column.

    Raises:
        DataError: there is nothing to show.
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = require("cv2", "video")
    if not rows or any(not len(row) for row in rows):
        raise DataError(f"{path}: a strip needs pictures")
    strips = []
    for row in rows:
        chosen = row[np.linspace(0, len(row) - 1, columns).round().astype(int)]
        tiles = np.pad(chosen.repeat(enlarge, 1).repeat(enlarge, 2), ((0, 0), (1, 1), (1, 1)), constant_values=255)
        strips.append(np.concatenate(list(tiles), 1))
    width = max(strip.shape[1] for strip in strips)
    sheet = np.concatenate([np.pad(s, ((0, 3), (0, width - s.shape[1])), constant_values=255) for s in strips])
    with atomic_write(Path(path)) as temp:
        if not cv2.imwrite(os.fspath(temp), sheet):
            raise DataError(f"{path}: the picture cannot be written")
