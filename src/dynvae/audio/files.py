"""Reading and writing sound files: any format of libsndfile, refused with one clear line when it cannot be trusted."""

from __future__ import annotations

__all__ = ["AUDIO_SUFFIXES", "AudioInfo", "audio_info", "open_audio", "read_audio", "resample", "write_audio"]

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from dynvae.audio.containers import missing_bytes
from dynvae.errors import AudioError
from dynvae.files import atomic_write

logger = logging.getLogger(__name__)

# What a search of a folder takes for sound, in lower case. NIST SPHERE goes under .sph, .nist and, in WSJ0, .wv1/.wv2.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64"}
    | {".sph", ".nist", ".wv1", ".wv2"}
)
_HOURS_AT_MOST = 6.0
_DEFAULT_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16", ".aiff": "PCM_16", ".aif": "PCM_16"}
_PCM_BITS = {"PCM_16": 16, "PCM_24": 24}


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a sound file says."""

    sample_rate: int  # hertz
    channels: int
    samples: int  # per channel
    format: str
    subtype: str

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples / self.sample_rate


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the header of a sound file, and compare what it promises with what the file holds.

    Raises:
        AudioError: the file is missing, empty, not sound, or shorter than its header says.
    """
    with open_audio(path) as file:
        return _info(file)


def read_audio(
    path: str | os.PathLike[str], sample_rate: int | None = None, mono: bool = True
) -> tuple[NDArray[np.float32], int]:
    """Read a whole sound file as float32.

    Integer formats are scaled to [-1, 1); floating-point formats keep their scale, also beyond 1. Several channels are
    folded to their mean. Resampling is soxr's high quality (``HQ``).

    Args:
        path: any format that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF, ...).
        sample_rate: the wanted rate in hertz; the file's own by default.
        mono: fold the channels to their mean. Without it the result keeps them.

    Returns:
        The waveform, ``(samples,)`` or ``(channels, samples)`` when ``mono`` is false, and its rate in hertz.

    Raises:
        AudioError: the file is missing, empty, not sound, cut short, longer than six hours, or holds NaN or infinity.
    """
    with open_audio(path) as file:
        info = _info(file)
        if info.seconds > 3600 * _HOURS_AT_MOST:
            raise AudioError(f"{_show(path)}: {info.seconds / 3600:.1f} hours long; cut it into files of at most "
                             f"{_HOURS_AT_MOST:.0f} hours")  # fmt: skip
        try:
            signal = file.read(dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError, MemoryError) as error:
            raise AudioError(f"{_show(path)}: damaged or cut short ({error}); get the file anew") from error
    if len(signal) < info.samples:
        raise AudioError(f"{_show(path)}: cut short, {len(signal)} of {info.samples} samples; get the file anew")
    _refuse_non_finite(signal, _show(path))
    if mono:
        signal = signal.mean(axis=1, keepdims=True) if info.channels > 1 else signal
    rate = info.sample_rate if sample_rate is None else int(sample_rate)
    signal = resample(signal, info.sample_rate, rate)
    return np.ascontiguousarray(signal[:, 0] if mono else signal.T), rate


def resample(signal: NDArray[np.float32], source: int, target: int) -> NDArray[np.float32]:
    """Change the sampling rate by soxr's high-quality band-limited interpolation, without delay.

    Args:
        signal: ``(samples,)`` or ``(samples, channels)``.
        source: rate of the signal in hertz.
        target: wanted rate in hertz; equal rates return the signal itself.

    Raises:
        AudioError: a rate is not positive.
    """
    if source <= 0 or target <= 0:
        raise AudioError(f"cannot resample from {source} Hz to {target} Hz; rates are positive")
    return signal if source == target else soxr.resample(signal, source, target, quality="HQ")


def write_audio(path: str | os.PathLike[str], waveform: Any, sample_rate: int, subtype: str | None = None) -> int:
    """Write a sound file, whole or not at all; the suffix gives the format.

    Args:
        path: file to write, e.g. ``out.wav`` or ``out.flac``.
        waveform: array or tensor, ``(samples,)`` or ``(channels, samples)``; full scale is 1.
        sample_rate: in hertz.
        subtype: ``"PCM_16"`` (the default of WAV and FLAC), ``"PCM_24"``, ``"FLOAT"`` (WAV, beyond full scale too) or
            another subtype of libsndfile.

    Returns:
        The number of clipped samples, those beyond full scale in a format that cannot hold them. They are also logged.

    Raises:
        AudioError: NaN or infinity in the waveform, or a format that cannot be written so.
    """
    path = Path(path)
    if hasattr(waveform, "detach"):
        waveform = waveform.detach().cpu().numpy()
    signal = np.asarray(waveform)
    if signal.ndim not in (1, 2) or not np.issubdtype(signal.dtype, np.floating):
        raise AudioError(f"{_show(path)}: a waveform is floating-point, (samples,) or (channels, samples), not "
                         f"{signal.dtype} {signal.shape}")  # fmt: skip
    signal = signal.T if signal.ndim == 2 else signal
    _refuse_non_finite(signal if signal.ndim == 2 else signal[:, None], _show(path))
    subtype = subtype or _DEFAULT_SUBTYPES.get(path.suffix.lower())
    clipped = 0
    if subtype not in ("FLOAT", "DOUBLE"):
        clipped = int(np.count_nonzero(np.abs(signal) > 1))
        signal = _integers(signal, _PCM_BITS[subtype]) if subtype in _PCM_BITS else np.clip(signal, -1, 1)
    try:
        with atomic_write(path) as temp:
            # The suffix names the format; a name that is not valid Unicode must pass as the bytes that it is.
            soundfile.write(_name(temp), signal, int(sample_rate), subtype=subtype, format=_format(path))
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise AudioError(f"{_show(path)}: cannot be written as {subtype or path.suffix} ({error})") from error
    if clipped:
        logger.warning("%s: %d samples beyond full scale were clipped; scale the signal or write FLOAT", path, clipped)
    return clipped


def _integers(signal: NDArray[Any], bits: int) -> NDArray[Any]:
    """Round to the integers that libsndfile reads back as ``integer / 2**(bits - 1)``, so that a copy is exact."""
    scale = 2.0 ** (bits - 1)
    values = np.clip(np.rint(signal.astype(np.float64) * scale), -scale, scale - 1)
    return values.astype(np.int16) if bits == 16 else values.astype(np.int32) << (32 - bits)


def _format(path: Path) -> str:
    name = {".aif": "AIFF", ".oga": "OGG", ".opus": "OGG"}.get(path.suffix.lower(), path.suffix[1:].upper())
    if name not in soundfile.available_formats():
        raise AudioError(f"{_show(path)}: the suffix names no sound format; use .wav or .flac")
    return name


def open_audio(path: str | os.PathLike[str]) -> soundfile.SoundFile:
    """Open a sound file for reading in pieces, after a look at what could be wrong with it; a context manager.

    Raises:
        AudioError: the file is missing, empty, not sound, or shorter than its header says.
    """
    shown = _show(path)
    try:
        status = Path(path).stat()
        if not Path(path).is_file():
            raise AudioError(f"{shown}: not a file")
        if status.st_size == 0:
            raise AudioError(f"{shown}: the file is empty (0 bytes)")
        lost = missing_bytes(Path(path))
        if lost:
            raise AudioError(f"{shown}: cut short, {lost} bytes of sound are missing at the end; get the file anew")
        return soundfile.SoundFile(_name(path))
    except FileNotFoundError:
        raise AudioError(f"{shown}: no such file") from None
    except OSError as error:
        raise AudioError(f"{shown}: cannot be read ({error.strerror or error})") from error
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(f"{shown}: not a sound file that libsndfile can read ({reason})") from error


def _info(file: soundfile.SoundFile) -> AudioInfo:
    info = AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)
    if info.samples <= 0:
        raise AudioError(f"{_show(file.name)}: the file holds no samples")
    return info


def _refuse_non_finite(signal: NDArray[Any], shown: str) -> None:
    bad = ~np.isfinite(signal)
    if bad.any():
        count = int(bad.sum())
        first = int(np.flatnonzero(bad.any(axis=1))[0])
        raise AudioError(f"{shown}: {count} samples are NaN or infinite, first at index {first}; repair or remove it")


def _name(path: str | os.PathLike[str]) -> str | bytes:
    return str(path) if os.name == "nt" else os.fsencode(path)


def _show(path: str | bytes | os.PathLike[str]) -> str:
    """The path as printable text; a file name may hold bytes that are no text at all."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode("utf-8")
