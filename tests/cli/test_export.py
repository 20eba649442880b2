"""``dynvae export``: graphs in a folder, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dynvae
from dynvae.cli import main
from dynvae.models import build

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module)


def test_export_of_a_saved_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(dynvae.save(build("vae", x_dim=5, z_dim=2), tmp_path / "model"))
    out = tmp_path / "out"
    assert main(["export", model, "--out", str(out), "--parts", "decoder", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert list(found["errors"]) == ["decoder"]
    assert found["errors"]["decoder"] <= 1e-5
    assert captured.err == f"dynvae export: writes decoder of {model} to {out}\n"
    assert sorted(path.name for path in out.iterdir()) == ["decoder.onnx", "export.json"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "give a model and a folder: dynvae export MODEL --out DIR"),
        (["vae-speech", "--out", "o", "--parts", "middle"],
         "--parts takes encoder, decoder, step, filter, with commas between them; not 'middle'"),
        (["vae-speech", "--out", "o", "--format", "tf"], "format: "),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *words]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
