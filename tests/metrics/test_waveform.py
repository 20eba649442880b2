"""RMSE and SI-SDR: their definitions, other packages' numbers, and what must not change them."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from dynvae.errors import AudioError
from dynvae.metrics import ScoreError, rmse, si_sdr


def pair(seed: int = 0, noise: float = 0.3, samples: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    clean = np.sin(0.05 * np.arange(samples)) * random.random()
    return clean, clean + noise * random.standard_normal(samples)


@pytest.mark.parametrize("noise", [0.001, 0.1, 1.0, 30.0])
def test_si_sdr_equals_torchmetrics(noise: float) -> None:
    clean, noisy = pair(1, noise)
    theirs = scale_invariant_signal_distortion_ratio(torch.tensor(noisy), torch.tensor(clean), zero_mean=False)
    assert si_sdr(clean, noisy) == pytest.approx(theirs.item(), abs=1e-9)


def test_si_sdr_equals_bss_eval_with_a_gain_alone() -> None:
    """BSS Eval's image-free SDR allows a filter of 512 taps; on a white reference it tends to the gain alone."""
    random = np.random.default_rng(2)
    clean = random.standard_normal(200_000)
    noisy = 0.5 * clean + 0.2 * random.standard_normal(200_000)
    with pytest.warns(FutureWarning):
        theirs = mir_eval.separation.bss_eval_sources(clean, noisy, compute_permutation=False)[0][0]
    assert si_sdr(clean, noisy) == pytest.approx(theirs, abs=0.05)


def test_si_sdr_keeps_the_mean() -> None:
    clean, noisy = pair(3)
    assert si_sdr(clean + 1, noisy + 1) > si_sdr(clean, noisy) + 3


@pytest.mark.parametrize("metric", [rmse, si_sdr])
@pytest.mark.parametrize("gains", [(1e-4, 1.0), (1.0, 3e3), (-2.0, 5.0)])
def test_level_and_sign_do_not_matter(metric, gains: tuple[float, float]) -> None:
    clean, noisy = pair(4)
    assert metric(gains[0] * clean, gains[1] * noisy) == pytest.approx(metric(clean, noisy), abs=1e-9)


def test_the_two_say_the_same_of_the_angle_between_signals() -> None:
    """With cos² = ρ: SI-SDR = 10 log10(ρ / (1 - ρ)), RMSE = rms(s) sqrt(1 - ρ) / peak(s)."""
    clean, noisy = pair(5)
    ratio = 10 ** (si_sdr(clean, noisy) / 10)
    expected = np.sqrt(np.mean(clean**2) / (1 + ratio)) / np.abs(clean).max()
    assert rmse(clean, noisy) == pytest.approx(expected, rel=1e-9)


def test_a_sample_out_of_step_costs_much() -> None:
    speech = np.convolve(np.random.default_rng(6).standard_normal(8000), np.ones(4))
    assert si_sdr(speech[1:], speech[:-1]) < 5


def test_perfect_and_orthogonal_are_finite() -> None:
    clean, _ = pair(7)
    assert rmse(clean, 0.1 * clean) < 1e-12
    assert si_sdr(clean, clean) == pytest.approx(156.5, abs=0.1)
    assert si_sdr([1.0, 0.0], [0.0, 1.0]) == pytest.approx(-156.5, abs=0.1)


def test_float32_and_tensors_are_taken() -> None:
    clean, noisy = pair(8)
    assert si_sdr(torch.tensor(clean).float(), noisy.astype(np.float32)) == pytest.approx(
        si_sdr(clean, noisy), abs=1e-4
    )


@pytest.mark.parametrize("metric", [rmse, si_sdr])
@pytest.mark.parametrize(
    ("reference", "estimate", "reason"),
    [
        ([0.0, 0.0], [1.0, 2.0], "the reference is silent"),
        ([1.0, 2.0], [0.0, 0.0], "the estimate is silent"),
        ([1.0, np.nan], [1.0, 2.0], "NaN or infinite samples in the reference"),
        ([1.0, 2.0], [np.inf, 2.0], "NaN or infinite samples in the estimate"),
        ([], [], "the signals are empty"),
    ],
)
def test_no_number_where_there_is_none(metric, reference: list[float], estimate: list[float], reason: str) -> None:
    with pytest.raises(ScoreError, match=reason):
        metric(reference, estimate)


@pytest.mark.parametrize("metric", [rmse, si_sdr])
def test_signals_must_be_two_waveforms_of_one_length(metric) -> None:
    with pytest.raises(AudioError, match=r"one length.*\(3,\) and \(2,\)"):
        metric(np.ones(3), np.ones(2))
    with pytest.raises(AudioError, match="mono"):
        metric(np.ones((2, 3)), np.ones((2, 3)))
