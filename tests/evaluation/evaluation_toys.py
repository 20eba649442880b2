"""Synthetic speech, and small models with a small front end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import soundfile
import torch

from dynvae.audio import FrontEnd
from dynvae.models import DVAE, SRNN, Latents, build

FRONT_END = FrontEnd(sample_rate=16000, window_length=256, hop_length=128)


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """Syllables: harmonics of a gliding pitch under a slow envelope."""
    time = np.arange(int(seconds * 16000)) / 16000
    random = np.random.default_rng(seed)
    pitch = 2 * np.pi * np.cumsum(110 + 10 * seed + 30 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    voice = sum(np.sin(k * pitch + random.random()) / k for k in range(1, 25))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 2.3 * time), 0.01, 1) ** 0.5


def write_speech(root: Path) -> Path:
    """Six files of three speakers, of different lengths."""
    for index, seconds in enumerate([1.1, 0.7, 1.6, 0.9, 1.3, 0.8]):
        path = root / "test" / f"speaker{index // 2}" / f"file {index} ü.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech_like(seconds, index), 16000)
    return root


def small_model(name: str = "srnn") -> DVAE:
    """An untrained model whose output is near the level of speech."""
    torch.manual_seed(0)
    less = {"model_dim": 16, "layers": 1, "feed_forward": 16, "w_rnn": 8} if name.startswith(("hit", "light")) else {}
    model = build(name, x_dim=FRONT_END.bins, z_dim=4, input_transform="log", **less)
    model.front_end = FRONT_END
    return model


class Deadly(SRNN):
    """Long files kill their process, once; or, where there is no mark to remember it by, raise an error."""

    mark: Path | None

    def draw_noise(self, batch: int, time: int, generator: torch.Generator | None = None) -> Latents:
        if time > 180:
            if self.mark is None:
                raise RuntimeError("out of luck")
            if not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().draw_noise(batch, time, generator)


def deadly_model(mark: Path | None) -> DVAE:
    """A model that does not survive files of more than 1.44 s."""
    model = small_model()
    model.__class__ = Deadly
    model.mark = mark
    return model
