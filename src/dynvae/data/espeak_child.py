"""Speaks a list of sentences with espeak-ng, in a process of its own, and writes the samples to the standard output.

The synthesiser keeps a state from one sentence to the next and from one voice to the next, which shows in the samples.
A fresh process that speaks the same list in the same order gives the same bytes. This file is run as a script, needs
nothing but the standard library, and reads its task as JSON from the standard input: the paths of the library and of
its data, the voice, pitch, range and volume (0 to 100), the rate (words a minute), and the sentences. For every
sentence it writes the number of samples (4 bytes, little-endian) and the samples (16 bits); before the first, the
sampling rate.
"""

from __future__ import annotations

__all__: list[str] = []

import ctypes
import json
import sys
from typing import Any

# The names of speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS, _CHARACTER, _UTF8 = 2, 1, 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4


def _speak(task: dict[str, Any]) -> None:
    library = ctypes.CDLL(task["library"])
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, task["data"].encode(), 0)
    if rate <= 0:
        raise SystemExit("espeak-ng does not start")
    samples = bytearray()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def receive(wave: int | None, count: int, _events: int | None) -> int:
        if wave and count > 0:
            samples.extend(ctypes.string_at(wave, 2 * count))
        return 0

    library.espeak_SetSynthCallback(receive)
    if library.espeak_SetVoiceByName(task["voice"].encode()):
        raise SystemExit(f"espeak-ng has no voice {task['voice']}")
    library.espeak_SetParameter(_RATE, task["rate"], 0)
    library.espeak_SetParameter(_VOLUME, task["volume"], 0)
    library.espeak_SetParameter(_PITCH, task["pitch"], 0)
    library.espeak_SetParameter(_RANGE, task["range"], 0)
    out = sys.stdout.buffer
    out.write(rate.to_bytes(4, "little"))
    for sentence in task["sentences"]:
        samples.clear()
        text = sentence.encode()
        library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, _CHARACTER, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        out.write((len(samples) // 2).to_bytes(4, "little"))
        out.write(samples if sys.byteorder == "little" else _swapped(samples))


def _swapped(samples: bytearray) -> bytes:
    swapped = bytearray(len(samples))
    swapped[::2], swapped[1::2] = samples[1::2], samples[::2]
    return bytes(swapped)


if __name__ == "__main__":
    _speak(json.load(sys.stdin))
