"""A folder of sound that a model has drawn: complete after any number of stops, and of one drawing alone."""

from __future__ import annotations

__all__ = ["clip_path", "write_clips"]

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dynvae.audio import audio_info, write_audio
from dynvae.errors import AudioError, ConfigError, DataError
from dynvae.evaluation.analysis import speech_front_end
from dynvae.evaluation.generation import Drawing, draw_clips
from dynvae.evaluation.run import fingerprint
from dynvae.files import atomic_write
from dynvae.models import DVAE

SETTINGS = "settings.json"
_CLIPS = "sample-*.wav"


def clip_path(folder: Path, number: int) -> Path:
    """Where the clip of a number, from 0 on, lies."""
    return folder / f"sample-{number + 1:05d}.wav"


def write_clips(
    model: DVAE,
    n: int,
    folder: Path,
    drawing: Drawing,
    *,
    overwrite: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> int:
    """Have the first n clips of a drawing in a folder, as WAV files of 16 bits.

    Files that are there already are not made again; what comes out does not depend on where it was stopped, and more
    clips can be added later. Beside them, ``settings.json`` tells what decides them.

    Args:
        model: with a front end.
        n: number of clips.
        folder: made if it is missing.
        drawing: how.
        overwrite: remove clips of another model or drawing.
        report: called with the number of clips that are there, and n.

    Returns:
        The number of clips that were made.

    Raises:
        ConfigError: a setting cannot be used, or the folder holds clips of another model or drawing.
        AudioError: the model has drawn a power that is not finite.
        DataError: the folder cannot be written.
    """
    if n < 1:
        raise ConfigError(f"the number of clips ({n}) must be positive")
    front_end = speech_front_end(model)
    samples = drawing.samples(front_end)
    settings = {
        "format_version": 1, "model": fingerprint(model), "class": type(model).__name__,
        "front_end": front_end.to_dict(), "seconds": drawing.seconds, "seed": drawing.seed,
        "feedback": drawing.feedback, "iterations": drawing.iterations, "batch": drawing.together,
        "packages": {name: importlib.metadata.version(name) for name in ("dynvae", "torch")},
    }  # fmt: skip
    try:
        _claim(folder, settings, overwrite)
        missing = [number for number in range(n) if not _is_whole(clip_path(folder, number), samples)]
        if report is not None:
            report(n - len(missing), n)
        for made, clip in enumerate(draw_clips(model, missing, drawing), 1):
            write_audio(clip_path(folder, clip.number), clip.waveform, front_end.sample_rate)
            if report is not None:
                report(n - len(missing) + made, n)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another folder (--out)") from error
    return len(missing)


def _claim(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Make the folder one of these settings.

    Raises:
        ConfigError: it is one of others.
    """
    path = folder / SETTINGS
    old = _read(path) if path.exists() else None
    if old == settings:
        return
    others = sorted(folder.glob(_CLIPS))
    if others and not overwrite:
        raise ConfigError(
            f"{folder} holds clips with {_difference(old, settings)}; choose another folder (--out), or --overwrite"
        )
    for other in others:  # before the settings change, so that a stop leaves no mixture
        other.unlink()
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return {}


def _difference(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> str:
    for name, value in new.items():
        if old and name in old and old[name] != value:
            return f"another {name} ({old[name]}, now {value})"
    return "unknown settings"


def _is_whole(path: Path, samples: int) -> bool:
    try:
        return path.exists() and audio_info(path).samples == samples
    except AudioError:
        return False
