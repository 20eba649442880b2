"""A look at the lips of a corpus, for what would make trouble later."""

from __future__ import annotations

__all__ = ["has_lips", "look_at", "scan_lips"]

from collections.abc import Callable, Iterator

import numpy as np

from dynvae.audio import audio_info
from dynvae.data.corpus import Corpus, Utterance
from dynvae.data.lips import lips_path
from dynvae.data.scan import Finding, Scan
from dynvae.errors import AudioError, DataError
from dynvae.video import LIP_PIXELS, VIDEO_SUFFIXES, Lips, read_lips, read_soundtrack, video_info

_APART = 0.25  # seconds
_GAPS = 0.05  # of the frames
# Mean change of a grey level between neighbouring pixels down to that across: 0.97 to 1.32 (median 1.21) in 206 clips
# of GRID; a mouth is wide. And the mean change from frame to frame, of 256 levels: 1.7 or more there.
_UPRIGHT, _MOVING = 0.9, 0.1


def has_lips(corpus: Corpus) -> bool:
    """Whether any utterance of a corpus has lips, or is a video itself."""
    return any(_is_video(utterance) or _path(utterance, corpus) is not None for utterance in corpus)


def scan_lips(corpus: Corpus, result: Scan, progress: Callable[[int, int], None] | None = None) -> None:
    """Examine the lips of every file, and add what is found.

    Args:
        corpus: of sound with lips, or of videos.
        result: of the scan of the sound.
        progress: called with the number of files done and of all.
    """
    for number, utterance in enumerate(corpus):
        for kind, detail in look_at(utterance, corpus):
            result.findings.append(Finding(utterance.name, kind, detail))
        if progress:
            progress(number + 1, len(corpus))


def look_at(utterance: Utterance, corpus: Corpus) -> Iterator[tuple[str, str]]:
    """What is not as it should be with the lips of one file, as kind and detail."""
    try:
        path = utterance.path if _is_video(utterance) else lips_path(utterance, corpus.root)
        if path is None:
            yield "no lips", "absent throughout"
            return
        lips = read_lips(path)
        seconds = utterance.seconds
        if _is_video(utterance):
            if not video_info(path).sounds:
                yield "no sound", "give the sound as a file of its own"
            else:
                sound, rate = read_soundtrack(path)
                seconds = len(sound) / rate
    except DataError as error:
        yield "lips", str(error)
        return
    yield from _judge(lips, seconds if seconds is not None else _seconds(utterance))


def _judge(lips: Lips, seconds: float | None) -> Iterator[tuple[str, str]]:
    end = float(lips.times[-1] + lips.period)
    if not lips.present.any():
        yield "faceless", f"{len(lips)} frames; light the face, and let it look at the camera"
        return
    if seconds is not None and abs(end - seconds) > _APART:
        yield "apart", f"{end:.2f} s of video, {seconds:.2f} s of sound"
    missing = 1 - float(lips.present.mean())
    if missing > _GAPS:
        yield "gaps", f"{100 * missing:.0f} % of {len(lips)} frames"
    if lips.size != LIP_PIXELS or lips.values.dtype != np.uint8:
        return
    pictures = lips.pictures[lips.present].astype(np.float32)
    if len(pictures) > 2 and float(np.abs(np.diff(pictures, axis=0)).mean()) < _MOVING:
        yield "still", f"{len(pictures)} frames"
    down, across = (float(np.abs(np.diff(pictures, axis=axis)).mean()) for axis in (1, 2))
    if down < _UPRIGHT * across:
        yield "transposed", "a published array is read column by column; name the other layout where it is not"


def _seconds(utterance: Utterance) -> float | None:
    try:
        return audio_info(utterance.path).seconds
    except AudioError:  # which the scan of the sound tells
        return None


def _is_video(utterance: Utterance) -> bool:
    return utterance.path.suffix.lower() in VIDEO_SUFFIXES


def _path(utterance: Utterance, corpus: Corpus) -> object:
    try:
        return lips_path(utterance, corpus.root)
    except DataError as error:  # named, but not there
        return error
