"""The benchmark of mixtures, without the published code and with what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command import main
from benchmarks.mixtures import MIXTURES, PublishedMixtures
from benchmarks.results import Report


def test_without_a_reference(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    arguments = ["--steps", "1", "--shapes", "1x8", "--json", str(file)]
    assert main(MIXTURES, arguments=arguments) == 0
    rows = {(row.task, row.code): row for row in Report.read(file).rows}
    assert {task for task, _ in rows} == {"tracking", "separation"}
    assert rows["tracking", "dynvae"].accuracy is not None
    assert rows["separation", "dynvae, 20"].si_sdr is not None


def test_another_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(MIXTURES, arguments=["--reference", str(tmp_path)], reference=PublishedMixtures) == 2
    assert "is not a checkout of linxiaoyu1/MixDVAE" in capsys.readouterr().err
