"""PESQ, STOI and ESTOI: the packages' numbers, the reference clip's, and what they refuse."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import pesq as pesq_package
import pytest
import soundfile
import soxr

from dynvae.errors import AudioError, MissingExtraError
from dynvae.metrics import METRICS, ScoreError, estoi, perceptual, pesq_nb, pesq_raw, pesq_wb, raw_from_nb, score, stoi

ALL = [pesq_nb, pesq_wb, pesq_raw, stoi, estoi]


def speech_like(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Syllables: harmonics of a gliding pitch under a slow envelope."""
    time = np.arange(int(seconds * 16000)) / 16000
    random = np.random.default_rng(seed)
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / 16000
    voice = sum(np.sin(k * pitch + random.random()) / k for k in range(1, 25))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 2.3 * time), 0, 1) ** 0.5


def noisy(clean: np.ndarray, level: float = 0.02, seed: int = 1) -> np.ndarray:
    return clean + level * np.random.default_rng(seed).standard_normal(len(clean))


def bursts(number: int) -> np.ndarray:
    """So many utterances, 0.3 s of noise and 0.3 s of silence each."""
    random = np.random.default_rng(0)
    return np.concatenate([np.r_[0.1 * random.standard_normal(4800), np.zeros(4800)] for _ in range(number)])


def test_pesq_is_the_package_s() -> None:
    clean = speech_like()
    assert pesq_nb(clean, noisy(clean)) == pesq_package.pesq(16000, clean, noisy(clean), "nb")
    assert pesq_wb(clean, noisy(clean)) == pesq_package.pesq(16000, clean, noisy(clean), "wb")


def test_the_raw_score_inverts_the_mapping_of_p862_1() -> None:
    for raw in np.linspace(-0.5, 4.5, 21):
        nb = 0.999 + 4 / (1 + math.exp(-1.4945 * raw + 4.6607))
        assert raw_from_nb(nb) == pytest.approx(raw, abs=1e-9)
    clean = speech_like()
    assert pesq_raw(clean, noisy(clean)) == raw_from_nb(pesq_nb(clean, noisy(clean)))


def test_a_copy_is_perfect() -> None:
    clean = speech_like()
    assert pesq_raw(clean, 0.5 * clean) == pytest.approx(4.5, abs=0.001)
    assert pesq_nb(clean, clean) == pytest.approx(4.549, abs=0.001)
    assert pesq_wb(clean, clean) == pytest.approx(4.644, abs=0.001)
    assert stoi(clean, 0.5 * clean) == pytest.approx(1, abs=1e-6)
    assert estoi(clean, 0.5 * clean) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("metric", ALL)
def test_more_noise_is_worse(metric) -> None:
    clean = speech_like()
    scores = [metric(clean, noisy(clean, level)) for level in (0.001, 0.01, 0.1)]
    assert scores == sorted(scores, reverse=True)


def test_scores_of_the_reference_clip(shared: Path) -> None:
    """Speech in noise at -0.54 dB, scored by the original code with pypesq, pesq and pystoi."""
    clean, _ = soundfile.read(shared / "reference/dvae/s.wav")
    mixture, _ = soundfile.read(shared / "reference/dvae/x.wav")
    values = {name: result.value for name, result in score(clean, mixture, 16000).items()}
    expected = {"si_sdr": -0.54, "pesq_wb": 1.11, "pesq_nb": 1.38, "stoi": 0.661, "estoi": 0.360}
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=0.005)
    assert values["pesq_raw"] == pytest.approx(1.61, abs=0.01)
    same = {name: result.value for name, result in score(clean, clean, 16000).items()}
    assert same.pop("sdr") > 120
    assert same == pytest.approx(
        {"rmse": 0, "si_sdr": 156.5, "pesq_raw": 4.5, "pesq_nb": 4.549, "pesq_wb": 4.644, "stoi": 1, "estoi": 1},
        abs=0.1,
    )


@pytest.mark.parametrize("rate", [22050, 48000])
def test_other_rates_are_resampled(rate: int) -> None:
    clean = speech_like()
    degraded = noisy(clean)
    pair = [soxr.resample(signal, 16000, rate) for signal in (clean, degraded)]
    for metric, tolerance in [(pesq_nb, 0.05), (pesq_wb, 0.05), (stoi, 0.005), (estoi, 0.005)]:
        assert metric(*pair, rate) == pytest.approx(metric(clean, degraded), abs=tolerance)


def test_narrow_band_takes_8_khz_and_wide_band_refuses_it() -> None:
    clean = soxr.resample(speech_like(), 16000, 8000)
    degraded = noisy(clean)
    assert pesq_nb(clean, degraded, 8000) == pesq_package.pesq(8000, clean, degraded, "nb")
    with pytest.raises(ScoreError, match="16000 Hz or more"):
        pesq_wb(clean, degraded, 8000)


def test_estoi_repeats_and_leaves_numpy_s_stream_alone() -> None:
    clean = speech_like()
    np.random.seed(3)
    first = estoi(clean, noisy(clean))
    after = np.random.rand()
    assert estoi(clean, noisy(clean)) == first
    np.random.seed(3)
    assert np.random.rand() == after


@pytest.mark.parametrize("metric", ALL)
def test_refuses_silence_nan_and_unequal_lengths(metric) -> None:
    clean = speech_like()
    with pytest.raises(ScoreError, match="reference is silent"):
        metric(0 * clean, clean)
    with pytest.raises(ScoreError, match="estimate is silent"):
        metric(clean, 0 * clean)
    with pytest.raises(ScoreError, match="NaN or infinite"):
        metric(clean, np.where(np.arange(len(clean)) == 7, np.nan, clean))
    with pytest.raises(AudioError, match="one length"):
        metric(clean, clean[:-1])


@pytest.mark.parametrize("samples", [1, 100, 3000, 3999])
def test_too_short(samples: int) -> None:
    clean = speech_like()[2000 : 2000 + samples]
    for metric in (pesq_nb, pesq_wb, pesq_raw):
        with pytest.raises(ScoreError, match=r"shorter than the 0\.25 s"):
            metric(clean, noisy(clean))
    for metric in (stoi, estoi):
        with pytest.raises(ScoreError, match=r"shorter than the 0\.4 s"):
            metric(clean, noisy(clean))


def test_too_little_speech_in_a_long_file() -> None:
    """Pystoi gives 1e-5 here, which would be averaged in as a very bad score."""
    click = np.zeros(32000)
    click[16000:16800] = speech_like()[2000:2800]
    with pytest.raises(ScoreError, match=r"less than the 0\.4 s of speech"):
        stoi(click, noisy(click))


def test_no_utterance() -> None:
    with pytest.raises(ScoreError, match="no utterance"):
        pesq_nb(1e-30 * speech_like(), noisy(speech_like()))  # PESQ scales both by the louder one


def test_long_signals_run_apart_and_score_the_same() -> None:
    clean = bursts(36)
    assert len(clean) > 20 * 16000
    assert pesq_nb(clean, noisy(clean)) == pesq_package.pesq(16000, clean, noisy(clean), "nb")


def test_more_utterances_than_pesq_has_room_for_are_a_reason_and_no_crash() -> None:
    clean = bursts(70)
    assert score(clean, noisy(clean), 16000, ["pesq_nb"])["pesq_nb"].reason.startswith("PESQ crashes: ")


@pytest.mark.parametrize(("metric", "package"), [(pesq_nb, "pesq"), (pesq_wb, "pesq"), (stoi, "pystoi")])
def test_a_missing_package_names_the_pip_line(metric, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, *rest: str):
        if name == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    clean = speech_like()
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed; .*pip install 'dynvae\[metrics\]'"):
        metric(clean, clean)
    scores = score(clean, noisy(clean), 16000)
    failed = {name for name, result in scores.items() if result.failed}
    assert failed == {name for name in METRICS if name.startswith(package.removeprefix("py")) or package[2:] in name}
    assert all("pip install" in scores[name].reason for name in failed)


def test_the_limit_for_running_here_is_below_fifty_shortest_utterances() -> None:
    """0.2 s of speech and 0.2 s of pause are the least that make an utterance of their own."""
    assert perceptual.PESQ_SAFE_SECONDS <= 50 * (50 + 50) * 0.004
