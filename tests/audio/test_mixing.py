"""Speech and noise at a ratio, and recordings that come back as what they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynvae.audio.mixing import cut_noise, mix, noise_gain
from dynvae.audio.recording import Recording
from dynvae.errors import AudioError


def decibels(speech: np.ndarray, noise: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(speech**2) / np.mean(noise**2)))


@given(snr=st.floats(-30, 40), start=st.integers(0, 500), length=st.integers(1, 400), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_the_ratio_is_the_one_that_was_asked_for(snr: float, start: int, length: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    speech, noise = random.normal(size=200), random.normal(size=length)
    noisy = mix(speech, noise, snr, start)
    assert noisy.shape == speech.shape
    assert decibels(speech, noisy - speech) == pytest.approx(snr, abs=1e-6)


def test_noise_begins_anew_at_its_end() -> None:
    assert cut_noise(np.arange(4.0), 6, start=3).tolist() == [3, 0, 1, 2, 3, 0]


def test_precision_is_that_of_the_speech() -> None:
    assert mix(np.ones(8, np.float32), np.ones(3), 0.0).dtype == np.float32


@pytest.mark.parametrize(
    ("speech", "noise", "snr"), [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, np.nan), (np.inf, 1.0, 0.0)]
)
def test_silence_has_no_ratio(speech: float, noise: float, snr: float) -> None:
    with pytest.raises(AudioError, match="cannot be mixed"):
        noise_gain(speech, noise, snr)


def test_noise_of_no_samples() -> None:
    with pytest.raises(AudioError, match="no samples"):
        mix(np.ones(4), np.ones(0), 0.0)


@pytest.mark.parametrize("shape", [(4000,), (1, 4000), (3, 4000), (2, 1)])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_recording_comes_back(shape: tuple[int, ...], rate: int) -> None:
    """Its low frequencies at least, which every rate has; its offset is a fault and stays away."""
    time = np.arange(shape[-1]) / rate
    wave = (0.03 * np.sin(2 * np.pi * 300 * time) * np.hanning(shape[-1]) + np.zeros(shape)).astype(np.float32)
    recording = Recording.of(wave + np.float32(0.2), rate, 16000)
    if shape[-1] > 1:
        assert np.abs(recording.signals).max(1) == pytest.approx(1)
    back = recording.back([*recording.signals])
    assert back.shape == shape
    assert back.dtype == np.float32
    assert np.abs(back - (wave - wave.mean()))[..., 50:-50].max(initial=0) < 1e-3


def test_silent_channels_stay_silent() -> None:
    wave = np.stack([np.zeros(1000), np.sin(np.arange(1000.0)), np.full(1000, 0.5)])
    recording = Recording.of(torch.from_numpy(wave), 16000, 16000)
    assert recording.heard.tolist() == [1]
    back = recording.back([np.ones(1000, np.float32)])
    assert not back[[0, 2]].any()
    assert back[1].any()


@pytest.mark.parametrize(
    ("wave", "text"),
    [
        (np.zeros(0), "has no samples"),
        (np.arange(4), "floating-point"),
        (np.zeros((2, 2, 2)), "samples"),
        (np.array([0.0, np.nan, np.inf]), "2 samples are NaN or infinite, first at index 1"),
    ],
)
def test_what_is_no_recording(wave: np.ndarray, text: str) -> None:
    with pytest.raises(AudioError, match=text) as error:
        Recording.of(wave, 16000, 16000, "a.wav")
    assert str(error.value).startswith("a.wav: ")
