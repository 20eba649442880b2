"""Small corpora of generated sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dynvae.audio import write_audio


def sound(samples: int = 6000, seed: int = 0) -> np.ndarray:
    """Noise of a steady level, so that nothing is trimmed."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Make sound files below a folder: ``tree("a/x.wav", "b/y.wav")``, or ``tree({"a/x.wav": samples})``."""

    def make(*names: str | dict[str, int], root: str = "corpus") -> Path:
        sizes = {name: 6000 for name in names if isinstance(name, str)}
        for name in names:
            sizes |= name if isinstance(name, dict) else {}
        for seed, (name, samples) in enumerate(sizes.items()):
            write_audio(tmp_path / root / name, sound(samples, seed), 16000)
        return tmp_path / root

    return make
