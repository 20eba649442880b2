"""WAV sound on standard input and output: as a whole, or live."""

from __future__ import annotations

__all__ = ["copy_out", "live", "opened", "piped"]

import contextlib
import shutil
import struct
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import AudioError, DynvaeError
from dynvae.testtime.streaming import StreamingEnhancer

_UNKNOWN = 0xFFFFFFFF - 44
_BLOCKS_A_SECOND = 50


@contextlib.contextmanager
def opened(given: str, suffix: str = ".wav") -> Iterator[Path]:
    """The file that was named; for ``-`` a file that all of standard input is copied to, whose size no memory sees.

    Args:
        given: a name, or ``-``.
        suffix: of the copy.

    Raises:
        DynvaeError: what the work with it raises, which speaks of standard input where it is that.
    """
    if given != "-":
        yield Path(given)
        return
    with tempfile.TemporaryDirectory(prefix="dynvae-") as folder:
        path = Path(folder) / f"input{suffix}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path
        except DynvaeError as error:
            raise type(error)(str(error).replace(str(path), "standard input")) from None


def copy_out(path: Path) -> None:
    """Copy a file to standard output."""
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def piped(work: Callable[[Path, Path], object]) -> int:
    """Standard input to standard output by way of files, and 0.

    Args:
        work: makes the second file of the first.

    Raises:
        DynvaeError: standard input cannot be used.
    """
    with opened("-") as source:
        target = source.with_name("output.wav")
        work(source, target)
        copy_out(target)
    return 0


def live(make: Callable[[int, int], StreamingEnhancer]) -> int:
    """Enhance 16-bit WAV sound as it comes in; what is ready goes out at once. Latency and speed are told at the end.

    Args:
        make: the stream's enhancer, of its rate and number of channels.

    Raises:
        AudioError: standard input is no WAV file of 16 bits.
    """
    try:
        source = wave.open(sys.stdin.buffer)  # noqa: SIM115
    except (wave.Error, EOFError) as error:
        raise AudioError(f"standard input: not a WAV file of integers ({error or 'it ends at once'}); other formats go "
                         "without --stream") from error  # fmt: skip
    if source.getsampwidth() != 2:
        raise AudioError(f"standard input: {8 * source.getsampwidth()} bits a sample; a live stream has 16")
    rate, channels = source.getframerate(), source.getnchannels()
    stream = make(rate, channels)
    out = sys.stdout.buffer
    size = source.getnframes() * 2 * channels
    _header(out, rate, channels, size if 0 < size < _UNKNOWN else _UNKNOWN)
    worked, done = 0.0, 0
    block = max(1, rate // _BLOCKS_A_SECOND)
    while data := source.readframes(block):
        sound = np.frombuffer(data, "<i2").reshape(-1, channels).T.astype(np.float32) / 32768
        start = time.perf_counter()
        ready = stream.push(sound)
        worked, done = worked + time.perf_counter() - start, done + sound.shape[1]
        _samples(out, ready)
    _samples(out, np.atleast_2d(stream.flush()))
    factor = worked / (done / rate) if done else 0.0
    print(f"dynvae enhance: {done / rate:.1f} s, latency {1000 * stream.latency:.0f} ms, real-time factor {factor:.2f}",
          file=sys.stderr)  # fmt: skip
    return 0


def _header(out: BinaryIO, rate: int, channels: int, size: int) -> None:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    out.write(struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE") + form + struct.pack("<4sI", b"data", size))


def _samples(out: BinaryIO, sound: NDArray[np.float32]) -> None:
    out.write(np.clip(np.rint(sound.T * 32768.0), -32768, 32767).astype("<i2").tobytes())
    out.flush()
