"""Recipes say what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dynvae.audio import FRONT_ENDS
from dynvae.data.known import DOWNLOADS, KNOWN

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
CORPORA = ("wsj0", "voicebank", "librispeech", "librispeech-mini", "tcd-timit", "any-folder")


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
