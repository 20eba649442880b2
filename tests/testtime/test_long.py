"""Long recordings: chunks fade into each other, the noise is carried on, and nothing is lost or added."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dynvae.audio import FrontEnd
from dynvae.errors import ConfigError
from dynvae.models import build
from dynvae.testtime.enhancement import Enhanced, Enhancer
from dynvae.testtime.long import Chunks, enhance_in_chunks

RATE = 16000
CHUNKS = Chunks(0.1, 0.02)
SOUND = np.random.default_rng(0).normal(size=(2, 7000)).astype(np.float32)


@pytest.fixture
def enhancer() -> Enhancer:
    torch.manual_seed(0)
    model = build("vae", x_dim=33, z_dim=3)
    model.front_end = FrontEnd(window_length=64, hop_length=16)
    return Enhancer(model, iterations=3)


def enhanced(enhancer: Enhancer, sound: np.ndarray, rate: int = RATE, block: int = 999, **options: Any) -> np.ndarray:
    blocks = [sound[:, start : start + block] for start in range(0, sound.shape[1], block)]
    parts = list(enhance_in_chunks(enhancer, blocks, rate, sound.shape[1], **options))
    return np.concatenate(parts, 1)


def test_a_short_recording_is_enhanced_as_a_whole(enhancer: Enhancer) -> None:
    np.testing.assert_array_equal(enhanced(enhancer, SOUND), enhancer(SOUND, RATE).waveform)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1599, 1601, 6999])
def test_length_and_channels_are_kept(enhancer: Enhancer, rate: int, samples: int) -> None:
    found = enhanced(enhancer, SOUND[:, :samples], rate, chunks=CHUNKS)
    assert found.shape == (2, samples)
    assert np.isfinite(found).all()


def test_blocks_do_not_matter(enhancer: Enhancer) -> None:
    found = [enhanced(enhancer, SOUND, 48000, block, chunks=CHUNKS) for block in (7000, 311)]
    np.testing.assert_array_equal(*found)


def test_chunks_of_what_passes_unchanged_fade_into_the_whole(enhancer: Enhancer, monkeypatch) -> None:
    """Were the engine to leave everything as it is, nobody would hear where it was cut."""

    def leave(self: Enhancer, waveform: Any, rate: int, **options: Any) -> Enhanced:
        nothing = np.zeros(len(waveform))
        return Enhanced(np.array(waveform), np.zeros((0, len(waveform))), [], nothing, nothing > 0, nothing > 0)

    monkeypatch.setattr(Enhancer, "__call__", leave)
    np.testing.assert_allclose(enhanced(enhancer, SOUND, chunks=CHUNKS), SOUND, atol=1e-6)


def test_plan_covers_everything_with_equal_chunks() -> None:
    chunks = Chunks(30, 1)
    for samples in (1, 30 * RATE, 30 * RATE + 1, 59 * RATE, 7200 * RATE):
        count, size, overlap = chunks.plan(samples, RATE)
        assert size <= 30 * RATE
        assert 0 <= count * size - (count - 1) * overlap - samples < count
    for wrong in ((1.0, 0.6), (1.0, 0.0)):
        with pytest.raises(ConfigError, match="overlap"):
            Chunks(*wrong)


def test_noise_is_carried_from_chunk_to_chunk(enhancer: Enhancer, monkeypatch) -> None:
    told: list[tuple[int, int, Enhanced]] = []
    carried = enhanced(
        enhancer, SOUND[:1], chunks=CHUNKS, told=lambda n, all_, noisy, found: told.append((n, all_, found))
    )
    assert [(n, all_) for n, all_, _ in told] == [(n, len(told)) for n in range(1, len(told) + 1)]
    assert len(told) > 3
    monkeypatch.setattr("dynvae.testtime.long._carried", lambda preset, patterns: preset)
    assert (carried != enhanced(enhancer, SOUND[:1], chunks=CHUNKS)).any()


def test_silence_stays_silence_also_between_sounds(enhancer: Enhancer) -> None:
    quiet = SOUND.copy()
    quiet[1] = 0
    quiet[0, 1500:5000] = 0
    found = enhanced(enhancer, quiet, chunks=CHUNKS)
    assert np.isfinite(found).all()
    assert not found[1].any()
    assert not found[0, 3200:4000].any()
    assert found[0, 6000:].any()
