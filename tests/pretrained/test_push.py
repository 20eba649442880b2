"""``dynvae push``: a run becomes a repository whose card tells data, settings, numbers and licence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_hub import Hub

import dynvae
from dynvae.audio import FRONT_ENDS
from dynvae.cli import main
from dynvae.evaluation import fingerprint
from dynvae.models import DVAE, build

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:httpx2")  # of how huggingface_hub calls it

NAME = "some-one/tiny"


def summary(weights: DVAE, mode: str, **changes: Any) -> str:
    """What `dynvae evaluate` leaves."""
    scores = {
        "elbo": {"mean": 1409.44, "median": 1400.0, "low": None, "high": None, "n": 1, "failures": {}},
        "si_sdr": {"mean": 8.014, "median": 8.0, "low": 7.72, "high": 8.29, "n": 64, "failures": {}},
        "pesq_wb": {"mean": None, "median": None, "low": None, "high": None, "n": 0, "failures": {"silent": 64}},
    }
    settings = {"model": fingerprint(weights), "data": "/home/me/corpora/speech", "splits": ["test"], "mode": mode,
                "latents": "sample"}  # fmt: skip
    return json.dumps({"settings": {**settings, **changes}, "scores": scores})


@pytest.fixture
def model() -> DVAE:
    torch.manual_seed(1)
    made = build("vae", x_dim=FRONT_ENDS["32ms"].bins, z_dim=2, hidden=(4,))
    made.front_end = FRONT_ENDS["32ms"]
    return made


@pytest.fixture
def trained(model: DVAE, tmp_path: Path) -> Path:
    """The folder of a run, with the card that training writes, evaluated twice."""
    card = {"training": {"data": "/home/me/corpora/speech", "crops": 100}, "settings": {"lr": 0.002},
            "validation": {"elbo": 1409.4, "epoch": 58.0}}  # fmt: skip
    model.save_pretrained(tmp_path / "runs" / "tiny" / "model", card=card)
    for mode in ("teacher-forced", "generation"):
        folder = tmp_path / "runs" / "tiny" / "evaluation" / mode
        folder.mkdir(parents=True)
        changes = {} if mode == "generation" else {"latents": "mean"}
        (folder / "summary.json").write_text(summary(model, mode, **changes), encoding="utf-8")
    other = tmp_path / "runs" / "tiny" / "evaluation" / "other"
    other.mkdir()
    (other / "summary.json").write_text(summary(model, "teacher-forced", model="another"), encoding="utf-8")
    return tmp_path / "runs" / "tiny"


def test_a_run_is_published_with_all_that_is_known(server: Hub, trained: Path, capsys: Any) -> None:
    assert main(["push", str(trained), NAME, "--license", "mit", "--private", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "dynvae push: writes config.json, model.safetensors, README.md (0.0 MB, 2 evaluations"
    )
    assert captured.err.rstrip().endswith(f"to {NAME} on the hub (private, if it is new)")
    found = json.loads(captured.out)
    repository = server.repositories[NAME]
    assert repository.private
    files = repository.commits[found["commit"]]
    text = files["README.md"].decode()
    assert text == found["card"]
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "mit"
    assert header["library_name"] == "dynvae"
    assert header["pipeline_tag"] == "audio-to-audio"
    assert header["metrics"] == ["si_sdr"]
    (index,) = header["model-index"]
    assert index["name"] == NAME
    assert [result["task"]["name"].split(", ")[1] for result in index["results"]] == ["generation", "teacher-forced"]
    assert {"type": "si_sdr", "name": "SI-SDR (dB)", "value": 8.014} in index["results"][0]["metrics"]
    for line in ("| data | speech |", "| lr | 0.002 |", "| epoch | 58 |",
                 "| SI-SDR (dB): speech (test), generation, sample of the latents | 8.014 (95 % interval 7.72 to 8.29, "
                 "n = 64) |"):  # fmt: skip
        assert line in text
    assert "/home/me" not in text + files["config.json"].decode()
    assert dynvae.load(NAME).front_end == FRONT_ENDS["32ms"]


def test_the_card_is_one_that_the_hub_library_reads(server: Hub, trained: Path, capsys: Any) -> None:
    hub = pytest.importorskip("huggingface_hub")
    assert main(["push", str(trained), NAME, "--license", "mit", "--dry-run", "--json"]) == 0
    card = hub.ModelCard(json.loads(capsys.readouterr().out)["card"])
    assert card.data.license == "mit"
    assert {result.metric_type for result in card.data.eval_results} == {"elbo", "si_sdr"}
    assert not server.asked


def test_a_card_of_ones_own_wins(server: Hub, trained: Path, tmp_path: Path, capsys: Any) -> None:
    own = tmp_path / "card.yaml"
    own.write_text("license: cc-by-4.0\ntitle: Tiny\ndatasets: [me/speech]\nlimits: Only a test.\n", encoding="utf-8")
    assert main(["push", str(trained), NAME, "--card", str(own), "--revision", "trial", "--message", "first"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{server.url}/{NAME} (trial): commit ")
    assert out[1] == f'dynvae.load("{NAME}@trial") loads it'
    repository = server.repositories[NAME]
    text = repository.commits[repository.branches["trial"]]["README.md"].decode()
    assert "# Tiny\n" in text
    assert "## Limits\n\nOnly a test." in text
    assert "README.md" not in repository.commits[repository.branches["main"]]


def test_bundled_models_have_a_licence_already(server: Hub, capsys: Any) -> None:
    assert main(["push", "vae-speech", NAME, "--dry-run"]) == 0
    assert "license: cc-by-4.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "give a model and where to publish it"),
        (["runs/tiny", "tiny"], "a repository of the hub is called organisation/name, not 'tiny'"),
        (["runs/tiny", NAME], "a model is published under a licence; say which, as the hub spells it: --license mit"),
        (["runs/tiny", NAME, "--license", "mit", "--results", "runs/none"], "there is no evaluation of these weights"),
        (["runs/tiny", NAME, "--card", "none.yaml"], "--card none.yaml cannot be read as YAML: No such file"),
        (["runs/tiny", "somebody-else/tiny", "--license", "mit"], "the token may not write there"),
    ],
)
def test_bad_input_is_one_line(words: list[str], line: str, server: Hub, trained: Path, capsys: Any) -> None:
    assert main(["push", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert line in error
    assert error.startswith("dynvae push: ")


def test_damaged_weights_are_not_published(server: Hub, trained: Path, capsys: Any) -> None:
    weights = bytearray((trained / "model" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (trained / "model" / "model.safetensors").write_bytes(weights)
    assert main(["push", str(trained), NAME, "--license", "mit"]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert not server.asked
