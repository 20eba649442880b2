"""Folders and manifests as corpora."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynvae.data import Corpus
from dynvae.data.manifest import read_rows
from dynvae.data.splits import assign, split_of_folder, split_of_label
from dynvae.errors import DataError

Tree = Callable[..., Path]


def speakers_of(corpus: Corpus) -> dict[str, set[str]]:
    return {split: {u.speaker for u in corpus if u.split == split} for split in corpus.splits}


def test_the_first_level_is_the_speaker_and_splits_share_none(tree: Tree) -> None:
    folder = tree(*(f"s{i}/deep/{j}.wav" for i in range(12) for j in range(2)))
    corpus = Corpus.open(folder)
    assert len(corpus) == 24
    assert corpus.speakers == sorted(f"s{i}" for i in range(12))
    split = speakers_of(corpus)
    assert {name: len(part) for name, part in split.items()} == {"train": 10, "valid": 1, "test": 1}
    assert not (split["train"] & split["valid"]) | (split["train"] & split["test"]) | (split["valid"] & split["test"])
    again = Corpus.open(str(folder))
    assert again.utterances == corpus.utterances
    assert Corpus.open(corpus) is corpus
    assert corpus[0].path.is_absolute()


@pytest.mark.parametrize(
    "names",
    [("train", "valid", "test"), ("train-clean-100", "dev-clean", "test-clean"), ("si_tr_s", "si_dt_05", "si_et_05"),
     ("Train", "val", "TEST")],
)  # fmt: skip
def test_folders_that_are_splits(tree: Tree, names: tuple[str, ...]) -> None:
    corpus = Corpus.open(tree(*(f"{name}/spk{i}/u.wav" for i, name in enumerate(names))))
    assert speakers_of(corpus) == {"train": {"spk0"}, "valid": {"spk1"}, "test": {"spk2"}}
    assert len(corpus.split("dev")) == 1


def test_a_missing_validation_split_is_taken_from_training(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    corpus = Corpus.open(tree(*(f"train/s{i}/u.wav" for i in range(10)), "test/x/u.wav", "readme/x.wav"))
    assert corpus.splits == {"train": 9, "valid": 1, "test": 1}
    assert "no validation split" in caplog.text
    assert "left out" in caplog.text


def test_speakers_named_like_splits_are_not_splits() -> None:
    assert split_of_folder("ann-test-train") is None
    assert split_of_folder("trevor") is None
    assert split_of_folder("tr05_org") == "train"
    assert split_of_label(" Dev ") == "valid"
    assert split_of_label("test_unseen") == "test_unseen"


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_a_flat_folder_is_divided_by_file_with_a_notice(
    tree: Tree, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    with caplog.at_level(logging.WARNING):
        corpus = Corpus.open(tree(*(f"{i}.wav" for i in range(count))))
    assert corpus.speakers == [""]
    assert "files are divided" in caplog.text
    assert sum(corpus.splits.values()) == count
    assert set(corpus.splits) == {1: {"train"}, 2: {"train", "valid"}}.get(count, {"train", "valid", "test"})


@given(st.sets(st.text(min_size=1), min_size=3, max_size=60))
def test_division_is_by_hash_and_leaves_no_split_empty(names: set[str]) -> None:
    shares = [("test", 0.1), ("valid", 0.1), ("train", 0.8)]
    given_ = assign(list(names), shares)
    assert given_ == assign(sorted(names, reverse=True), shares)
    assert set(given_) == names
    counts = [list(given_.values()).count(split) for split in ("test", "valid", "train")]
    assert min(counts) >= 1
    assert counts[0] == counts[1] == max(1, round(0.1 * len(names)))


def test_odd_names_hidden_files_and_other_files(tree: Tree) -> None:
    folder = tree("früh 早/a b.wav", "früh 早/.hidden.wav", ".git/x.wav", "x/UPPER.WAV")
    (folder / "x" / "notes.txt").write_text("no sound")
    assert sorted(u.name for u in Corpus.open(folder)) == ["früh 早/a b.wav", "x/UPPER.WAV"]


def test_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sound files"):
        Corpus.open(tmp_path)
    with pytest.raises(DataError, match="no such corpus"):
        Corpus.open(tmp_path / "absent")
    (tmp_path / "list.txt").write_text("a.wav")
    with pytest.raises(DataError, match=r"ends in \.csv or \.jsonl"):
        Corpus.open(tmp_path / "list.txt")


def test_manifest_csv_and_jsonl(tree: Tree) -> None:
    folder = tree("a/1.wav", "b/2.wav")
    rows = [{"path": "a/1.wav", "split": "train", "speaker": "ann", "seconds": 0.375, "note": "x, y"},
            {"path": "b/2.wav", "split": "dev", "speaker": "bob", "seconds": 0.375, "note": "ü"}]  # fmt: skip
    (folder / "list.csv").write_text(
        '\ufeffpath,split,speaker,seconds,note\na/1.wav,train,ann,0.375,"x, y"\nb/2.wav,dev,bob,0.375,ü\n', "utf-8"
    )
    (folder / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", "utf-8")
    one, two = Corpus.open(folder / "list.csv"), Corpus.open(folder / "list.jsonl")
    assert one.utterances == two.utterances
    assert [(u.name, u.split, u.speaker, u.seconds) for u in one] == [
        ("a/1.wav", "train", "ann", 0.375), ("b/2.wav", "valid", "bob", 0.375)]  # fmt: skip
    assert one[0].extra == two[0].extra == {"note": "x, y"}
    with pytest.raises(DataError, match="no split 'test'; it has train, valid"):
        one.split("test")


def test_a_manifest_in_the_folder_is_used_and_speakers_come_from_folders(tree: Tree) -> None:
    folder = tree("a/1.wav", "b/2.wav", "c/3.wav", "d/4.wav")
    (folder / "manifest.csv").write_text("path\na/1.wav\nb/2.wav\nc/3.wav\n")
    corpus = Corpus.open(folder)
    assert corpus.speakers == ["a", "b", "c"]
    assert corpus.splits == {"train": 1, "valid": 1, "test": 1}


def test_paths_may_begin_with_the_folders_own_name(tree: Tree) -> None:
    folder = tree("a/1.wav")
    (folder / "manifest.csv").write_text("path,split\ncorpus/a/1.wav,test\n")
    assert Corpus.open(folder)[0].name == "a/1.wav"
    (folder.parent / "other.wav").write_bytes((folder / "a" / "1.wav").read_bytes())
    (folder / "manifest.csv").write_text("path,split\nother.wav,test\n")
    with pytest.raises(DataError, match=r"leads out|not there"):
        Corpus.open(folder)


def test_a_manifest_elsewhere_names_its_folder(tree: Tree, tmp_path: Path) -> None:
    folder = tree("a/1.wav")
    (tmp_path / "list.csv").write_text("path,split\na/1.wav,test\n")
    assert len(Corpus.open(f"{tmp_path / 'list.csv'}@{folder}")) == 1


@pytest.mark.parametrize("path", ["../outside.wav", "a/../../outside.wav", "..\\outside.wav", "C:\\x.wav", "C:/x.wav",
                                  "/etc/passwd", "\\x.wav", "link/outside.wav", "linked.wav", "a\0b.wav"])  # fmt: skip
def test_no_path_leads_out_of_the_folder(tree: Tree, tmp_path: Path, path: str) -> None:
    folder = tree("a/1.wav")
    tree("outside.wav", root=".")
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    (folder / "linked.wav").symlink_to(tmp_path / "outside.wav")
    manifest = folder / "m.jsonl"
    manifest.write_text(json.dumps({"path": path, "split": "test"}))
    with pytest.raises(DataError, match=r"m\.jsonl, line 1: .*(leads out|not a path)") as error:
        Corpus.open(manifest)
    assert "\n" not in str(error.value)


def test_a_linked_file_of_a_folder_must_stay_inside(tree: Tree, tmp_path: Path) -> None:
    folder = tree("a/1.wav")
    tree("outside.wav", root=".")
    (folder / "a" / "2.wav").symlink_to(folder / "a" / "1.wav")
    assert len(Corpus.open(folder)) == 2
    (folder / "a" / "3.wav").symlink_to(tmp_path / "outside.wav")
    with pytest.raises(DataError, match="leads out"):
        Corpus.open(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", b"", "no column 'path'"),
        ("m.csv", b"file,split\nx.wav,train\n", "no column 'path'; rename 'file'"),
        ("m.csv", b"path,split\n", "lists no files"),
        ("m.csv", b"path,path\nx,y\n", "same name"),
        ("m.csv", b"path,split\na/1.wav\n", "line 2: 1 values for 2 columns"),
        ("m.csv", b"path,split\n,train\n", "line 2: the row has no path"),
        ("m.csv", b"path\na/1.wav\na/1.wav\n", "line 3: a/1.wav is listed already in line 2"),
        ("m.csv", b"path\na/9.wav\na/1.wav\n", "1 of 2 files are not there, the first a/9.wav"),
        ("m.csv", b"path,seconds\na/1.wav,long\n", "'long' is not a number of seconds"),
        ("m.csv", b"path,seconds\na/1.wav,nan\n", "'nan' is not a number of seconds"),
        ("m.csv", b"path,split\na/1.wav,train\na/2.wav,\n", "some have none, e.g. a/2.wav"),
        ("m.csv", b"path\n\xff\xfe\n", "not UTF-8"),
        ("m.csv", b'path\n"a/1.wav\n', "not a CSV file"),
        ("m.csv", b"path\n" + b"x" * 70000, "line 2: longer than"),
        ("m.jsonl", b"{", "line 1: not a JSON object"),
        ("m.jsonl", b"[1]", "line 1: not a JSON object"),
        ("m.jsonl", b'{"path": 3}', "line 1: the path is not text"),
        ("m.jsonl", b'{"split": "train"}', "line 1: the row has no path"),
        ("m.jsonl", b"[" * 60000, "line 1: not a JSON object"),
        ("m.jsonl", b'{"path": "\\ud800.wav"}', "line 1: .*not a path below"),
        ("m.jsonl", b'{"path": "' + b"x" * 5000 + b'.wav"}', "line 1: .*too long"),
    ],
)
def test_wrong_manifests_are_named_in_one_line(tree: Tree, name: str, content: bytes, message: str) -> None:
    folder = tree("a/1.wav", "a/2.wav")
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        Corpus.open(folder / name)
    assert str(folder / name) in str(error.value)
    assert "\n" not in str(error.value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".jsonl"]), head=st.sampled_from([b"", b"path\n"])
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, suffix: str, head: bytes) -> None:
    manifest = tmp_path / f"m{suffix}"
    manifest.write_bytes(head + content)
    try:
        assert all(row["path"] for _, row in read_rows(manifest))
        Corpus.open(manifest)
    except DataError:
        pass


def test_rows_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynvae.data.manifest._ROWS_AT_MOST", 3)
    (tmp_path / "m.csv").write_text("path\n" + "x.wav\n" * 4)
    with pytest.raises(DataError, match="more than 3 rows"):
        list(read_rows(tmp_path / "m.csv"))


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_a_corpus_is_written_down_and_read_again(tree: Tree, name: str) -> None:
    folder = tree(*(f"s{i}/u, {i}.wav" for i in range(4)))
    corpus = Corpus.open(folder)
    assert corpus.write_manifest(folder / name) == 4
    again = Corpus.open(folder / name)
    assert again.utterances == corpus.utterances
    assert "4 speakers" in repr(again)


def test_the_shared_speech(shared: Path) -> None:
    corpus = Corpus.open(shared / "data" / "speech")
    assert corpus.splits == {"train": 157, "valid": 30, "test": 64}
    split = speakers_of(corpus)
    assert not split["train"] & (split["valid"] | split["test"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_manifest_without_permission(tree: Tree) -> None:
    folder = tree("a/1.wav")
    (folder / "m.csv").write_text("path\na/1.wav\n")
    (folder / "m.csv").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        Corpus.open(folder / "m.csv")
