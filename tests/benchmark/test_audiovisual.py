"""The audio-visual benchmark from a small corpus to its page, and its statistics on numbers that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dynvae.audio import write_audio
from dynvae.benchmark.audiovisual import run_audiovisual
from dynvae.benchmark.audiovisual_config import AVConfig
from dynvae.benchmark.audiovisual_table import findings, gain, scores_csv, tables_text
from dynvae.cli import main
from dynvae.errors import ConfigError, DataError
from dynvae.training import TrainConfig
from dynvae.video import Lips


def known(config: AVConfig, added: dict[tuple[str, str], float], clips: int = 6) -> dict:
    """Scores of clips: the noisy one is the ratio, a row adds a number; clips and seeds differ by little."""
    values: dict = {}
    rows = {("noisy", "none"): 0.0, **added}
    for (row, video), plus in rows.items():
        for seed in (0,) if row == "noisy" else config.seeds:
            values[row, video, seed] = {
                f"c{clip}.wav + noise{clip} {snr:g} dB": {
                    "energy": 1.0,
                    "scores": {"si_sdr": snr + plus + (0.1 * (clip % 3 - 1) + 0.01 * seed) * (row != "noisy")},
                    "reasons": {},
                }
                for clip in range(clips)
                for snr in config.snrs
            }
    return values


def plan(**changes: object) -> AVConfig:
    settings = {"rows": ("a-vae", "av-cvae", "vae-mm"), "metrics": ("si_sdr",), "swapped": ("av-cvae",)}
    return AVConfig("data", "noise", "out", **{**settings, **changes})  # type: ignore[arg-type]


def test_gains_and_differences_of_known_numbers() -> None:
    config = plan()
    values = known(config, {
        ("a-vae", "none"): 3.0, ("av-cvae", "clean"): 5.0, ("av-cvae", "spoilt"): 2.0, ("av-cvae", "swapped"): 4.0,
        ("vae-mm", "clean"): 5.0, ("vae-mm", "spoilt"): 4.5,
    })  # fmt: skip
    found = gain(config, values, "av-cvae", "clean", "si_sdr", -10.0)
    assert found.mean == pytest.approx(5.005)
    assert found.n == 6
    assert found.low is not None
    assert 4.8 < found.low < 5.005
    told = {finding.text: finding for finding in findings(config, values)}
    assert told["AV-CVAE over A-VAE"].low.mean == pytest.approx(2.0)
    assert told["AV-CVAE: another clip's lips against its own"].high.mean == pytest.approx(-1.0)
    assert told["AV-CVAE: spoilt against clean lips"].seeds == pytest.approx((-3.0, -3.0))
    assert told["VAE-MM over AV-CVAE, spoilt lips"].low.mean == pytest.approx(2.5)
    text = tables_text(config, values)
    assert "| A-VAE |  | +3.01 ± 0.07 |" in text
    assert "Noisy: −10.00 at −10 dB" in text
    lines = scores_csv(config, values).splitlines()
    assert lines[0] == "method,video,seed,pair,snr,si_sdr,energy"
    assert len(lines) == 1 + 30 + 2 * 6 * 30


def test_a_score_that_is_missing_is_left_out_of_both_sides() -> None:
    config = plan(rows=("a-vae",), seeds=(0,), snrs=(0.0,), swapped=())
    values = known(config, {("a-vae", "none"): 3.0})
    del values["a-vae", "none", 0]["c1.wav + noise1 0 dB"]["scores"]["si_sdr"]
    assert gain(config, values, "a-vae", "none", "si_sdr").n == 5


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": ("av-cave",)}, "there is no row 'av-cave'; did you mean 'av-cvae'"),
        ({"metrics": ("loudness",)}, "there is no metric"),
        ({"corruption": "fog"}, "there is no corruption 'fog'"),
        ({"seeds": ()}, "nothing to compare"),
        ({"limit": 1}, "a limit two or more"),
        ({"share": 0.0}, "share"),
    ],
)
def test_wrong_settings(changes: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        plan(**changes)


def corpus(folder: Path, clips: int = 7) -> tuple[str, str]:
    """Clips whose lips tell the level of the sound, and noise."""
    random = np.random.default_rng(0)
    (folder / "noise").mkdir(parents=True)
    rows = ["path,split"]
    for index in range(clips):
        level = np.exp(random.normal(0, 1.5, 25)).repeat(640)
        sound = 0.02 * level * np.convolve(random.standard_normal(16000), [0.5, 0.5], "same")
        write_audio(folder / f"{index}.wav", sound.clip(-1, 1), 16000)
        picture = np.clip(128 + 40 * np.log(level[::640]), 0, 255).astype(np.uint8)
        Lips.at_rate(picture[:, None].repeat(4489, 1), 25).save(folder / f"{index}.npz")
        rows.append(f"{index}.wav,{('train', 'train', 'train', 'valid', 'test', 'test', 'test')[index]}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    for split in ("train", "valid", "test"):
        write_audio(folder / "noise" / f"{split}.wav", 0.1 * random.standard_normal(8000), 16000)
    (folder / "noise" / "manifest.csv").write_text("path,split\n" + "".join(f"{s}.wav,{s}\n" for s in
                                                                             ("train", "valid", "test")))  # fmt: skip
    return str(folder), str(folder / "noise")


SMALL = {
    "snrs": (-5.0, 5.0), "metrics": ("si_sdr",), "iterations": 2, "seeds": (0,),
    "model": {"z_dim": 2, "hidden": [8]}, "view": {"v_dim": 9, "v_hidden": [4]}, "front_end": "32ms",
    "train": TrainConfig(epochs=1, frames=20, batch_size=4, alpha=0.1, executor="plain"),
}  # fmt: skip


def test_from_a_corpus_to_a_page_and_nothing_twice(tmp_path: Path) -> None:
    data, noise = corpus(tmp_path / "data")
    config = AVConfig(data, noise, str(tmp_path / "out"), rows=("a-vae", "av-cvae", "sw-vae"), swapped=("av-cvae",),
                      **SMALL)  # type: ignore[arg-type]  # fmt: skip
    told: list[str] = []
    measured = run_audiovisual(config, told.append)
    assert measured.page.is_file()
    assert (tmp_path / "out" / "plots" / "gain-si_sdr.png").is_file()
    assert {path.name for path in (tmp_path / "out" / "runs").iterdir()} == {"vae-seed0", "av-cvae-seed0"}
    assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) == 1 + 6 * (1 + 1 + 3 + 2)
    assert "| Sw-VAE | spoilt |" in measured.tables
    assert "AV-CVAE: another clip's lips against its own" in measured.findings
    assert "| av-cvae | 0 | " in measured.findings
    assert "| vae | 0 | " not in measured.findings
    before = (tmp_path / "out" / "scores.csv").read_bytes()
    told.clear()
    run_audiovisual(config, told.append)
    assert (tmp_path / "out" / "scores.csv").read_bytes() == before
    assert not any("trained" in line for line in told)
    other = AVConfig(data, noise, str(tmp_path / "out"), rows=("a-vae",), **{**SMALL, "model": {"z_dim": 3}})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="was trained with other settings"):
        run_audiovisual(other, told.append)


def test_clips_without_lips_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, noise = corpus(tmp_path / "data")
    (tmp_path / "data" / "5.npz").unlink()
    with pytest.raises(DataError, match=r"5\.wav has no lips"):
        run_audiovisual(AVConfig(data, noise, str(tmp_path / "out"), **SMALL))  # type: ignore[arg-type]
    assert main(["benchmark", "audiovisual", "--data", data, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told == "dynvae benchmark audiovisual: give --noise; dynvae benchmark audiovisual --help tells the options\n"
