"""Offset, quiet ends and level of an utterance."""

from __future__ import annotations

import numpy as np
import pytest

from dynvae.audio import FrontEnd, Preparation, prepare, trim_bounds

FRAME, HOP = 2048, 512


def burst(samples: int, start: int, stop: int, level: float = 0.5) -> np.ndarray:
    signal = 1e-4 * np.random.default_rng(0).standard_normal(samples)
    signal[start:stop] += level * np.sin(0.2 * np.arange(stop - start))
    return signal.astype(np.float32)


def definition(signal: np.ndarray, decibels: float) -> tuple[int, int]:
    """The rule, written out frame by frame."""
    padded = np.pad(signal.astype(np.float64), FRAME // 2)
    levels = [np.sqrt(np.mean(padded[t * HOP : t * HOP + FRAME] ** 2)) for t in range(1 + len(signal) // HOP)]
    loud = [t for t, level in enumerate(levels) if 20 * np.log10(max(level, 1e-30) / max(levels)) > -decibels]
    return loud[0] * HOP, min(len(signal), (loud[-1] + 1) * HOP)


@pytest.mark.parametrize(
    ("samples", "start", "stop"), [(16000, 5000, 9000), (16000, 0, 16000), (16001, 15000, 16001), (900, 100, 300)]
)
@pytest.mark.parametrize("decibels", [20.0, 30.0, 60.0])
def test_trimming_follows_its_definition(samples: int, start: int, stop: int, decibels: float) -> None:
    signal = burst(samples, start, stop)
    assert trim_bounds(signal, decibels) == definition(signal, decibels)
    assert trim_bounds(1e-6 * signal, decibels) == trim_bounds(signal, decibels)  # no absolute level


def test_an_utterance_is_prepared_and_restored() -> None:
    signal = burst(16000, 5000, 9100) + np.float32(0.2)
    preparation = Preparation.of(signal, FrontEnd())
    prepared = preparation.apply(signal)
    np.testing.assert_array_equal(prepared, prepare(signal, FrontEnd()))
    assert prepared.dtype == np.float32
    assert 4000 < len(prepared) < 7000
    assert len(prepared) % 256 == 0
    assert np.abs(prepared).max() == pytest.approx(1, abs=1e-6)
    assert abs(preparation.mean - 0.2) < 0.01
    restored = preparation.undo(prepared)
    assert restored.shape == signal.shape
    inner = slice(preparation.start, preparation.stop)
    np.testing.assert_allclose(restored[inner], signal[inner] - preparation.mean, atol=1e-6)
    assert not restored[: preparation.start].any()


def test_each_step_can_be_left_out() -> None:
    signal = burst(16100, 5000, 9000)
    kept = prepare(signal, FrontEnd(trim_db=None, normalize="none"))
    assert len(kept) == 16100 // 256 * 256
    np.testing.assert_allclose(kept, (signal - signal.mean())[: len(kept)], atol=1e-6)
    assert prepare(signal.astype(np.float64), FrontEnd()).dtype == np.float64


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1.0])
@pytest.mark.parametrize("samples", [0, 1, 100, 5000])
def test_silence_stays_silence(value: float, samples: int) -> None:
    prepared = prepare(np.full(samples, value, dtype=np.float32), FrontEnd())
    assert not prepared.any()
    assert np.isfinite(prepared).all()


@pytest.mark.parametrize("level", [1e-30, 1e-6, 1e4])
def test_levels_of_any_size_end_at_one(level: float) -> None:
    prepared = prepare(np.float32(level) * burst(6000, 1000, 5000), FrontEnd())
    assert np.abs(prepared).max() == pytest.approx(1, abs=1e-5)


def test_shorter_than_a_window_or_a_hop() -> None:
    for samples in (2, 200, 300, 1000):
        signal = burst(samples, 0, samples)
        prepared = prepare(signal, FrontEnd())
        assert len(prepared) == (samples if samples < 256 else samples // 256 * 256)
