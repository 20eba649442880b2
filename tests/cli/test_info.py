"""``dynvae info``: pages, table, JSON and graphs of the zoo and of saved models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dynvae
from dynvae.audio import FRONT_ENDS
from dynvae.cli import main
from dynvae.models import PRESETS, SRNN, build


def test_json_covers_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["name"] for record in records] == list(PRESETS)
    wanted = {"name", "paper", "equations", "latex", "exact_posterior", "autoregressive", "true_posterior",
              "dynamical_latent", "parameters"}  # fmt: skip
    assert all(wanted <= set(record) for record in records)
    ticked = {tick: {r["name"] for r in records if r[tick]} for tick in ("autoregressive", "true_posterior")}
    transformers = {name for name in PRESETS if name.startswith(("hit", "light"))}
    assert ticked["autoregressive"] == {"storn", "vrnn", "srnn", "sdm-srnn"} | transformers
    exact = {"vae", "dkf", "srnn", "rvae", "rvae-causal", "sdm-vae", "sdm-srnn", "vsc", "vq-vae", "min-vae", "mvae",
             "mmvae", "mopoe"}  # fmt: skip
    assert ticked["true_posterior"] == (exact | {"av-vae", "av-cvae", "av-dkf"}) & PRESETS.keys()


def test_parameters_are_those_of_the_paper_s_setting(capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", "--json", "vae"])
    (record,) = json.loads(capsys.readouterr().out)
    model = build("vae", x_dim=257, z_dim=16)
    assert record["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_table_of_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    srnn = next(line for line in lines if line.startswith("srnn"))
    assert srnn.split()[-4:-1] == ["✓", "✓", "✓"]
    assert "static VAE" in " ".join(lines)


def test_page_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "vrnn"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("vrnn: Variational recurrent neural network (")
    assert "q(z₁:T | x₁:T) = ∏ₜ q(zₜ | z₁:ₜ₋₁, x₁:ₜ)" in page
    assert "p(z₁:T | x₁:T) = ∏ₜ p(zₜ | z₁:ₜ₋₁, x₁:T)" in page
    assert "True posterior  − q(z[t]) misses x[t+1:T]" in page
    assert r"\begin{aligned}" not in page
    assert main(["info", "vrnn", "--full"]) == 0
    assert r"\begin{aligned}" in capsys.readouterr().out


def test_page_of_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = SRNN(x_dim=9, z_dim=3)
    model.front_end = FRONT_ENDS["32ms"]
    folder = tmp_path / "a modèle"
    dynvae.save(model, folder, card={"license": "mit", "description": "two\nlines, \x1b[31mred"})
    assert main(["info", str(folder)]) == 0
    page = capsys.readouterr().out
    assert "Front end:\n  sample_rate: 16000\n  window_length: 512" in page
    assert "  x_dim: 9" in page
    assert "  description: two lines, [31mred" in page
    assert main(["info", "--json", str(folder)]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["model"] == "srnn"
    assert record["config"]["z_dim"] == 3
    assert record["card"]["license"] == "mit"


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "graphs" / "two.png"
    assert main(["info", "srnn", "dsae", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["srn"], "there is no model or folder 'srn'; did you mean 'srnn'?"),
        (["srnn", "--plot", "graph.docx"], "ends in .png"),
        (["srnn", "--jsn"], "did you mean '--json'?"),
        (["."], "is no saved model"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_plot_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    assert main(["info", "vae", "--plot", str(tmp_path / "file" / "a.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err
