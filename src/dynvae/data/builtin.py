"""The built-in corpus: a quarter of an hour of English, spoken by espeak-ng in sixteen voices, the same every time."""

from __future__ import annotations

__all__ = ["SPEAKERS", "Speaker", "builtin_corpus", "cache_folder", "make_builtin"]

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from dynvae.audio import resample
from dynvae.data.manifest import write_rows
from dynvae.data.sentences import sentence
from dynvae.errors import DataError, require
from dynvae.files import sha256_file

logger = logging.getLogger(__name__)

_VERSION = 1  # of the content; another content is another folder of the cache
_RATE = 16000
_SENTENCES = 20  # of every speaker, all different
_VOLUME = 70  # percent of the synthesiser's own, so that no voice reaches full scale
_ROOM = 16.0  # largest value of the room's noise in units of the last bit: 74 dB below full scale


@dataclass(frozen=True)
class Speaker:
    """A voice of espeak-ng and how it speaks."""

    name: str
    split: str
    voice: str  # accent + variant
    pitch: int  # 0 to 100
    range: int  # of the pitch, 0 to 100
    rate: int  # words a minute


# Variants with breath noise are left out: their samples differ from one process to the next.
SPEAKERS = (
    Speaker("anna", "train", "en-us+f1", 50, 55, 165),
    Speaker("ben", "train", "en+m1", 45, 45, 175),
    Speaker("clara", "train", "en-gb-scotland+f4", 55, 60, 160),
    Speaker("david", "train", "en-gb-x-rp+m3", 35, 50, 170),
    Speaker("edith", "train", "en-gb-x-gbclan+linda", 60, 45, 180),
    Speaker("frank", "train", "en-us+m4", 30, 40, 155),
    Speaker("grace", "train", "en+steph", 45, 65, 170),
    Speaker("henry", "train", "en-gb-x-gbcwmd+m6", 55, 55, 185),
    Speaker("iris", "train", "en-us-nyc+Annie", 50, 50, 175),
    Speaker("jack", "train", "en-029+m2", 40, 60, 160),
    Speaker("kate", "train", "en-gb-x-rp+belinda", 65, 55, 165),
    Speaker("leo", "train", "en-us+klatt2", 45, 50, 170),
    Speaker("mary", "valid", "en-us+anika", 50, 60, 170),
    Speaker("noah", "valid", "en-gb-scotland+m7", 50, 50, 165),
    Speaker("olive", "test", "en-gb-x-rp+steph2", 55, 55, 170),
    Speaker("peter", "test", "en-us+m8", 40, 50, 165),
)


def cache_folder() -> Path:
    """Where made and downloaded things are kept: ``$DYNVAE_CACHE``, else ``~/.cache/dynvae``."""
    return Path(os.environ.get("DYNVAE_CACHE") or Path.home() / ".cache" / "dynvae")


def builtin_corpus() -> Path:
    """The folder of the built-in corpus in the cache; it is made at the first call, in some seconds."""
    folder = cache_folder() / f"builtin-{_VERSION}"
    if not (folder / "manifest.csv").is_file():
        logger.info("making the built-in corpus in %s", folder)
        make_builtin(folder)
    return folder


def make_builtin(
    folder: str | os.PathLike[str],
    speakers: tuple[Speaker, ...] = SPEAKERS,
    sentences: int = _SENTENCES,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Speak the built-in corpus into a new folder: WAV files of 16 kHz and 16 bits, and ``manifest.csv``.

    The folder appears when it is complete. Two makings give the same bytes on one machine; ``sha256`` in the manifest
    tells. Two processes that make it at once do not disturb one another: the second finds it made.

    Args:
        folder: to be made; it may exist if it is empty.
        speakers: who speaks.
        sentences: how many sentences each of them says, all different.
        progress: called with the number of speakers done and of all.

    Returns:
        The number of files.

    Raises:
        DataError: the folder holds something else, or the synthesiser fails.
        MissingExtraError: espeakng_loader is not installed.
    """
    loader = require("espeakng_loader", "synth")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: exists already and is not empty; name another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temp = folder.parent / f".making-{folder.name}-{os.getpid()}-{secrets.token_hex(4)}"
    temp.mkdir()
    try:
        rows: list[dict[str, object]] = []
        for number, speaker in enumerate(speakers):
            texts = [sentence(number * sentences + index) for index in range(sentences)]
            for index, (text, signal) in enumerate(zip(texts, _spoken(loader, speaker, texts), strict=True)):
                rows.append(_write(temp, speaker, index, text, signal))
            if progress:
                progress(number + 1, len(speakers))
        write_rows(temp / "manifest.csv", rows)
        _take_place(temp, folder)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return len(rows)


def _take_place(made: Path, folder: Path) -> None:
    """Rename the finished folder; where another process was quicker, its work stays."""
    with contextlib.suppress(OSError):
        folder.rmdir()  # an empty one, which not every system would replace
    try:
        made.rename(folder)
    except OSError as error:
        if not (folder / "manifest.csv").is_file():
            raise DataError(f"{folder}: cannot be made ({error.strerror})") from error


def _write(root: Path, speaker: Speaker, index: int, text: str, signal: NDArray[np.int16]) -> dict[str, object]:
    path = root / speaker.name / f"{speaker.name}_{index:03d}.wav"
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, signal, _RATE, subtype="PCM_16")
    return {
        "path": path.relative_to(root).as_posix(),
        "split": speaker.split,
        "speaker": speaker.name,
        "seconds": len(signal) / _RATE,
        "text": text,
        "voice": speaker.voice,
        "sha256": sha256_file(path),
    }


def _spoken(loader: object, speaker: Speaker, texts: list[str]) -> Iterator[NDArray[np.int16]]:
    """The sentences at 16 kHz and 16 bits, spoken in a quiet room.

    The synthesiser itself makes pauses of exact zeros. No microphone does, and the density of silence has no bound.
    """
    # espeak-ng looks for the folder "espeak-ng-data" below the path that it is given.
    task = {
        "library": loader.get_library_path(),  # type: ignore[attr-defined]
        "data": str(Path(loader.get_data_path()).parent),  # type: ignore[attr-defined]
        "voice": speaker.voice,
        "pitch": speaker.pitch,
        "range": speaker.range,
        "rate": speaker.rate,
        "volume": _VOLUME,
        "sentences": texts,
    }
    script = Path(__file__).with_name("espeak_child.py")
    call = [sys.executable, "-S", str(script)]
    done = subprocess.run(call, input=json.dumps(task).encode(), capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DataError(f"the speech synthesiser failed for {speaker.name} ({reason[0]}); reinstall espeakng-loader")
    rate, place = int.from_bytes(done.stdout[:4], "little"), 4
    for text in texts:
        count = int.from_bytes(done.stdout[place : place + 4], "little")
        samples = np.frombuffer(done.stdout, "<i2", count, place + 4)
        place += 4 + 2 * count
        signal = resample(samples.astype(np.float32), rate, _RATE)
        signal = signal + _room(f"{speaker.name} {text}", len(signal))
        yield np.clip(np.rint(signal), -32768, 32767).astype(np.int16)


def _room(seed: str, samples: int) -> NDArray[np.float32]:
    """White noise with a triangular density; raw integers of the generator are the same in every version of numpy."""
    bits = np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest())).random_raw(2 * samples)
    uniform = (bits >> np.uint64(40)).astype(np.float32) / 2**24
    return (_ROOM * (uniform[:samples] - uniform[samples:])).astype(np.float32)
