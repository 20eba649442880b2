"""Evaluation of a corpus: the same numbers whatever the workers, the batches and the interruptions."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from evaluation_toys import deadly_model, small_model, speech_like

from dynvae.data import Corpus
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation import Evaluation, FileScores, evaluate, fingerprint
from dynvae.evaluation.run import NOT_MEASURED
from dynvae.metrics import Score
from dynvae.models import PRESETS
from dynvae.work import Stopped

FAST = ["si_sdr", "rmse"]


def numbers(found: Evaluation) -> list[list[float]]:
    return [[score.value for score in row.scores.values()] for row in found.files]


def test_every_file_has_a_row_with_all_that_was_asked_for(corpus: Corpus) -> None:
    found = evaluate(small_model("dsae"), corpus)
    assert [row.path for row in found.files] == [utterance.name for utterance in corpus]
    assert [row.speaker for row in found.files][::2] == ["speaker0", "speaker1", "speaker2"]
    expected = ["elbo", "log_likelihood", "kl", "kl_w", "itakura_saito", "hoyer"]
    expected += ["rmse", "si_sdr", "sdr", "pesq_raw", "pesq_nb", "pesq_wb", "stoi", "estoi"]
    assert list(found.scores) == expected
    for row in found.files:
        assert 0 < row.seconds < 2
        assert not any(score.failed for score in row.scores.values())
    si_sdr = [row.scores["si_sdr"].value for row in found.files]
    summary = found.scores["si_sdr"]
    assert (summary.mean, summary.median, summary.n) == (pytest.approx(np.mean(si_sdr)), np.median(si_sdr), 6)


def test_workers_batches_and_order_change_nothing(corpus: Corpus) -> None:
    model = small_model()
    inline = evaluate(model, corpus, batch_size=6)
    parallel = evaluate(model, corpus, batch_size=6, workers=2)  # in smaller batches
    assert np.allclose(numbers(parallel), numbers(inline), rtol=1e-4, atol=1e-4)
    backwards = evaluate(model, Corpus(corpus.root, list(corpus)[::-1]), metrics=FAST, batch_size=1)
    single = np.array(numbers(backwards)[::-1])
    assert np.allclose(single, np.array(numbers(evaluate(model, corpus, metrics=FAST))), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_model_in_both_modes(name: str, corpus: Corpus) -> None:
    model = small_model(name)
    for mode in ("teacher-forced", "generation"):
        found = evaluate(model, corpus, mode=mode, metrics=FAST, limit=2)
        assert all(math.isfinite(value) for row in numbers(found) for value in row)


def test_seed_and_latents_matter(corpus: Corpus) -> None:
    model = small_model()
    base = numbers(evaluate(model, corpus, metrics=FAST, limit=2))
    assert numbers(evaluate(model, corpus, metrics=FAST, limit=2, seed=1)) != base
    assert numbers(evaluate(model, corpus, metrics=FAST, limit=2, latents="mean")) != base


def test_a_limit_spreads_over_the_speakers(corpus: Corpus) -> None:
    found = evaluate(small_model(), corpus, metrics=FAST, limit=3)
    assert {row.speaker for row in found.files} == {"speaker0", "speaker1", "speaker2"}


def test_bad_files_are_counted_with_their_reason(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = folder / "test" / "bad"
    bad.mkdir()
    soundfile.write(bad / "silence.wav", np.zeros(16000), 16000)
    soundfile.write(bad / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(bad / "short.wav", speech_like(0.2, 0)[1000:], 16000)
    (bad / "text.wav").write_text("this is no sound")
    (bad / "empty.wav").write_bytes(b"")
    whole = (folder / "test/speaker0/file 0 ü.wav").read_bytes()
    (bad / "cut.wav").write_bytes(whole[: len(whole) // 2])
    found = evaluate(small_model(), Corpus.open(folder), metrics=["si_sdr", "pesq_nb", "estoi"])
    problems = {Path(row.path).name: row.problem for row in found.files if row.problem}
    assert set(problems) == {"silence.wav", "nan.wav", "text.wav", "empty.wav", "cut.wav"}
    assert problems["silence.wav"] == "the file is silent"
    assert "NaN" in problems["nan.wav"]
    assert "cut short" in problems["cut.wav"]
    assert not any(str(folder) in problem for problem in problems.values())
    summary = found.scores["pesq_nb"]
    assert summary.n == 6
    assert summary.failures == {NOT_MEASURED: 5, "shorter than the 0.25 s that PESQ needs": 1}
    assert (found.scores["si_sdr"].n, found.scores["elbo"].n) == (7, 7)
    assert math.isfinite(summary.mean or math.nan)
    assert sum("is not measured" in message for message in caplog.messages) == 5


def test_other_rates_and_stereo_are_brought_to_the_model_s(tmp_path: Path) -> None:
    stereo = np.stack([speech_like(1.0, 0), speech_like(1.0, 0)], axis=1)
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "a.wav", stereo[:, :1], 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "s" / "b.wav", np.repeat(stereo, 3, axis=0), 48000, subtype="FLOAT")
    one, other = evaluate(small_model(), Corpus.open(tmp_path), metrics=FAST, latents="mean").files
    assert other.seconds == pytest.approx(one.seconds, abs=0.05)


def test_the_folder_holds_rows_settings_and_summary(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = evaluate(small_model(), corpus, metrics=FAST, out=out, workers=1)
    assert sorted(path.name for path in out.iterdir()) == ["scores.csv", "settings.json", "summary.json"]
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [utterance.name for utterance in corpus]
    assert [float(row["si_sdr"]) for row in rows] == [row.scores["si_sdr"].value for row in found.files]
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["scores"]["si_sdr"]["mean"] == found.scores["si_sdr"].mean
    assert (summary["files"], summary["speakers"], summary["settings"]["mode"]) == (6, 3, "teacher-forced")


class StopError(Exception):
    """Raised in the middle of an evaluation."""


def stop_after(files: int):
    def report(done: int, total: int) -> None:
        if done == files:
            raise StopError

    return report


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_evaluation_goes_on(corpus: Corpus, tmp_path: Path, workers: int) -> None:
    model = small_model()
    with pytest.raises(StopError):
        evaluate(model, corpus, metrics=FAST, out=tmp_path, batch_size=2, workers=workers, report=stop_after(3))
    kept = (tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert len(kept) == 4
    seen: list[tuple[int, int]] = []
    found = evaluate(model, corpus, metrics=FAST, out=tmp_path, batch_size=2, report=lambda *now: seen.append(now))
    assert seen == [(4, 6), (5, 6), (6, 6)]
    assert found.timing["files"] == 3
    whole = evaluate(model, corpus, metrics=FAST, batch_size=2)
    assert np.allclose(numbers(found), numbers(whole), rtol=1e-4, atol=1e-4)
    assert set(kept) <= set((tmp_path / "scores.csv").read_text(encoding="utf-8").splitlines())


def test_half_a_line_is_measured_again(corpus: Corpus, tmp_path: Path) -> None:
    model = small_model()
    whole = evaluate(model, corpus, metrics=FAST, out=tmp_path)
    path = tmp_path / "scores.csv"
    data = path.read_bytes()
    for cut in (len(data) - 1, len(data) - 30, len(data) // 2, 10, 0):
        path.write_bytes(data[:cut])
        again = evaluate(model, corpus, metrics=FAST, out=tmp_path)
        assert again.timing["files"] > 0
        assert np.allclose(numbers(again), numbers(whole), rtol=1e-4, atol=1e-4)


def test_other_settings_are_refused_unless_overwritten(corpus: Corpus, tmp_path: Path) -> None:
    model = small_model()
    evaluate(model, corpus, metrics=FAST, limit=2, out=tmp_path)
    before = (tmp_path / "scores.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"another mode \(teacher-forced, now generation\).*--overwrite"):
        evaluate(model, corpus, metrics=FAST, limit=2, out=tmp_path, mode="generation")
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    with pytest.raises(ConfigError, match="another model "):
        evaluate(model, corpus, metrics=FAST, limit=2, out=tmp_path)
    assert (tmp_path / "scores.csv").read_bytes() == before
    found = evaluate(model, corpus, metrics=FAST, limit=2, out=tmp_path, overwrite=True)
    assert found.timing["files"] == 2


def test_a_foreign_folder_is_not_overwritten(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("somebody,else\n")
    with pytest.raises(ConfigError, match="holds an evaluation with"):
        evaluate(small_model(), corpus, metrics=FAST, limit=1, out=tmp_path)
    assert (tmp_path / "scores.csv").read_text() == "somebody,else\n"


def test_a_folder_that_cannot_be_made_is_one_line(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        evaluate(small_model(), corpus, metrics=FAST, limit=1, out=tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "free"}, "teacher-forced or generation"),
        ({"latents": "mode"}, "sample or mean"),
        ({"metrics": ["pesq"]}, "no metric 'pesq'"),
        ({"workers": -1}, "workers"),
        ({"limit": 0}, "limit"),
    ],
)
def test_unknown_settings_are_refused(corpus: Corpus, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(small_model(), corpus, **settings)


def test_an_empty_corpus_is_refused(corpus: Corpus) -> None:
    with pytest.raises(DataError, match="no files to evaluate on"):
        evaluate(small_model(), Corpus(corpus.root, []))


def test_a_killed_worker_loses_nothing(corpus: Corpus, tmp_path: Path) -> None:
    model = deadly_model(tmp_path / "killed")
    found = evaluate(model, corpus, metrics=FAST, workers=1, out=tmp_path / "out")
    assert (tmp_path / "killed").exists()
    expected = evaluate(small_model(), corpus, metrics=FAST)
    assert np.allclose(numbers(found), numbers(expected), rtol=1e-4, atol=1e-4)
    names = [line.partition(",")[0] for line in (tmp_path / "out/scores.csv").read_text("utf-8").splitlines()]
    assert names[1:] == [utterance.name for utterance in corpus]


def test_a_model_that_fails_on_a_file_costs_that_file(corpus: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    found = evaluate(deadly_model(None), corpus, metrics=FAST)
    longest = found.files[2]
    assert [row.problem for row in found.files if row is not longest] == [""] * 5
    assert (longest.problem, longest.speaker) == ("RuntimeError: out of luck", "speaker1")
    assert found.scores["elbo"].failures == {NOT_MEASURED: 1}
    assert "in draw_noise" in caplog.text


def test_what_could_not_be_measured_is_tried_again(corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    path = folder / "test/speaker0/file 0 ü.wav"
    sound = path.read_bytes()
    path.write_bytes(b"")
    model = small_model()
    assert evaluate(model, corpus, metrics=FAST, out=tmp_path / "out").files[0].problem
    path.write_bytes(sound)
    found = evaluate(model, corpus, metrics=FAST, out=tmp_path / "out")
    assert (found.timing["files"], found.files[0].problem) == (1, "")
    assert found.scores["si_sdr"].n == 6


def test_nothing_measured_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the 1 files could be measured; .*a.wav: "):
        evaluate(small_model(), Corpus.open(tmp_path), metrics=FAST)


def test_a_signal_stops_between_files(corpus: Corpus, tmp_path: Path) -> None:
    def report(done: int, total: int) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=r"stopped with 2 of 6 files measured in .*; the same call goes on") as stop:
        evaluate(small_model(), corpus, metrics=FAST, batch_size=2, out=tmp_path, report=report)
    assert stop.value.signum == signal.SIGTERM
    assert evaluate(small_model(), corpus, metrics=FAST, out=tmp_path).timing["files"] == 4


def test_rows_survive_the_table() -> None:
    scores = {"a": Score(0.1), "b": Score.failure('too "short", really\nso'), "c": Score(-1e-300)}
    row = FileScores("ü ,\n.wav", "ann", 1.25, 7, scores)
    assert str(FileScores.from_row(list(scores), row.to_row())) == str(row)
    with pytest.raises(ValueError, match="cells"):
        FileScores.from_row(["a"], row.to_row())


def test_the_fingerprint_sees_weights_and_front_end() -> None:
    one, two = small_model(), small_model()
    assert fingerprint(one) == fingerprint(two)
    two.front_end = dataclasses.replace(one.front_end, trim_db=None)
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(one) != fingerprint(small_model("vrnn"))
