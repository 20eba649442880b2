"""The layouts of known corpora, on tiny copies of their trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from dynvae.data import Corpus
from dynvae.data.known import KNOWN, prepare_corpus
from dynvae.errors import DataError

Tree = Callable[..., Path]

WSJ0 = ("wsj0/si_tr_s/01t/01to030v.wav", "wsj0/si_tr_s/011/011c0201.wav", "wsj0/si_dt_05/22g/22go010a.wav",
        "wsj0/SI_ET_05/440/440c0201.wav", "wsj0/si_et_05/440/440c0202.wav",
        "wsj0/si_et_20/440/440c0301.wav")  # fmt: skip
VOICEBANK = ("clean_trainset_28spk_wav/p226_001.wav", "clean_trainset_28spk_wav/p227_002.wav",
             "clean_trainset_28spk_wav/p287_003.wav", "clean_testset_wav/p232_001.wav",
             "noisy_trainset_28spk_wav/p227_002.wav", "clean_trainset_56spk_wav/p234_001.wav")  # fmt: skip
TCD = ("volunteers/01M/straightcam/si453.wav", "volunteers/09F/straightcam/sa1.wav",
       "volunteers/17F/Clips/straightcam/sa1.wav", "lipspeakers/Lipspkr1/straightcam/sa1.wav")  # fmt: skip
NTCD = ("Clean/volunteers/01M/straightcam/sa1.wav", "Babble/5/volunteers/01M/straightcam/sa1.wav",
        "lr_-5/volunteers/09F/straightcam/sa1.wav", "Clean/volunteers/09F/straightcam/sa1.wav")  # fmt: skip
GRID = ("s1/bbaf2n.wav", "audio/s20/lwajza.wav", "s4/video/sgio6n.flac", "s31/lrbi7p.wav",
        "s31/notes.wav", "noise/lrbi7p.wav")  # fmt: skip
LIBRI = ("LibriSpeech/train-clean-5/1088/134315/1088-0.flac", "LibriSpeech/dev-clean-2/84/121123/84-0.flac",
         "LibriSpeech/test-clean/61/70968/61-0.flac")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "files", "expected"),
    [
        ("wsj0", WSJ0, {("train", "01t"), ("train", "011"), ("valid", "22g"), ("test", "440")}),
        ("voicebank", VOICEBANK, {("valid", "p226"), ("train", "p227"), ("valid", "p287"), ("test", "p232")}),
        ("tcd-timit", TCD, {("train", "01M"), ("test", "09F"), ("valid", "17F")}),
        ("ntcd-timit", NTCD, {("train", "01M"), ("test", "09F")}),
        ("grid", GRID, {("test", "s1"), ("test", "s20"), ("valid", "s4"), ("train", "s31")}),
        ("librispeech", LIBRI, {("train", "1088"), ("valid", "84"), ("test", "61")}),
    ],
)
def test_layouts(tree: Tree, kind: str, files: tuple[str, ...], expected: set[tuple[str, str]]) -> None:
    folder = tree(*files)
    corpus, differences = prepare_corpus(kind, folder)
    assert {(u.split, u.speaker) for u in corpus} == expected
    assert all(u.seconds == 0.375 for u in corpus)
    assert differences
    assert all("a whole copy has" in line for line in differences)
    corpus.write_manifest(folder / "manifest.csv")
    assert Corpus.open(folder).utterances == corpus.utterances


def test_counts_are_those_of_the_papers() -> None:
    assert KNOWN["wsj0"].files == {"si_tr_s": 12765, "si_dt_05": 1026, "si_et_05": 651}
    assert KNOWN["voicebank"].speakers["train"] == 26
    assert KNOWN["voicebank"].files["test"] == 824


def test_a_whole_copy_has_no_differences(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(KNOWN["wsj0"], files={"si_tr_s": 2, "si_dt_05": 1, "si_et_05": 2})
    monkeypatch.setitem(KNOWN, "wsj0", small)
    assert prepare_corpus("wsj0", tree(*WSJ0)).differences == []
    folder = tree("wsj0/si_tr_s/01t/extra.wav")
    assert prepare_corpus("wsj0", folder).differences == ["si_tr_s has 3 files, a whole copy has 2"]


def test_subsets_of_librispeech_may_be_missing(tree: Tree) -> None:
    differences = prepare_corpus("librispeech", tree(*LIBRI)).differences
    assert differences == [
        "test-clean has 1 files, a whole copy has 2,620",
        "train-clean-5 has 1 files, a whole copy has 1,519",
        "dev-clean-2 has 1 files, a whole copy has 1,089",
    ]


def test_an_utterance_in_two_formats_counts_once(tree: Tree) -> None:
    folder = tree(*WSJ0)
    for name in WSJ0:
        (folder / name).with_suffix(".wv1").write_bytes(b"NIST_1A compressed")
        (folder / name).with_suffix(".wv2").write_bytes(b"NIST_1A compressed")
    corpus, _ = prepare_corpus("wsj0", folder)
    assert len(corpus) == 5
    (folder / WSJ0[0]).unlink()
    with pytest.raises(DataError, match=r"01to030v\.wv1: not a sound file.*sph2pipe"):
        prepare_corpus("wsj0", folder)


def test_any_folder_and_no_folder(tree: Tree, tmp_path: Path) -> None:
    folder = tree(*(f"s{i}/a.wav" for i in range(5)))
    (folder / "manifest.csv").write_text("path\nold.wav\n")  # an old manifest is not read
    corpus, differences = prepare_corpus("folder", folder)
    assert len(corpus) == 5
    assert not differences
    for kind, source, message in (
        ("wsj0", folder, "nothing of WSJ0"), ("timit", folder, "no corpus 'timit'"), ("wsj0", tmp_path / "x", "no such")
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            prepare_corpus(kind, source)


def test_lips_in_a_folder_of_their_own_are_named(tree: Tree) -> None:
    """Published arrays are called after the sentence, below a folder of the speaker; those beside need no name."""
    folder = tree(*TCD[:2])
    for name in ("lips/01M/straightcam/si453Raw.npy", "lips/09F/sa1.npy", "volunteers/09F/straightcam/sa1.npz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    corpus, _ = prepare_corpus("tcd-timit", folder)
    assert [utterance.extra.get("lips") for utterance in corpus] == ["lips/01M/straightcam/si453Raw.npy", None]
