"""Training on sound files: spectra made in the step, the store of prepared sound, files that are bad."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training_run import assert_equal, final_state, rows
from training_toys import toy_config, toy_model

from dynvae.audio import FrontEnd, write_audio
from dynvae.data import Corpus, Crops, Utterances, collate
from dynvae.errors import AudioError, ConfigError
from dynvae.training import TrainingData, fit, train
from dynvae.training.loaders import Sound

FRONT_END = FrontEnd(window_length=10, hop_length=5)  # the six bins of the toys
SMALL: dict[str, Any] = {"model": {"hidden": (8,), "z_dim": 2}, "front_end": "32ms"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six noises, two of them for validation and one of them shorter than a crop."""
    for index, samples in enumerate((9000, 5000, 12000, 40, 8000, 6000)):
        sound = np.random.default_rng(index).uniform(-0.5, 0.5, samples)
        split = "valid" if index > 3 else "train"
        write_audio(tmp_path / "corpus" / split / f"s{index}" / "noise.wav", sound, 16000)
    return tmp_path / "corpus"


def sound(corpus: Path, wrap: Any = Sound) -> TrainingData:
    opened = Corpus.open(corpus)
    utterances = Utterances(opened.split("valid"), FRONT_END)
    crops = Crops(opened.split("train"), FRONT_END, frames=12)
    return TrainingData(wrap(crops), wrap(utterances), utterances.lengths, collate)


def model() -> Any:
    made = toy_model(dropout=0.2)
    made.front_end = FRONT_END
    return made


CONFIG: dict[str, Any] = {"batch_size": 64, "epochs": 3, "validate_every": 0.5}


def test_spectra_of_the_step_are_those_of_the_data(corpus: Path, tmp_path: Path) -> None:
    fit(model(), sound(corpus), tmp_path / "step", toy_config(**CONFIG))
    fit(model(), sound(corpus, wrap=lambda data: data), tmp_path / "data", toy_config(**CONFIG))
    assert rows(tmp_path / "step") == rows(tmp_path / "data")
    assert_equal(final_state(tmp_path / "step")["model"], final_state(tmp_path / "data")["model"])


class Stopping(Sound):
    """Asks the process to stop, once, when the eighth batch is fetched."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.fetched = 0

    def __getitems__(self, indices: list[Any]) -> Any:
        self.fetched += 1
        if self.fetched == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().__getitems__(indices)


def test_a_resumed_run_on_sound_equals_the_uninterrupted_one_to_the_last_bit(corpus: Path, tmp_path: Path) -> None:
    fit(model(), sound(corpus), tmp_path / "whole", toy_config(**CONFIG))
    outcome = fit(model(), sound(corpus, Stopping), tmp_path / "two", toy_config(**CONFIG))
    assert outcome.signum == signal.SIGTERM
    assert 0 < outcome.step < 18
    fit(model(), sound(corpus), tmp_path / "two", toy_config(**CONFIG), resume=True)
    assert rows(tmp_path / "two") == rows(tmp_path / "whole")
    for part in ("model", "optimizer"):
        assert_equal(final_state(tmp_path / "two")[part], final_state(tmp_path / "whole")[part])


def test_the_optimizer_is_fused(tmp_path: Path, corpus: Path) -> None:
    fit(model(), sound(corpus), tmp_path, toy_config(max_steps=1))
    assert final_state(tmp_path)["optimizer"]["param_groups"][0]["fused"] is True


def test_sound_needs_a_front_end(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no front end"):
        fit(toy_model(), sound(corpus), tmp_path, toy_config())


def test_the_store_changes_nothing_for_16_bits(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNVAE_CACHE", str(tmp_path / "cache"))
    for stores, cache in ((0, "none"), (2, "exact"), (4, "int16")):
        config = toy_config(max_steps=4)
        train("vae", data=corpus, out=tmp_path / cache, train=config, cache=cache, **SMALL)  # type: ignore[arg-type]
        assert len(list((tmp_path / "cache").rglob("samples"))) == stores
        assert rows(tmp_path / cache) == rows(tmp_path / "none")


def test_bad_files_stop_a_training_or_are_left_out(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = corpus / "train" / "s0" / "empty.wav"
    bad.write_bytes(b"")
    (corpus / "valid" / "s4" / "text.wav").write_text("no sound")
    write_audio(corpus / "valid" / "s4" / "silent.wav", np.zeros(4000), 16000)
    config = toy_config(max_steps=2)
    with pytest.raises(AudioError, match=r"empty\.wav"):
        train("vae", data=corpus, out=tmp_path / "run", train=config, **SMALL)
    outcome = train("vae", data=corpus, out=tmp_path / "run", train=config, on_bad="skip", **SMALL)
    assert outcome.step == 2
    assert f"{bad}: the file is empty (0 bytes)" in caplog.text
    assert "text.wav: not a sound file" in caplog.text
    assert "silent.wav: silence" in caplog.text
    bad.unlink()
    (corpus / "valid" / "s4" / "text.wav").unlink()
    with caplog.at_level(logging.WARNING):
        train("vae", data=corpus, out=tmp_path / "clean", train=config, **SMALL)
    assert rows(tmp_path / "clean") == rows(tmp_path / "run")
