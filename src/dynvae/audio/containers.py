"""The sizes that a WAV or AIFF header promises, compared with the bytes that are there.

libsndfile reads a file that was cut short without a word, and returns what is left. A download or a copy that broke
off would so pass for a shorter recording.
"""

from __future__ import annotations

__all__ = ["missing_bytes"]

import struct
from pathlib import Path
from typing import BinaryIO, Literal

# Writers that cannot seek back (a pipe) leave a size near the top of the range: it means "until the end of the file".
_UNKNOWN_SIZE = 0x7FFF0000
_CHUNKS_AT_MOST = 10_000


def missing_bytes(path: Path) -> int:
    """How many bytes of sound a WAV, RF64 or AIFF file lacks at its end; 0 for whole files and for other formats.

    Args:
        path: the sound file.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12:
            return 0
        kind, form = head[:4], head[8:12]
        if kind in (b"RIFF", b"RF64", b"RIFX") and form == b"WAVE":
            return _missing(file, path.stat().st_size, b"data", "big" if kind == b"RIFX" else "little")
        if kind == b"FORM" and form in (b"AIFF", b"AIFC"):
            return _missing(file, path.stat().st_size, b"SSND", "big")
    return 0


def _missing(file: BinaryIO, total: int, wanted: bytes, order: Literal["little", "big"]) -> int:
    long_size = None  # RF64 keeps the true size of the data in a chunk of its own
    for _ in range(_CHUNKS_AT_MOST):
        header = file.read(8)
        if len(header) < 8:
            return 0  # no sound at all: libsndfile says so itself
        name, size = header[:4], int.from_bytes(header[4:], order)
        if name == b"ds64":
            (long_size,) = struct.unpack("<8xQ", file.read(16))
            file.seek(size - 16, 1)
        elif name == wanted:
            if long_size is not None and size == 0xFFFFFFFF:
                size = long_size
            elif size >= _UNKNOWN_SIZE:
                return 0
            return max(0, file.tell() + size - total)
        else:
            file.seek(size + size % 2, 1)
    return 0
