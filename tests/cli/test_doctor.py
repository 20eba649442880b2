"""``dynvae doctor`` tells what is there and what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import sys

import pytest
import torch

from dynvae.cli import main
from dynvae.report.environment import describe, environment, extras


def test_the_lines_tell_versions_devices_and_extras(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert told["torch"] == importlib.metadata.version("torch")
    assert told["devices"].startswith("cpu")
    assert {"[train]", "[metrics]", "[report]", "[synth]", "[hub]"} <= set(told)
    assert "cores usable" in told["processor"]


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["python"] == ".".join(map(str, sys.version_info[:3]))
    assert facts["cpu"]["threads"] == torch.get_num_threads()
    assert facts["extras"]["train"]["packages"]["lightning"]


def test_a_missing_package_is_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def without_lightning(package: str) -> str:
        if package == "lightning":
            raise importlib.metadata.PackageNotFoundError
        return version(package)

    monkeypatch.setattr(importlib.metadata, "version", without_lightning)
    assert extras()["train"].missing == ["lightning"]
    line = dict(describe(environment()))["[train]"]
    assert "missing: lightning; pip install 'dynvae[train]'" in line


def test_without_metadata_there_are_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "requires", nothing)
    assert extras() == {}


def test_an_unknown_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--jsn"]) == 2
    assert "did you mean '--json'?" in capsys.readouterr().err
