"""Importing dynvae is cheap, brings no optional package, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

OPTIONAL = {"lightning", "matplotlib", "pesq", "pystoi", "torchmetrics", "huggingface_hub", "espeakng_loader",
            "tensorboard", "scipy", "pandas", "ray", "av", "cv2", "onnx", "onnxscript", "onnxruntime",
            "gradio"}  # fmt: skip
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def modules_after(code: str, folder: Path) -> set[str]:
    """The modules that a fresh interpreter has imported after some code, run in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], cwd=folder, capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_itself_imports_nothing_but_the_standard_library(tmp_path: Path) -> None:
    new = modules_after("import dynvae", tmp_path) - modules_after("import __future__, typing", tmp_path)
    assert {name.partition(".")[0] for name in new} <= {"dynvae", *sys.stdlib_module_names}


ROOMS = ["models", "testing", "audio", "video", "data", "metrics", "training", "evaluation", "pretrained", "report",
         "benchmark", "export", "work", "mixtures", "separation", "tracking", "classics", "motion", "app"]  # fmt: skip


@pytest.mark.parametrize("module", ROOMS)
def test_no_room_of_the_house_brings_an_optional_package(module: str, tmp_path: Path) -> None:
    found = {name.partition(".")[0] for name in modules_after(f"import dynvae.{module}", tmp_path)}
    assert not found & OPTIONAL
    assert list(tmp_path.iterdir()) == []


def test_loading_models_costs_little_over_torch(tmp_path: Path) -> None:
    """Modules are counted, not seconds, which would depend on the machine: torch alone imports well over a thousand."""
    torch_alone = modules_after("import torch", tmp_path)
    ours = modules_after("import dynvae.models, dynvae.pretrained", tmp_path) - torch_alone
    foreign = {name for name in ours if not name.startswith("dynvae")}
    assert len(foreign) < 0.35 * len(torch_alone), sorted({name.partition(".")[0] for name in foreign})


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"]])
def test_help_leaves_no_files(words: list[str], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "dynvae", *words], cwd=tmp_path, capture_output=True, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []
