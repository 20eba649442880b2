"""The front end: the published spectra, and back again without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynvae.audio import FRONT_ENDS, FrontEnd, read_audio
from dynvae.errors import ConfigError

SMALL = [FrontEnd(window_length=64, hop_length=16), FrontEnd(window_length=64, hop_length=32, pad_mode="reflect")]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


@pytest.mark.parametrize(("name", "file"), [("64ms", "input_s_1024_256.npz"), ("32ms", "input_s_512_256.npz")])
def test_published_spectra(shared: Path, name: str, file: str) -> None:
    folder = shared / "reference" / "dvae"
    waveform, rate = read_audio(folder / "s.wav")
    assert rate == 16000
    power = FRONT_ENDS[name].power(torch.from_numpy(waveform / np.abs(waveform).max()))
    expected = np.load(folder / file)["power"].T
    assert power.shape == expected.shape
    np.testing.assert_allclose(power.numpy(), expected, rtol=1e-4, atol=1e-7 * expected.max())


def test_it_is_the_definition() -> None:
    front_end = FrontEnd(window_length=16, hop_length=4)
    x = noise(50, dtype=torch.float64)
    spectrum = front_end.stft(x)
    assert spectrum.shape == (front_end.frames(50), front_end.bins) == (13, 9)
    t, f, n = 5, 3, np.arange(16)
    window = np.sin(np.pi * (n + 0.5) / 16)
    frame = x.numpy()[t * 4 - 8 : t * 4 + 8]
    expected = (window * frame * np.exp(-2j * np.pi * f * n / 16)).sum()
    assert abs(spectrum[t, f].item() - expected) < 1e-12
    torch.testing.assert_close(front_end.power(x), spectrum.abs().square())


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_it_equals_torch_stft(name: str, pad_mode: str) -> None:
    front_end = FrontEnd(**FRONT_ENDS[name].to_dict() | {"pad_mode": pad_mode})
    x = noise(2, 9000, dtype=torch.float64)
    expected = torch.stft(
        x, front_end.window_length, front_end.hop_length, window=front_end.window(x), pad_mode=pad_mode,
        return_complex=True,
    ).mT  # fmt: skip
    torch.testing.assert_close(front_end.stft(x), expected)


@settings(max_examples=60, deadline=None)
@given(samples=st.integers(0, 400), which=st.integers(0, 1))
def test_exact_inverse_of_any_length(samples: int, which: int) -> None:
    front_end = SMALL[which]
    x = noise(2, samples, seed=samples, dtype=torch.float64)
    spectrum = front_end.stft(x)
    assert spectrum.shape == (2, front_end.frames(samples), front_end.bins)
    back = front_end.istft(spectrum, length=samples)
    assert back.shape == x.shape
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FRONT_ENDS)
@pytest.mark.parametrize("samples", [256, 12800, 76800])
def test_inverse_in_single_precision(name: str, samples: int) -> None:
    front_end = FRONT_ENDS[name]
    x = noise(samples)
    assert (front_end.istft(front_end.stft(x), length=samples) - x).abs().max() <= 1e-6
    assert (front_end.istft(front_end.stft(x)) - x).abs().max() <= 1e-6  # whole hops need no length


@pytest.mark.parametrize("samples", [1, 255, 12801, 12900, 13055])
def test_inverse_in_single_precision_of_odd_lengths(samples: int) -> None:
    x = noise(samples)
    wide, narrow = FRONT_ENDS["64ms"], FRONT_ENDS["32ms"]
    assert (wide.istft(wide.stft(x), length=samples) - x).abs().max() <= 1e-6
    # One frame alone sees the last samples, by the tail of its window: rounding weighs more.
    assert (narrow.istft(narrow.stft(x), length=samples) - x).abs().max() <= 5e-5


@pytest.mark.parametrize("front_end", SMALL)
def test_batches_dtypes_gradients_and_silence(front_end: FrontEnd) -> None:
    x = noise(3, 2, 200)
    power = front_end.power(x)
    assert power.dtype == torch.float32
    assert front_end.power(x.double()).dtype == torch.float64
    for i in range(3):
        assert torch.equal(front_end.power(x[i, 1]), power[i, 1])  # one call for many gives the same bits
    assert front_end.istft(front_end.stft(x), 200).shape == x.shape
    silence = torch.zeros(200)
    assert torch.equal(front_end.power(silence), torch.zeros(front_end.frames(200), front_end.bins))
    assert torch.equal(front_end.istft(front_end.stft(silence), 200), silence)
    y = x[0, 0].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: front_end.power(w[:40]), (y,))


def test_frames_of_a_part_are_those_of_the_whole() -> None:
    front_end = FRONT_ENDS["64ms"]
    x = noise(20000)
    whole = front_end.stft(x)
    padded = front_end.pad(x)
    part = front_end.transform(padded[10 * 256 : 10 * 256 + 4 * 256 + 1024])
    assert torch.equal(part, whole[10:15])


def test_settings_survive_a_dictionary() -> None:
    front_end = FrontEnd(window_length=512, hop_length=128, trim_db=None, normalize="none")
    assert FrontEnd.from_dict(front_end.to_dict()) == front_end
    with pytest.raises(ConfigError, match="unknown setting 'hop'"):
        FrontEnd.from_dict({"hop": 3})


@pytest.mark.parametrize(
    "wrong",
    [{"window_length": 0}, {"window_length": 511}, {"hop_length": 600}, {"hop_length": True}, {"sample_rate": -1},
     {"window_length": 512.0}, {"pad_mode": "zeros"}, {"normalize": "rms"}, {"trim_db": -3}, {"trim_db": float("nan")}],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="front end") as error:
        FrontEnd(**wrong)
    assert "\n" not in str(error.value)


def test_wrong_spectra_are_refused() -> None:
    front_end = SMALL[0]
    with pytest.raises(ConfigError, match="9 bins"):
        front_end.istft(torch.zeros(5, 9, dtype=torch.complex64))
    with pytest.raises(ConfigError, match="at most 96 samples"):
        front_end.istft(torch.zeros(5, 33, dtype=torch.complex64), length=97)
