"""A small saved model and a few seconds of synthetic speech for the verbs that take a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

import dynvae
from dynvae.audio import FrontEnd
from dynvae.models import build


def speech_like(seconds: float, seed: int = 0, rate: int = 16000) -> np.ndarray:
    """Syllables: harmonics of a gliding pitch under a slow envelope."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(110 + 10 * seed + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate
    voice = sum(np.sin(k * pitch + seed) / k for k in range(1, 25))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 2.3 * time), 0.01, 1) ** 0.5


def saved_model(folder: Path, name: str = "srnn", front_end: bool = True) -> Path:
    """An untrained model in a folder."""
    torch.manual_seed(0)
    model = build(name, x_dim=129, z_dim=4, input_transform="log")
    if front_end:
        model.front_end = FrontEnd(window_length=256, hop_length=128)
    dynvae.save(model, folder)
    return folder


def speech_folder(root: Path, files: int = 3) -> Path:
    """Files of one speaker each, all in the test split."""
    for index in range(files):
        path = root / "test" / f"speaker{index}" / f"file {index} ü.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech_like(0.7 + 0.2 * index, index), 16000)
    return root
