"""The mask network: padding, the likelihood that is its loss, its folder, and a run that learns."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import dynvae
from dynvae.audio import FrontEnd
from dynvae.audio.mixing import mix
from dynvae.baselines import Filter, MaskNetwork, load_mask
from dynvae.baselines.mask import magnitudes
from dynvae.cli import main
from dynvae.errors import CheckpointError, ConfigError
from dynvae.training import TrainConfig
from dynvae.training.mask import train_mask


def small(seed: int = 0) -> MaskNetwork:
    torch.manual_seed(seed)
    network = MaskNetwork(129, hidden=8, layers=2)
    network.front_end = FrontEnd(window_length=256, hop_length=128)
    return network.eval()


def test_padding_reaches_nothing() -> None:
    network, x = small().double(), torch.rand(2, 9, 129, dtype=torch.float64)
    together = network(x, torch.tensor([9, 5]))
    assert torch.allclose(together[1, :5], network(x[1:, :5])[0], atol=1e-12)
    assert not together[1, 5:].any()
    pair = torch.cat([x, 2 * x], -1)
    bound, alone = network.elbo(pair, torch.tensor([9, 5])), network.elbo(pair[1:, :5])
    assert torch.allclose(bound.total[1], alone.total[0])
    network.train()  # the statistics of a batch are those of its valid frames
    spoilt = x.clone()
    spoilt[1, 5:] = 1e3
    torch.manual_seed(0)
    one = network(x, torch.tensor([9, 5]))
    torch.manual_seed(0)
    assert torch.allclose(one, network(spoilt, torch.tensor([9, 5])))


def test_the_bound_is_the_gaussian_log_likelihood() -> None:
    network, noisy, clean = small(), torch.rand(1, 4, 129), torch.rand(1, 4, 129)
    law = torch.distributions.Normal(network(noisy) * noisy, math.sqrt(0.5))
    bound = network.elbo(torch.cat([noisy, clean], -1))
    assert torch.allclose(bound.log_likelihood, law.log_prob(clean).sum(-1), atol=1e-3)
    assert not bound.kl.any()


def test_magnitudes_of_white_noise_have_a_mean_square_of_one() -> None:
    front_end = FrontEnd()
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert float(magnitudes(front_end.power(noise), front_end).square().mean()) == pytest.approx(1, rel=0.05)


def test_inputs_begin_standardised() -> None:
    network = small()
    network.standardise(torch.full((129,), 3.0), torch.full((129,), 2.0))
    shown = (torch.tensor([5.0]) + network.input_shift[:1]) * network.input_scale[:1]
    assert float(shown.detach()) == pytest.approx(1.0)


@pytest.mark.parametrize("sizes", [{"hidden": 7}, {"layers": 0}, {"dropout": 1.5}])
def test_sizes_out_of_range(sizes: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        MaskNetwork(129, **sizes)  # type: ignore[arg-type]


def test_its_folder(tmp_path: Path) -> None:
    network = small()
    dynvae.save(network, tmp_path / "mask", card={"license": "mit"})  # type: ignore[arg-type]
    again = load_mask(tmp_path / "mask")
    assert not again.training
    wave = np.random.default_rng(0).normal(size=3000)
    assert np.array_equal(Filter(again)(wave, 16000), Filter(network)(wave, 16000))
    assert "load_mask" in (tmp_path / "mask" / "README.md").read_text(encoding="utf-8")
    with pytest.raises(CheckpointError, match="there is no model 'mask'"):
        dynvae.load(tmp_path / "mask")
    config = json.loads((tmp_path / "mask" / "config.json").read_text())
    config["arguments"]["layers"] = 10**6
    (tmp_path / "mask" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="layers"):
        load_mask(tmp_path / "mask")


# ---- training ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs: noise of low frequencies that comes and goes, in noise of high ones."""
    root = tmp_path_factory.mktemp("pairs")
    time = np.arange(12000) / 16000
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clean", "noisy", "split", "speaker"])
        for index in range(6):
            random = np.random.default_rng(index)
            speech = 0.1 * np.convolve(random.normal(size=12000), np.ones(12), "same") * np.sin(2 * np.pi * time) ** 2
            noise = np.diff(random.normal(size=12002), 2)
            for name, wave in (("clean", speech), ("noisy", mix(speech, noise, 0.0))):
                (root / name).mkdir(exist_ok=True)
                soundfile.write(root / name / f"{index} ü.wav", wave, 16000, subtype="FLOAT")
            split = "valid" if index == 4 else "test" if index == 5 else "train"
            writer.writerow([f"clean/{index} ü.wav", f"noisy/{index} ü.wav", split, f"s{index}"])
    return root


SETTINGS = TrainConfig(frames=20, batch_size=4, epochs=20, lr=0.005, warmup_steps=0, validate_every=5, patience=0)
NETWORK = {"hidden": 16, "layers": 1}


def test_a_run_learns_and_goes_on(pairs: Path, tmp_path: Path) -> None:
    outcome = train_mask(data=pairs, out=tmp_path / "run", model=NETWORK, front_end="32ms", train=SETTINGS)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    errors = [-float(row["valid_log_likelihood"]) - 257 * 0.5 * math.log(math.pi) for row in rows]
    assert outcome.best["kl"] == 0
    assert errors[-1] < 0.8 * errors[0]
    network = load_mask(tmp_path / "run")
    clean, noisy = (soundfile.read(pairs / kind / "5 ü.wav")[0] for kind in ("clean", "noisy"))
    still = Filter(network)(noisy, 16000)
    assert np.square(still - clean).mean() < 0.5 * np.square(noisy - clean).mean()
    half = TrainConfig(**{**vars(SETTINGS), "max_steps": outcome.step // 2})
    train_mask(data=pairs, out=tmp_path / "halves", model=NETWORK, front_end="32ms", train=half)
    again = train_mask(
        data=pairs, out=tmp_path / "halves", model=NETWORK, front_end="32ms", train=SETTINGS, resume=True
    )
    assert again.step == outcome.step


def test_the_command(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = ["train", "mask", "--data", str(pairs), "--out", str(out), "--model.hidden", "8", "--model.layers", "1"]
    words += ["--train.epochs", "1", "--train.frames", "20", "--train.batch_size", "4", "--front-end", "32ms"]
    assert main(words) == 0
    assert "validation log-likelihood" in capsys.readouterr().out
    assert main(["train", "mask", "--out", str(out), "--resume", "--train.epochs", "2"]) == 0
    assert "snr:" in (out / "config.yaml").read_text()


def test_speech_and_noise_are_mixed_on_the_way(pairs: Path, tmp_path: Path) -> None:
    for name in ("speech", "noise"):
        for index, split in enumerate(("train", "train", "valid")):
            path = tmp_path / name / split / f"s{index}" / "a.wav"
            path.parent.mkdir(parents=True)
            kind = "clean" if name == "speech" else "noisy"
            path.write_bytes((pairs / kind / f"{index} ü.wav").read_bytes())
    config = TrainConfig(**{**vars(SETTINGS), "epochs": 1, "validate_every": 1})
    outcome = train_mask(data=tmp_path / "speech", noise=tmp_path / "noise", snr=(0.0, 10.0), out=tmp_path / "run",
                         model=NETWORK, front_end="32ms", train=config)  # fmt: skip
    assert math.isfinite(outcome.best["objective"])


def test_a_ratio_that_is_none(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lowest and the highest"):
        train_mask(data=pairs, out=tmp_path, snr=(5.0, -5.0))
