"""``dynvae convert``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dynvae
from dynvae.cli import main
from dynvae.cli.convert import run
from dynvae.errors import ConfigError


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A VAE of 257 bins in the published layout."""
    shapes = {"mlp_x_z.linear0": (6, 257), "inf_mean": (2, 6), "inf_logvar": (2, 6)}
    shapes |= {"mlp_z_x.linear0": (6, 2), "gen_logvar": (257, 6)}
    weights = {f"{key}.weight": torch.rand(shape) for key, shape in shapes.items()}
    weights |= {f"{key}.bias": torch.rand(shape[0]) for key, shape in shapes.items()}
    torch.save(weights, tmp_path / "modèle 1.pt")
    return tmp_path / "modèle 1.pt"


def test_it_writes_a_model_and_says_so(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = published.with_name("out")
    assert main(["convert", str(published), str(out)]) == 0
    assert "VAE" in capsys.readouterr().out
    model = dynvae.load(out)
    assert model.front_end is not None
    assert model.front_end.window_length == 512


def test_settings_by_option(published: Path) -> None:
    ini = published.with_name("other.ini")
    ini.write_text("[Network]\nactivation = relu\n", encoding="utf-8")
    assert run([str(published), str(published.with_name("out")), "--ini", str(ini), "--window", "32ms"]) == 0
    assert dynvae.load(published.with_name("out")).config["activation"] == "relu"


def test_a_foreign_file_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("not weights", encoding="utf-8")
    assert main(["convert", str(tmp_path / "notes.txt"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "notes.txt is damaged, or no PyTorch file" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "FILE OUT"),
        (["a.pt"], "FILE OUT"),
        (["a.pt", "b", "--windo", "64ms"], "did you mean '--window'"),
        (["a.pt", "b", "--window", "48ms"], "48ms"),
    ],
)
def test_what_it_asks_for(arguments: list[str], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        run(arguments)


def test_a_file_in_place_of_the_folder(published: Path) -> None:
    with pytest.raises(ConfigError, match="is a file"):
        run([str(published), str(published)])
