"""A small corpus of synthetic speech."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_toys import write_speech

from dynvae.data import Corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_speech(tmp_path / "speech")


@pytest.fixture
def corpus(folder: Path) -> Corpus:
    return Corpus.open(folder)
