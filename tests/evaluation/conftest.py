"""A small corpus of synthetic speech."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from evaluation_toys import speech_like

from dynvae.data import Corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files of three speakers, of different lengths."""
    root = tmp_path / "speech"
    for index, seconds in enumerate([1.1, 0.7, 1.6, 0.9, 1.3, 0.8]):
        path = root / "test" / f"speaker{index // 2}" / f"file {index} ü.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech_like(seconds, index), 16000)
    return root


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return Corpus.open(folder)
