"""The benchmark's table says the same in Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import io
import re

import pytest

from dynvae.metrics import Summary, summarize
from dynvae.report import Entry, Ticks, to_csv, to_html, to_markdown

SUMMARY = Summary(0.0248, 0.024, 0.0240, 0.0256, 40, {})


ALL = Ticks(autoregressive=True, true_posterior=True, dynamical=True)


def entry(name: str, mode: str = "", *, ticks: Ticks = ALL, **scores: Summary) -> Entry:
    return Entry(name, mode, ticks, scores=scores, parameters=688129, seconds=90.0)


def vae_and_srnn() -> list[Entry]:
    return [
        entry("VAE", ticks=Ticks(False, False, False), rmse=summarize([0.05, 0.052]), elbo=summarize([900.0, 901.0])),
        entry("SRNN", "teacher-forced", rmse=SUMMARY, elbo=summarize([1000.0, 1002.0])),
    ]


def lines_of(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in markdown.splitlines()]


def test_models_can_be_rows_or_columns() -> None:
    head, marks, *rows = lines_of(to_markdown(vae_and_srnn()))
    turned, _, *columns = lines_of(to_markdown(vae_and_srnn(), models="columns"))
    assert [row[0] for row in rows] == turned[1:] == ["VAE", "SRNN (teacher-forced)"]
    assert [column[0] for column in columns] == head[1:]
    assert [list(row) for row in zip(*columns, strict=True)][1:] == [row[1:] for row in rows]
    assert len(marks) == len(head)


def test_rmse_is_printed_in_hundredths_with_its_interval_and_the_best_is_bold() -> None:
    text = to_markdown(vae_and_srnn())
    assert "RMSE (×10⁻²)" in text
    assert "**2.48** ± 0.08" in text
    assert "5.10 ± 0.10" in text
    assert "**1001.0**" in text
    assert "±" not in to_markdown(vae_and_srnn(), interval=False)


def test_ticks_stand_where_they_belong() -> None:
    head, _, vae, srnn = lines_of(to_markdown(vae_and_srnn()))
    assert head[1:4] == ["Autoregressive", "True posterior", "Dynamical z"]
    assert vae[1:4] == ["", "", ""]
    assert srnn[1:4] == ["✓", "✓", "✓"]


def test_the_tick_of_a_static_model_is_in_brackets() -> None:
    static = Entry("VAE", "", Ticks(False, True, False), static=True)
    assert lines_of(to_markdown([static]))[2][1:4] == ["", "(✓)", ""]
    assert "(✓)" in to_html([static])


def test_a_failed_row_says_so_and_is_never_the_best() -> None:
    broken = Entry("KVAE", "", Ticks(False, False, True), failed="the loss is not finite")
    text = to_markdown([*vae_and_srnn(), broken])
    assert lines_of(text)[4][4] == "failed"
    rows = list(csv.DictReader(io.StringIO(to_csv([*vae_and_srnn(), broken]))))
    assert rows[2]["failed"] == "the loss is not finite"
    assert rows[2]["rmse_mean"] == ""


def test_failures_are_counted() -> None:
    text = to_markdown([entry("VAE", stoi=Summary(0.9, 0.9, 0.8, 1.0, 38, {"too short": 2}))])
    head, _, row = lines_of(text)
    assert dict(zip(head, row, strict=True))["Failed scores"] == "2"
    assert dict(zip(head, row, strict=True))["Files"] == "38"


def test_csv_has_full_precision_and_plain_units() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(vae_and_srnn()))))
    assert float(rows[1]["rmse_mean"]) == SUMMARY.mean
    assert (rows[1]["rmse_low"], rows[1]["rmse_n"], rows[1]["rmse_failures"]) == ("0.024", "40", "0")
    assert (rows[0]["model"], rows[0]["mode"], rows[0]["autoregressive"]) == ("VAE", "", "0")
    assert (rows[1]["mode"], rows[1]["parameters"], rows[1]["train_seconds"]) == ("teacher-forced", "688129", "90.0")


def test_html_has_headings_for_both_directions_and_escapes_names() -> None:
    text = to_html([entry("<VAE & co>", rmse=SUMMARY)], caption="a < b")
    assert "&lt;VAE &amp; co&gt;" in text
    assert "<caption>a &lt; b</caption>" in text
    assert len(re.findall(r'<th scope="row">', text)) == 1
    assert text.count('<th scope="col">') == text.count("<td>") + 1
    assert 'aria-label="yes"' in text


def test_a_mean_of_one_file_has_no_interval() -> None:
    assert "±" not in to_markdown([entry("VAE", stoi=summarize([0.9]))])


@pytest.mark.parametrize("write", [to_markdown, to_html, to_csv])
def test_a_table_without_entries_is_still_one(write: object) -> None:
    assert callable(write)
    assert write([])
