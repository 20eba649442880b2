"""A model's name is a folder, a bundled name or one of the hub, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import dynvae
from dynvae.audio import FrontEnd
from dynvae.errors import CheckpointError, MissingExtraError
from dynvae.models import VAE
from dynvae.pretrained import bundled, names


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bundled weights with two models and something else in it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shelf"
    monkeypatch.setattr(names, "_BUNDLED", folder)
    for number, name in enumerate(("vae-speech", "rvae-speech")):
        dynvae.save(VAE(x_dim=5, z_dim=number + 1), folder / name)
    (folder / "notes").mkdir()
    (folder / "README.md").write_text("not a model", encoding="utf-8")
    return folder


def test_bundled_models_are_what_lies_in_the_folder(shelf: Path) -> None:
    assert bundled() == ["rvae-speech", "vae-speech"]
    assert dynvae.load("vae-speech").z_dim == 1
    assert dynvae.load("rvae-speech").z_dim == 2


def test_a_folder_of_that_name_goes_first_if_it_is_a_model(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "vae-speech").mkdir()
    assert dynvae.load("vae-speech").z_dim == 1
    dynvae.save(VAE(x_dim=5, z_dim=4), tmp_path / "vae-speech" / "model")
    assert dynvae.load("vae-speech").z_dim == 4


def test_a_near_miss_gets_the_nearest_name(shelf: Path) -> None:
    with pytest.raises(CheckpointError, match="no model or folder 'vae-spech'; did you mean 'vae-speech'"):
        dynvae.load("vae-spech")
    with pytest.raises(CheckpointError, match="bundled are: rvae-speech, vae-speech"):
        dynvae.load("zzz")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "notes", "shelf/../shelf", "../vae-speech", "/vae-speech", "vae-speech/", "./vae-speech",
     "vae-speech/../rvae-speech", "a/../b", "a/b/c", "..\\vae-speech", "vae-speech\0", "a\0b", "x" * 5000,
     "https://example.org/a", "a b/c", "-a/b", ".a/b", "a/.b", "os.system", "~root", "shelf/README.md"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused_without_a_network(
    shelf: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "fetch", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(CheckpointError) as caught:
        dynvae.load(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 6000


def test_a_file_in_place_of_a_folder_hints_at_convert(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="dynvae convert"):
        dynvae.load("model.pt")


# ---- the hub ---------------------------------------------------------------------------------------------------------


def test_a_hub_name_is_fetched(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[tuple[Any, ...]] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str], **_: Any) -> str:
        asked.append((name, revision, allow_patterns))
        return str(shelf / "rvae-speech")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    assert dynvae.load("some-one/a_model.v2", revision="v1").z_dim == 2
    assert asked == [("some-one/a_model.v2", "v1", ["config.json", "model.safetensors", "README.md"])]


def test_a_hub_that_does_not_answer_is_one_line(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError("no route to host\nand a long trace")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with pytest.raises(CheckpointError, match=r"'runs/srnn' is no folder here .*no route to host\)") as caught:
        dynvae.load("runs/srnn")
    assert "\n" not in str(caught.value)


def test_offline_mode_is_respected(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    code = "import dynvae\ntry: dynvae.load('some/model')\nexcept dynvae.errors.CheckpointError as error: print(error)"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "could not be fetched from the hub" in done.stdout
    assert done.stdout.count("\n") == 1


def test_without_the_hub_package_the_line_says_what_to_install(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"no folder 'some/model'.*pip install 'dynvae\[hub\]'"):
        dynvae.load("some/model")


# ---- what is really bundled ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled() or [pytest.param("", marks=pytest.mark.skip("no weights are bundled yet"))])
def test_every_bundled_model_works(name: str) -> None:
    model = dynvae.load(name)
    assert model.front_end is not None
    if isinstance(model.front_end, FrontEnd):
        assert model.front_end.bins == model.x_dim
    text = (names._BUNDLED / name / "README.md").read_text(encoding="utf-8")
    assert "license:" in text
    assert "datasets:" in text


def test_importing_dynvae_is_light() -> None:
    code = "import sys, dynvae; print(sorted({'torch', 'numpy', 'safetensors', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_wheel_holds_the_weights(tmp_path: Path) -> None:
    """Build a wheel of a copy with a model on the shelf; skipped where the building tool is not installed."""
    builder = pytest.importorskip("hatchling.builders.wheel")
    import shutil

    root = Path(__file__).resolve().parents[2]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / file, copy)
    shutil.copytree(root / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    dynvae.save(VAE(x_dim=5, z_dim=1), copy / "src/dynvae/pretrained/weights/tiny")
    (wheel,) = builder.WheelBuilder(str(copy)).build(directory=str(tmp_path / "dist"))
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
    for file in ("config.json", "model.safetensors", "README.md"):
        assert f"dynvae/pretrained/weights/tiny/{file}" in files
