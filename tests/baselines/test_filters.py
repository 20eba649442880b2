"""The filters remove noise, follow it when it changes, and leave silence, levels and shapes alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dynvae.audio import FRONT_ENDS
from dynvae.audio.mixing import mix
from dynvae.baselines import Dictionary, Filter, SpectralSubtraction, WienerFilter, track_noise
from dynvae.baselines.nmf import factorise
from dynvae.errors import ConfigError
from dynvae.metrics import si_sdr

RULES = [SpectralSubtraction(), WienerFilter()]


def syllables(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Harmonics of a gliding pitch, with pauses."""
    time = np.arange(int(seconds * 16000)) / 16000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    voice = sum(np.sin(k * pitch + seed) / k for k in range(1, 25))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 1.7 * time), 0, 1)


@pytest.mark.parametrize("rule", RULES, ids=["subtraction", "wiener"])
def test_noise_is_removed(rule: SpectralSubtraction | WienerFilter) -> None:
    speech = syllables()
    noisy = mix(speech, np.random.default_rng(0).normal(size=16000), 5.0)
    gained = si_sdr(speech, Filter(rule)(noisy, 16000)) - si_sdr(speech, noisy)
    assert gained > 4


@pytest.mark.parametrize("rule", RULES, ids=["subtraction", "wiener"])
def test_level_shape_and_silence(rule: SpectralSubtraction | WienerFilter) -> None:
    random = np.random.default_rng(1)
    noisy = np.stack([mix(syllables(0.8), random.normal(size=9000), 10.0), np.zeros(12800)])
    both = Filter(rule)(noisy, 16000)
    assert both.shape == noisy.shape
    assert not both[1].any()
    louder = Filter(rule)(8 * noisy, 16000)
    assert np.abs(louder - 8 * both).max() < 1e-5
    assert np.isfinite(Filter(rule)(np.ones(1), 16000)).all()


def test_the_tracker_finds_the_variance_of_white_noise() -> None:
    power = torch.from_numpy(np.random.default_rng(2).exponential(3.0, (1, 400, 64)))
    tracked = track_noise(power)
    assert float(tracked[:, 50:].mean()) == pytest.approx(3.0 * 10**-0.12, rel=0.05)  # the bias that is told


def test_the_tracker_follows_noise_that_grows() -> None:
    """20 dB at once pass for speech at first; the guard against standing still lets it catch up."""
    random = np.random.default_rng(3)
    power = torch.from_numpy(random.exponential(1.0, (600, 32)))
    power[200:] *= 100
    tracked = track_noise(power)
    assert float(tracked[150:200].mean()) < 3
    assert float(tracked[-50:].mean()) == pytest.approx(100, rel=0.3)


def test_the_tracker_keeps_off_short_sounds() -> None:
    power = torch.from_numpy(np.random.default_rng(4).exponential(1.0, (300, 32)))
    power[100:115] += 300  # a quarter of a second
    assert float(track_noise(power)[115:125].mean()) < 3


def test_the_first_frame_of_the_wiener_filter() -> None:
    """By hand: ξ = max(γ - 1, 0) there, and the gain ξ / (1 + ξ)."""
    power = torch.from_numpy(np.random.default_rng(5).exponential(1.0, (1, 30, 5)))
    gain = WienerFilter(least_snr=-100).gain(power, torch.Generator())
    above = power / track_noise(power)
    snr = (above[:, 0] - 1).clamp(min=0)
    assert torch.allclose(gain[:, 0], snr / (1 + snr), atol=1e-9)
    later = 0.98 * gain[:, 0] ** 2 * above[:, 0] + 0.02 * (above[:, 1] - 1).clamp(min=0)
    assert torch.allclose(gain[:, 1], later / (1 + later), atol=1e-9)


@pytest.mark.parametrize("make", [lambda: SpectralSubtraction(floor=2), lambda: WienerFilter(smoothing=1.0)])
def test_settings_out_of_range(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


# ---- non-negative matrices -----------------------------------------------------------------------------------------


def test_no_step_of_the_factorisation_increases_the_divergence() -> None:
    random = torch.Generator().manual_seed(0)
    power = torch.rand(40, 20, generator=random, dtype=torch.float64).add_(0.01)
    w = torch.rand(6, 20, generator=random, dtype=torch.float64).add_(0.1)
    h = torch.rand(40, 6, generator=random, dtype=torch.float64).add_(0.1)
    learned = torch.tensor([True, False, True, True, False, True])
    before, fixed = math.inf, w[~learned].clone()
    for _ in range(30):
        w, h = factorise(power, w, h, learned, 1)
        now = float((power / (h @ w) + (h @ w).log()).sum())
        assert now <= before + 1e-9
        before = now
    assert torch.equal(w[~learned], fixed)
    assert torch.allclose(w[learned].sum(-1), torch.ones(4, dtype=torch.float64))


def test_patterns_of_speech_find_speech_in_noise_of_another_pattern() -> None:
    """The noise's pattern is not told; the gain comes near that of the true variances."""
    front_end = FRONT_ENDS["64ms"]
    random = torch.Generator().manual_seed(1)
    bins = torch.arange(front_end.bins) / front_end.bins
    patterns = torch.stack([torch.exp(-(((bins - place) / 0.1) ** 2)) + 0.01 for place in (0.1, 0.3, 0.5)])
    patterns = patterns / patterns.sum(-1, keepdim=True)
    hum = torch.exp(-(((bins - 0.75) / 0.2) ** 2)) + 0.05
    speech = torch.rand(1, 150, 3, generator=random).square() @ patterns
    noise = torch.rand(1, 150, 1, generator=random).add_(0.5) @ (hum / hum.sum())[None]
    chance = torch.from_numpy(np.random.default_rng(0).exponential(1.0, speech.shape)).float()
    rule = Dictionary(patterns, front_end, noise=1)
    gain = rule.gain((speech + noise) * chance, torch.Generator().manual_seed(0))
    true = speech / (speech + noise)
    assert gain.shape == true.shape
    assert float((gain - true).abs().mean()) < 0.06


def test_a_dictionary_is_kept(tmp_path: object) -> None:
    path = f"{tmp_path}/patterns.safetensors"
    rule = Dictionary(torch.rand(3, 257), FRONT_ENDS["32ms"])
    rule.save(path)
    again = Dictionary.load(path)
    assert torch.equal(again.patterns, rule.patterns)
    assert again.front_end == rule.front_end
