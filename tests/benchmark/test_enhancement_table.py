"""The methods by their words, and the table of enhancement in its three forms."""

from __future__ import annotations

import csv

import pytest

from dynvae.benchmark.enhancement_config import EnhancementConfig
from dynvae.benchmark.enhancement_methods import Method
from dynvae.benchmark.enhancement_table import Row, differences_html, to_csv, to_html, to_markdown
from dynvae.errors import CheckpointError, ConfigError
from dynvae.metrics import Score, Summary, summarize

BAD = Score.failure("the estimate is silent")
ROWS = [
    Row("Noisy", scores={"si_sdr": summarize([1.0, 3.0, -2.5])}, files=3),
    Row(
        "A <b>|c",
        "clean speech",
        "WSJ0",
        False,
        {"si_sdr": summarize([4.0, BAD, 6.0])},
        {"si_sdr": Summary(3.0, 3.0, 2.0, 4.0, 2, {})},
        0.123,
        0.1,
        1,
        3,
    ),
    Row("Worse", trained_on="VB", matched=True, scores={"si_sdr": summarize([-6.0, -7.0])}, files=3, failed={"x": "y"}),
]


def test_markdown() -> None:
    lines = to_markdown(ROWS).splitlines()
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert head == ["Method", "Trained with", "Trained on", "SI-SDR (dB)", "Real-time factor", "CPU", "Files",
                    "Collapsed", "Failed scores"]  # fmt: skip
    assert "| A <b>\\|c | clean speech | WSJ0 (mismatched) | **5.00 ± 1.00** | 0.12 | 0.1 | 3 | 1 | 1 |" in lines
    assert lines[4].startswith("| Worse |  | VB (matched) | −6.50 ± 0.50 |  |  | 2 |")
    assert "| A <b>\\|c | +3.00 ± 1.00 |" in lines[-1]


def test_html_is_escaped() -> None:
    page = to_html(ROWS) + differences_html(ROWS)
    assert "A &lt;b&gt;|c" in page
    assert "<strong>5.00 ± 1.00</strong>" in page
    assert not differences_html(ROWS[:1])


def test_csv_keeps_full_precision() -> None:
    rows = list(csv.DictReader(to_csv(ROWS).splitlines()))
    assert [row["method"] for row in rows] == ["Noisy", "A <b>|c", "Worse"]
    assert float(rows[0]["si_sdr_mean"]) == 0.5
    assert (rows[1]["si_sdr_n"], rows[1]["si_sdr_failures"], rows[1]["si_sdr_difference"]) == ("2", "1", "3.0")
    assert rows[2]["failed"] == "1"


def test_methods_by_their_words() -> None:
    method = Method.of("default:rvae-speech@LibriSpeech")
    assert (method.kind, method.source, method.trained_on) == ("default", "rvae-speech", "LibriSpeech")
    assert method.label == "default, rvae-speech"
    assert method.supervision == "clean speech"
    assert Method.of("default").trained_on == "librispeech_asr"  # as the model's card tells
    assert "weights" in method.identity()
    fast = Method.of({"kind": "default", "settings": {"iterations": 5}, "label": "Fast!"})
    assert fast.folder == "fast"
    assert fast.identity() != Method.of("default").identity()


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("wienr", "did you mean 'wiener'"),
        ("mask", "mask:FOLDER"),
        ("wiener:x", "leave ':x' away"),
        ({"kind": "wiener", "lable": "x"}, "did you mean 'label'"),
        ({"kind": "wiener", "settings": {"iterations": 5}}, "has no settings"),
    ],
)
def test_what_is_no_method(what: object, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Method.of(what)  # type: ignore[arg-type]


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(CheckpointError, match="no model or folder"):
        Method.of("default:nowhere-at-all")


def test_two_methods_of_one_name() -> None:
    with pytest.raises(ConfigError, match="another label"):
        EnhancementConfig("x", "y", (Method.of("wiener"), Method.of("wiener")))
