"""``dynvae resynthesize``: what comes out has the form of what went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sound_toys import saved_model, speech_folder, speech_like

from dynvae.audio import FrontEnd
from dynvae.cli import main
from dynvae.distributions import ComplexGaussian
from dynvae.evaluation import resynthesize_waveform
from dynvae.metrics import si_sdr
from dynvae.models import VAE


class Copy(VAE):
    """A model that knows every frame."""

    def likelihood(self, latents, x, lengths=None, seen=None):
        return ComplexGaussian((x + 1e-12).log(), floor=0.0)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(saved_model(tmp_path / "model"))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 100, 128, 20001])
def test_a_perfect_model_gives_every_recording_back(rate: int, samples: int) -> None:
    """Rate, length, level and channels; what is lost is the band above the model's."""
    copy = Copy(x_dim=129, z_dim=2)
    copy.front_end = FrontEnd(window_length=256, hop_length=128)
    channel = np.convolve(np.random.default_rng(0).standard_normal(samples), np.hanning(64), "same").astype(np.float32)
    waveform = np.stack([channel - channel.mean(), 1e-3 * (channel - channel.mean())])
    passed = resynthesize_waveform(copy, waveform, rate).waveform
    assert passed.shape == waveform.shape
    assert passed.dtype == np.float32
    if samples > 1000:
        for before, after in zip(waveform, passed, strict=True):
            assert si_sdr(before, after) > 40
            assert np.std(after) == pytest.approx(np.std(before), rel=0.01)


def test_rate_channels_length_and_format_are_kept(model: str, tmp_path: Path, capsys) -> None:
    stereo = np.stack([speech_like(0.5, rate=44100), 0.1 * speech_like(0.5, 1, rate=44100)], axis=1)
    soundfile.write(tmp_path / "stereo ü.flac", stereo, 44100, subtype="PCM_24")
    assert main(["resynthesize", model, str(tmp_path / "stereo ü.flac"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.out.strip() == str(tmp_path / "out" / "stereo ü.wav")
    assert "44100 Hz, resampled to the model's 16000 Hz and back" in told.err
    info = soundfile.info(tmp_path / "out" / "stereo ü.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (44100, 2, len(stereo), "PCM_24")


def test_a_folder_keeps_its_structure_and_the_seed_decides(model: str, tmp_path: Path) -> None:
    data = speech_folder(tmp_path / "data", 2)
    for out, seed in [("a", "0"), ("b", "0"), ("c", "1")]:
        assert main(["resynthesize", model, str(data), "--out", str(tmp_path / out), "--seed", seed]) == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.wav"))
    assert [path.as_posix() for path in files] == ["test/speaker0/file 0 ü.wav", "test/speaker1/file 1 ü.wav"]
    first, second, other = ((tmp_path / out / files[0]).read_bytes() for out in "abc")
    assert first == second != other


def test_modes_and_latents_are_passed_on(model: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", speech_like(0.3), 16000)
    results = set()
    for index, options in enumerate([[], ["--mode", "generation"], ["--latents", "mean"]]):
        out = tmp_path / str(index)
        assert main(["resynthesize", model, str(tmp_path / "a.wav"), "--out", str(out), *options]) == 0
        results.add((out / "a.wav").read_bytes())
    assert len(results) == 3


def test_silence_stays_silence(model: str, tmp_path: Path, capsys) -> None:
    sound = np.stack([np.zeros(8000), speech_like(0.5), np.full(8000, 0.2)], axis=1)
    soundfile.write(tmp_path / "half.wav", sound, 16000)
    assert main(["resynthesize", model, str(tmp_path / "half.wav"), "--out", str(tmp_path / "out")]) == 0
    assert "channel 1, 3 is silent, and stays so" in capsys.readouterr().err
    passed, _ = soundfile.read(tmp_path / "out" / "half.wav")
    assert not passed[:, 0].any()
    assert passed[:, 1].any()
    assert not passed[:, 2].any()


def test_beyond_full_scale_is_not_clipped(model: str, tmp_path: Path, capsys, monkeypatch) -> None:
    def loud(model, waveform, rate, **options):
        result = resynthesize_waveform(model, waveform, rate, **options)
        return result._replace(waveform=3 * waveform)

    monkeypatch.setattr("dynvae.cli.resynthesize.resynthesize_waveform", loud)
    sound = speech_like(0.3) / np.abs(speech_like(0.3)).max()
    soundfile.write(tmp_path / "loud.wav", sound, 16000)
    assert main(["resynthesize", model, str(tmp_path / "loud.wav"), "--out", str(tmp_path / "out")]) == 0
    assert "written as 32-bit float" in capsys.readouterr().err
    passed, _ = soundfile.read(tmp_path / "out" / "loud.wav")
    assert np.abs(passed).max() == pytest.approx(3, abs=0.01)


def test_the_plot(model: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "costs $5 $6.wav", speech_like(0.3), 16000)
    assert main(["resynthesize", model, str(tmp_path / "costs $5 $6.wav"), "--out", str(tmp_path), "--plot"]) == 2
    out = tmp_path / "out"
    assert main(["resynthesize", model, str(tmp_path / "costs $5 $6.wav"), "--out", str(out), "--plot"]) == 0
    assert (out / "costs $5 $6.png").read_bytes().startswith(b"\x89PNG")


def test_bad_files_do_not_keep_the_others_from_passing(model: str, tmp_path: Path, capsys) -> None:
    data = speech_folder(tmp_path / "data", 1)
    (data / "broken.wav").write_bytes(b"RIFF0000WAVE")
    soundfile.write(data / "nan.wav", np.full(4000, np.nan), 16000, subtype="FLOAT")
    assert main(["resynthesize", model, str(data), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert "broken.wav: " in told.err
    assert "nan.wav: 4000 samples are NaN" in told.err
    assert told.err.strip().endswith("2 of 3 files could not be passed")


def test_user_errors_are_one_line(model: str, tmp_path: Path, capsys) -> None:
    def failing(*arguments: str) -> str:
        assert main(["resynthesize", *arguments]) == 2
        told = capsys.readouterr()
        assert len(told.err.strip().splitlines()) == 1, told.err
        return told.err

    sound = tmp_path / "a.wav"
    soundfile.write(sound, speech_like(0.3), 16000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    soundfile.write(tmp_path / "other" / "a.flac", speech_like(0.3), 16000)
    out = ("--out", str(tmp_path / "out"))
    assert "no model or folder" in failing("nowhere", str(sound), *out)
    assert "no such file or folder" in failing(model, str(tmp_path / "missing.wav"), *out)
    assert "no sound files in this folder" in failing(model, str(tmp_path / "empty"), *out)
    assert "would be overwritten" in failing(model, str(sound), "--out", str(tmp_path))
    assert "would both become" in failing(model, str(sound), str(tmp_path / "other" / "a.flac"), *out)
    assert "no setting '--plots'" in failing(model, str(sound), "--plots", *out)
    assert sound.stat().st_size == (tmp_path / "a.wav").stat().st_size
    assert not (tmp_path / "out").exists()


def test_tensors_stay_where_they_were(model: str) -> None:
    """The caller's array is not written to."""
    copy = Copy(x_dim=129, z_dim=2)
    copy.front_end = FrontEnd(window_length=256, hop_length=128)
    waveform = speech_like(0.3).astype(np.float32)
    before = waveform.copy()
    resynthesize_waveform(copy, waveform, 16000)
    assert np.array_equal(waveform, before)
    assert torch.is_grad_enabled()
