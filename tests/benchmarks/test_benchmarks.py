"""What the benchmarks accept and write, and that they notice what has become slower; no times are judged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from benchmarks import enhancement, growth, inference, input, measure, sounds, training
from benchmarks.cases import CASES
from benchmarks.command import main
from benchmarks.measure import interleave, matmul_rates, peak_memory
from benchmarks.results import Report, Row, regressions
from benchmarks.tables import to_markdown
from benchmarks.tasks import executors
from dynvae.audio import FrontEnd
from dynvae.errors import DataError


@pytest.fixture(autouse=True)
def _small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PRODUCTS", [(64, 16, 16)])


ROW = Row("training", "training", "vrnn", "plain", 32, 150, 1, "cpu", 130.0, 120.0, 5, 0.05, 4.0, 60.0, 100.0, 90.0)


def run(tmp_path: Path, *arguments: str) -> tuple[int, Report]:
    """A training benchmark of two tiny batches of our VAE and VRNN."""
    file = tmp_path / "results.json"
    common = ("--models", "vae,vrnn", "--shapes", "2x3", "--threads", "1", "--steps", "1")
    common += ("--executors", next(iter(executors())), "--json", str(file))
    return main(training.SWEEP, arguments=[*common, *arguments]), Report.read(file)


# ---- what is counted and timed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "forward", "step"),
    [
        ("srnn", 1.76, 4.76),
        ("vrnn", 0.96, 2.61),
        ("dkf", 1.03, 2.82),
        ("rvae-causal", 1.10, 2.77),
        ("rvae", 2.04, 5.08),
        ("srnn-ss", 2.42, 6.47),
    ],
)
def test_the_operations_per_frame_are_those_counted_by_hand(name: str, forward: float, step: float) -> None:
    """In millions: the products of every layer of the published setting, written out layer by layer."""
    found = CASES[name].operations(CASES[name].build())
    assert (round(found.forward / 1e6, 2), round(found.training / 1e6, 2)) == (forward, step)


def test_runs_take_turns_and_the_first_rounds_do_not_count() -> None:
    calls: list[str] = []
    samples = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, steps=2, warmup=1)
    assert calls == ["a", "b"] * 3
    assert [len(samples["a"]), len(samples["b"])] == [2, 2]


def test_products_are_timed_without_a_trace() -> None:
    before = torch.get_float32_matmul_precision()
    rates = matmul_rates(seconds=0.0)
    assert "mkl" in rates
    assert all(rate.cpu > 0 for rate in rates.values())
    assert torch.get_float32_matmul_precision() == before


def test_peak_memory_sees_what_is_freed_again() -> None:
    found = peak_memory(lambda: torch.zeros(10_000_000).add_(1).sum())
    assert found is None or 39 < found < 60  # 40 MB; None where the system does not tell


def test_drawn_spectra_have_the_range_of_speech() -> None:
    x = sounds.speech_like(3, 50)
    assert x.shape == (3, 50, 513)
    assert x.min() >= 1e-8
    assert 1e9 < x.max() / x.min() < 1e14
    assert torch.equal(x, sounds.speech_like(3, 50))


# ---- the command -----------------------------------------------------------------------------------------------------


def test_without_a_reference_ours_is_measured_alone(tmp_path: Path) -> None:
    status, report = run(tmp_path, "--markdown", str(tmp_path / "tables.md"), "--plots", str(tmp_path / "plots"))
    assert status == 0
    assert {row.model for row in report.rows} == {"vae", "vrnn"}
    assert all(row.ratio is None and row.floor_ratio is not None and row.parameters for row in report.rows)
    assert report.machine["cpu"]["capability"] == torch.backends.cpu.get_cpu_capability()
    assert "### Training, 1 thread, 2 × 3" in (tmp_path / "tables.md").read_text(encoding="utf-8")
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"training-2x3-1thr-ms.png", "training-2x3-1thr-floor.png"} <= drawn
    assert "training-2x3-1thr-ratio.png" not in drawn


def test_many_lengths_make_lines_over_time(tmp_path: Path) -> None:
    arguments = ["--models", "vae", "--shapes", "1x2,1x3,1x4", "--steps", "1"]
    arguments += ["--plots", str(tmp_path), "--markdown", str(tmp_path / "tables.md")]
    assert main(growth.SWEEP, arguments=arguments) == 0
    assert (tmp_path / "growth-training-1-1thr-us.png").exists()
    assert "µs/frame at T = | 2 | 3 | 4 | last / first |" in (tmp_path / "tables.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_every_task_runs_on_every_model(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results.json"
    arguments = ["--models", name, "--shapes", "1x3", "--steps", "1", "--json", str(file)]
    assert main(inference.SWEEP, arguments=[*arguments, "--tasks", "training,analysis,generation"]) == 0
    assert {row.task for row in Report.read(file).rows} == {"training", "analysis", "generation"}


def test_several_benchmarks_make_one_file(tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    arguments = ["--models", "vae", "--shapes", "1x2", "--threads", "1", "--steps", "1", "--json", str(file)]
    assert main(training.SWEEP, inference.SWEEP, arguments=arguments) == 0
    assert {row.benchmark for row in Report.read(file).rows} == {"training", "inference"}


def test_the_way_from_files_to_spectra(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    sounds.write_speech_like(tmp_path / "sound", FrontEnd(), files=2, seconds=1.0)
    arguments = ["--data", str(tmp_path / "sound"), "--shapes", "3x20", "--steps", "1", "--json", str(file)]
    assert main(input.INPUT, arguments=arguments) == 0
    rows = {row.model: row for row in Report.read(file).rows}
    assert list(rows) == ["preparation", "reading", "stft", "pipeline"]
    assert rows["stft"].seconds == 3 * 20 * 0.016
    assert rows["stft"].sound_rate == pytest.approx(1000 * 0.96 / rows["stft"].ms, rel=1e-3)


def test_enhancement_without_a_reference(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    arguments = ["--tasks", "default", "--threads", "1", "--steps", "1", "--json", str(file)]
    assert main(enhancement.ENHANCEMENT, arguments=arguments) == 0
    rows = {row.code: row for row in Report.read(file).rows}
    assert list(rows) == ["dynvae", "fast", "vae"]
    assert all(
        row.si_sdr is not None and row.seconds == pytest.approx(1, abs=0.05) and row.ratio is None
        for row in rows.values()
    )


def test_enhancement_wants_another_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--reference", str(tmp_path)]
    assert main(enhancement.ENHANCEMENT, arguments=arguments, reference=enhancement.PublishedSamplers) == 2
    assert "is not a checkout of msaadeghii/ps-rvae-se" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--models", "vrn"], "there is no model 'vrn'"),
        (["--tasks", "singing"], "there is no task 'singing'"),
        (["--executors", "magic"], "there is no executor 'magic'"),
        (["--shapes", "32"], "shapes are like 32x150"),
        (["--threads", "0"], "'0' is not a positive whole number"),
        (["--steps", "0"], "at least one step"),
        (["--reference", "nowhere"], "nowhere is not a checkout of the reference"),
        (["--compare", "nowhere.json"], "nowhere.json does not hold the results of a benchmark"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(training.SWEEP, arguments=arguments) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert "\n" not in said


# ---- results ---------------------------------------------------------------------------------------------------------


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    report = Report({"cpu": {}}, {"steps": 1}, [ROW])
    report.write(tmp_path / "results.json")
    assert Report.read(tmp_path / "results.json") == report
    (row,) = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["rows"]
    assert row["us_per_frame"] == 25.0
    assert row["frames_per_second"] == 40000.0
    assert row["floor_ratio"] == 2.0


def test_a_table_has_both_codes_and_the_ratio() -> None:
    reference = dataclasses.replace(ROW, code="reference", cpu_ms=480.0, ratio=1.0)
    machine = {"cpu": {"name": "a processor", "usable": 2, "capability": "AVX2"}, "packages": {"torch": "2"}}
    table = to_markdown(Report(machine, {}, [reference, ROW]))
    assert "| vrnn | reference | 480 | 10,000 | 100 |  | 8.00 | 90 | 5 |" in table
    assert "| vrnn | plain | 120 | 40,000 | 25 | **4.00** | 2.00 | 90 | 5 |" in table


def test_a_ratio_that_has_become_worse_is_told() -> None:
    slower = dataclasses.replace(ROW, ratio=3.0)
    (line,) = regressions([slower], [ROW])
    assert line == "training vrnn plain 32 × 150, 1 threads: 4.00 × the reference before, 3.00 now"
    assert regressions([slower], [ROW], tolerance=0.3) == []
    assert regressions([ROW], [slower]) == []


def test_without_a_reference_the_floor_tells() -> None:
    slower = dataclasses.replace(ROW, ratio=None, cpu_ms=180.0)
    (line,) = regressions([slower], [ROW])
    assert line.endswith("2.00 × the floor before, 3.00 now")


def test_nothing_in_common_is_no_success() -> None:
    with pytest.raises(DataError, match="nothing to compare"):
        regressions([ROW], [dataclasses.replace(ROW, threads=2)])
    with pytest.raises(DataError, match="nothing to compare"):
        regressions([dataclasses.replace(ROW, code="reference")], [dataclasses.replace(ROW, code="reference")])


def test_a_planted_regression_ends_the_command_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = run(tmp_path)
    for name, factor in (("better.json", 100.0), ("worse.json", 0.01)):
        rows = [dataclasses.replace(row, floor_ms=row.floor_ms and row.floor_ms * factor) for row in report.rows]
        Report(report.machine, report.settings, rows).write(tmp_path / name)
    capsys.readouterr()
    assert run(tmp_path, "--compare", str(tmp_path / "better.json"))[0] == 1
    assert capsys.readouterr().err.count("× the floor before") == 2
    assert run(tmp_path, "--compare", str(tmp_path / "worse.json"))[0] == 0
    assert "nothing has become slower" in capsys.readouterr().err
