"""Material for a first click, made on the spot: synthetic speech, noises, a melody, walkers and a drawn face."""

from __future__ import annotations

__all__ = ["clean_speech", "flute_and_speech", "noisy_speech", "talking_head", "walkers"]

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynvae.app.limits import Sound
from dynvae.audio import read_audio
from dynvae.audio.mixing import mix
from dynvae.data.builtin import SPEAKERS, make_builtin
from dynvae.data.flute import flute
from dynvae.data.trajectories import draw_trajectories
from dynvae.errors import require
from dynvae.tracking import Boxes, Scene, to_boxes
from dynvae.video import write_clip

RATE = 16000
_VOICES = {speaker.name: speaker for speaker in SPEAKERS if speaker.name in ("ben", "clara")}
_SENTENCES = 3
_SIZE = (320, 240)


def clean_speech(voice: str = "clara", index: int = 0) -> Sound:
    """A sentence in one of two voices of the built-in corpus, ben and clara.

    Raises:
        MissingExtraError: the synthesiser is not installed.
    """
    return Sound(_sentences(voice)[index % _SENTENCES][None], RATE)


@functools.cache
def _sentences(voice: str) -> tuple[NDArray[np.float32], ...]:
    with tempfile.TemporaryDirectory(prefix="dynvae-") as folder:
        make_builtin(Path(folder) / "speech", (_VOICES[voice],), _SENTENCES)
        files = sorted(Path(folder).rglob("*.wav"))
        return tuple(_to_peak(read_audio(path)[0], 0.6) for path in files)


def noisy_speech(seed: int = 0, snr: float = 0.0) -> Sound:
    """A sentence in the noise of rain.

    Args:
        seed: which sentence, voice and noise.
        snr: in dB.
    """
    speech = clean_speech(_voice(seed), seed).waveform[0]
    return Sound(_to_peak(mix(speech, _rain(len(speech), seed), snr), 0.9)[None], RATE)


def _voice(seed: int) -> str:
    return ("clara", "ben")[seed % 2]


def flute_and_speech(seed: int = 0) -> Sound:
    """A flute and a voice, equally loud."""
    speech = clean_speech("clara", seed).waveform[0]
    melody = flute(len(speech) / RATE, RATE, seed=seed)
    return Sound(_to_peak(mix(speech, melody, 0.0), 0.9)[None], RATE)


def _rain(samples: int, seed: int) -> NDArray[np.float32]:
    """Noise about 3.5 kHz that swells slowly, with some of all frequencies."""
    dice = np.random.default_rng(seed)
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    shape = np.exp(-(((frequency - 3500) / 2500) ** 2)) + 0.15
    noise = np.fft.irfft(np.fft.rfft(dice.standard_normal(samples)) * shape, samples)
    swell = 1 + 0.25 * np.sin(2 * np.pi * (0.4 * np.arange(samples) / RATE + dice.uniform()))
    return (swell * noise).astype(np.float32)


def _to_peak(signal: NDArray[Any], peak: float) -> NDArray[np.float32]:
    return (signal * (peak / max(float(np.abs(signal).max()), 1e-9))).astype(np.float32)


def walkers(seed: int = 0, people: int = 6, frames: int = 120) -> tuple[Boxes, Boxes, Scene]:
    """People on made-up paths: what a detector may see of them, who they are, and the film.

    A detector misses a tenth, is off by some pixels, and sometimes sees somebody who is not there.

    Args:
        seed: of everything.
        people: how many.
        frames: of the film, 30 a second.
    """
    dice = np.random.default_rng(seed)
    scene = Scene("made up", frames, 1280, 720, 30)
    paths = to_boxes(draw_trajectories(60, frames, seed=seed).double().numpy(), scene.size)
    inside = (paths[..., 0].min(1) > -40) & ((paths[..., 0] + paths[..., 2]).max(1) < 1320) & (paths[..., 1].min(1) > 0)
    inside &= ((paths[..., 1] + paths[..., 3]).max(1) < 720) & (paths[..., 3].min(1) > 60)
    chosen = paths[inside][:people]
    rows = [(t + 1, who + 1, *chosen[who, t], 1) for t in range(frames) for who in range(len(chosen))]
    truth = Boxes.of(rows)
    seen = np.array(rows, np.float64)[dice.uniform(size=len(rows)) > 0.1]
    seen[:, 1] = -1
    seen[:, 2:6] += dice.normal(0, 0.03, (len(seen), 4)) * seen[:, [4, 5, 4, 5]]
    ghosts = np.column_stack([
        dice.integers(1, frames + 1, frames // 6), -np.ones(frames // 6), dice.uniform(0, 1200, frames // 6),
        dice.uniform(0, 500, frames // 6), dice.uniform(25, 60, frames // 6), dice.uniform(70, 160, frames // 6),
        np.ones(frames // 6),
    ])  # fmt: skip
    return Boxes.of(np.concatenate([seen, ghosts])), truth, scene


def talking_head(path: Path, seed: int = 0, rate: float = 25.0) -> None:
    """Write a video of a drawn face whose mouth opens as loud as it speaks, in noise, and that turns away for a while.

    Args:
        path: of an ``.mp4``.
        seed: which sentence and noise.
        rate: pictures a second.

    Raises:
        MissingExtraError: PyAV, OpenCV or the synthesiser is not installed.
    """
    speech = clean_speech(_voice(seed), seed).waveform[0]
    count = max(1, round(len(speech) / RATE * rate))
    pieces = np.array_split(np.abs(speech), count)
    loud = np.convolve([float(piece.max()) for piece in pieces], [0.25, 0.5, 0.25], "same")
    gone = range(round(0.6 * count), round(0.76 * count))
    pictures = np.stack([
        _face(loud[index] / max(loud.max(), 1e-9), 4 * np.sin(index / 9), away=index in gone) for index in range(count)
    ])  # fmt: skip
    write_clip(path, pictures, rate, noisy_speech(seed).waveform[0], RATE, enlarge=1)


def _face(opened: float, shift: float, *, away: bool = False) -> NDArray[np.uint8]:
    """A drawing that the cascade takes for a face: dark eyes and brows, light cheeks and nose, and a mouth."""
    cv2 = require("cv2", "video")
    width, height = (2 * side for side in _SIZE)
    canvas = np.full((height, width), 205, np.uint8)
    x, y = round(width / 2 + 2 * shift), height // 2

    def blob(dx: int, dy: int, wide: int, high: float, grey: int, start: int = 0) -> None:
        cv2.ellipse(canvas, (x + dx, y + dy), (wide, round(high)), 0, start, 360, grey, -1)

    blob(0, 330, 210, 160, 95, start=180)  # shoulders
    cv2.rectangle(canvas, (x - 45, y + 90), (x + 45, y + 200), 150, -1)  # neck
    blob(0, -25, 128, 160, 45)  # hair
    if not away:
        blob(0, 10, 105, 145, 190)
        blob(0, -112, 104, 44, 45)  # fringe
        for side in (-43, 43):
            blob(side, -22, 32, 22, 140)
            blob(side, -48, 32, 7, 50)  # brow
            blob(side, -22, 22, 11, 225)
            blob(side, -22, 10, 10, 35)
        blob(0, 22, 13, 40, 215)  # nose
        blob(0, 50, 22, 8, 140)
        blob(0, 90, 40, 10 + 26 * opened, 110)  # lips
        blob(0, 90, 31, 2 + 22 * opened, 30)
    soft = cv2.GaussianBlur(canvas, (0, 0), 5)
    light = np.clip(soft * np.linspace(1.08, 0.9, width), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(light, _SIZE, interpolation=cv2.INTER_AREA))
