"""Recipes say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dynvae.audio import FRONT_ENDS
from dynvae.baselines import AutoregressiveLSTM, MaskNetwork
from dynvae.benchmark.enhancement_methods import KINDS
from dynvae.cli import VERBS, verb_module
from dynvae.cli.benchmark import _config
from dynvae.cli.benchmark_audiovisual import av_settings_of
from dynvae.cli.benchmark_separation import separation_settings_of
from dynvae.data.known import DOWNLOADS, KNOWN
from dynvae.models import build
from dynvae.testtime import PRESETS as TESTTIME
from dynvae.training import TrainConfig

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
CORPORA = ("wsj0", "voicebank", "librispeech", "librispeech-mini", "tcd-timit", "ntcd-timit", "grid", "any-folder")


@pytest.mark.parametrize("name", CORPORA)
def test_a_recipe_is_complete(name: str) -> None:
    text = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    settings = yaml.safe_load((RECIPES / name / "config.yaml").read_text(encoding="utf-8"))
    assert settings["data"] in text
    assert settings["front_end"] in FRONT_ENDS
    for line in text.splitlines():
        words = line.split()
        if line.startswith("dynvae data get"):
            assert words[3] in DOWNLOADS
        if line.startswith("dynvae data prepare"):
            assert words[3] in KNOWN


@pytest.mark.parametrize("name", KNOWN)
def test_the_counts_of_a_recipe_are_those_that_are_checked(name: str) -> None:
    text = (RECIPES / name / "README.md").read_text(encoding="utf-8")
    counts = {part: n for part, n in KNOWN[name].files.items() if part not in ("train-clean-5", "dev-clean-2")}
    assert all(f"{count:,}" in text for count in counts.values())


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_settings_are_understood_by_the_command_that_they_name(path: Path) -> None:
    """Each file says in its first lines what it is for: ``dynvae train NAME --config FILE`` or ``dynvae benchmark``."""
    head = "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if line.startswith("#"))
    assert f"--config {path.relative_to(RECIPES.parent)}" in head
    command, name = head.split("dynvae ")[1].split()[:2]
    config = ["--config", str(path)]
    subject = f"{command} {name}"
    parser = verb_module(subject if subject in VERBS else command).verb_parser
    if (command, name) == ("benchmark", "enhancement"):
        settings = parser().parse_args(config)
        kinds = [what if isinstance(what, str) else what["kind"] for what in settings.methods]
        assert set(kinds) <= {*KINDS, *TESTTIME}
    elif (command, name) == ("benchmark", "separation"):
        separation_settings_of(parser().parse_args(config))
    elif (command, name) == ("benchmark", "audiovisual"):
        plan = av_settings_of(parser().parse_args([*config, "--noise", "noise", "--out", "results"]))
        for model in plan.models:
            sees = model not in ("vae", "dkf")
            build(model.removesuffix("-0"), **plan.model, **(plan.view if sees else {}))
    elif (command, name) == ("train", "mask"):
        settings = parser().parse_args(config)
        TrainConfig(**settings.train.as_dict())
        MaskNetwork(FRONT_ENDS[settings.front_end].bins, **settings.model.as_dict())
    elif command == "benchmark":
        benchmark = _config(parser().parse_args(config))
        for row, settings in benchmark.rows.items():
            TrainConfig(**(settings.get("train") or {}))
            build(row.removesuffix("-ss"), **(settings.get("model") or {}))
    else:
        words = [name, *config, *(["--task", "motion"] if "mocap" in path.parent.name else [])]
        settings = parser(words).parse_args(words)
        TrainConfig(**settings.train.as_dict())
        if name == "lstm":
            AutoregressiveLSTM(**settings.model.as_dict())
        else:
            pixels = {"x_dim": settings.side**2} if settings.modality == "video" else {}
            build(name, **settings.model.as_dict(), **pixels)
