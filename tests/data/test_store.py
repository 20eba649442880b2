"""The store of prepared sound: what 16 bits cost, whose bytes are believed, and who may write at once."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynvae.audio import FrontEnd, prepare, read_audio, write_audio
from dynvae.data import Bank, Corpus, Crops, Utterances, decode
from dynvae.data.store import Store
from dynvae.errors import AudioError, DataError

Tree = Callable[..., Path]
FRONT_END = FrontEnd(window_length=256, hop_length=64)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its writers")


def banks(corpus: Corpus, front_end: FrontEnd = FRONT_END) -> tuple[Bank, Bank]:
    """What 16 bits keep, and what is exact."""
    return tuple(Bank(corpus, front_end, keep_silence=True, samples=kind) for kind in ("int16", "exact"))


def refuse(*unused: object) -> None:
    pytest.fail("a file was read again")


# ---- what it costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("front_end", [FRONT_END, FrontEnd(trim_db=None, normalize="none", pad_mode="reflect")])
def test_files_of_16_bits_lose_nothing(tmp_path: Path, front_end: FrontEnd) -> None:
    dice = np.random.default_rng(0)
    loud = np.clip(dice.normal(0, 0.5, 5000), -1, 1).astype(np.float32)  # clipped at both ends of the 16 bits
    write_audio(tmp_path / "loud.wav", loud, 16000)
    write_audio(tmp_path / "quiet.flac", 1e-3 * loud + 0.2, 16000)
    write_audio(tmp_path / "silence.wav", np.zeros(2000, np.float32), 16000)
    write_audio(tmp_path / "constant.wav", np.full(2000, 0.1, np.float32), 16000)
    bank = Bank(Corpus.from_folder(tmp_path), front_end, keep_silence=True)
    for index, utterance in enumerate(bank.utterances):
        assert bank.store.entries[index].kind == "int16"
        waveform, _ = soundfile.read(utterance.path, dtype="float32")
        assert torch.equal(bank[index], torch.from_numpy(prepare(waveform, front_end)))


@pytest.mark.parametrize(
    "kind", [{"subtype": "FLOAT"}, {"subtype": "PCM_24"}, {"subtype": "PCM_16", "sample_rate": 44100}]
)
@pytest.mark.parametrize("normalize", ["peak", "none"])
def test_other_files_have_noise_98_decibels_below_a_sine(tmp_path: Path, kind: dict[str, str], normalize: str) -> None:
    for index, level in enumerate((0.9, 0.01)):
        sine = level * np.sin(0.1234567 * np.arange(40000))
        write_audio(tmp_path / f"{index}.wav", sine, **{"sample_rate": 16000, **kind})  # type: ignore[arg-type]
    small, exact = banks(Corpus.from_folder(tmp_path), FrontEnd(normalize=normalize))  # type: ignore[arg-type]
    assert {entry.kind for entry in small.store.entries} == {"int16"}
    assert {entry.kind for entry in exact.store.entries} == {"float32"}
    for index in range(2):
        error = small[index].double() - exact[index]
        assert small[index].abs().max() == pytest.approx(float(exact[index].abs().max()), rel=1e-6)  # nothing clips
        ratio = 10 * torch.log10(exact[index].double().square().mean() / error.square().mean())
        assert 97.5 < ratio < 99.5


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30), samples=st.integers(1, 600), level=st.floats(1e-12, 1e6))
def test_no_sample_is_off_by_more_than_half_a_step(tmp_path: Path, seed: int, samples: int, level: float) -> None:
    sound = level * np.random.default_rng(seed).standard_normal(samples)
    soundfile.write(tmp_path / "any.wav", sound.astype(np.float32), 16000, subtype="FLOAT")
    front_end = FrontEnd(normalize="none", trim_db=None)
    small, exact = banks(Corpus.from_folder(tmp_path), front_end)
    peak = float(exact[0].abs().max())
    assert float((small[0].double() - exact[0]).abs().max()) <= peak / 32767 * 0.505  # the rest is rounding of float32


def test_the_default_is_exact_for_every_file(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    write_audio(tmp_path / "a 16 bits.wav", dice.uniform(-1, 1, 777), 16000)
    write_audio(tmp_path / "b float.wav", dice.standard_normal(5001), 16000, "FLOAT")
    write_audio(tmp_path / "c stereo.wav", dice.uniform(-1, 1, (2, 5000)), 16000)
    write_audio(tmp_path / "d rate.wav", dice.uniform(-1, 1, 5000), 44100)
    write_audio(tmp_path / "e 16 bits.wav", dice.uniform(-1, 1, 3333), 16000)
    bank = Bank(Corpus.from_folder(tmp_path), FRONT_END, cache=tmp_path / "cache")
    assert [entry.kind for entry in bank.store.entries] == ["int16", "float32", "float32", "float32", "int16"]
    for index, utterance in enumerate(bank.utterances):
        waveform, _ = read_audio(utterance.path, 16000)
        assert torch.equal(bank[index], torch.from_numpy(prepare(waveform, FRONT_END)))


# ---- pieces --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_a_piece_goes_on_beyond_the_ends_as_the_front_end_says(tree: Tree, pad_mode: str) -> None:
    front_end = FrontEnd(window_length=256, hop_length=64, pad_mode=pad_mode)  # type: ignore[arg-type]
    bank = Bank(Corpus.open(tree({"a/x.wav": 1000})), front_end)
    padded = front_end.pad(bank[0]).numpy()
    for start in (-128, -40, 0, 77, 900, 1000, 1050):
        for length in (1, 50, 128):
            piece = np.full(min(length, bank.samples(0) + 128 - start), np.nan, np.float32)
            bank.cut(0, start, piece)
            assert np.array_equal(piece, padded[start + 128 : start + 128 + len(piece)])


@pytest.mark.parametrize("name", ["64ms", "32ms"])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_spectra_made_at_once_have_the_bits_of_each_utterance(tree: Tree, name: str, pad_mode: str) -> None:
    window = {"64ms": 1024, "32ms": 512}[name]
    front_end = FrontEnd(window_length=window, pad_mode=pad_mode)  # type: ignore[arg-type]
    corpus = Corpus.open(tree({"a/long.wav": 30000, "b/middle.wav": 9000, "c/short.wav": 500, "c/tiny.wav": 20}))
    utterances = Utterances(corpus, front_end)
    x, lengths, names, _ = utterances.waves([2, 0, 3, 1]).power(front_end)
    for row, index in enumerate([2, 0, 3, 1]):
        item = utterances[index]
        assert (names[row], int(lengths[row])) == (item.name, item.length)
        assert torch.equal(x[row, : item.length], item.power)
        assert not x[row, item.length :].any()
    crops = Crops(corpus, front_end, frames=20)
    for index, power in enumerate(crops.waves(range(len(crops))).power(front_end).x):
        assert torch.equal(crops[index].power, power)


# ---- found again ---------------------------------------------------------------------------------------------------


def test_a_store_is_found_again_whatever_the_window(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    corpus, cache = Corpus.open(tree("a/x.wav", "b/y.wav")), tmp_path / "cache"
    told: list[tuple[int, int]] = []
    with caplog.at_level(logging.INFO, "dynvae"):
        first = Bank(corpus, FRONT_END, cache=cache, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 2), (2, 2)]
    assert "preparing 2 files" in caplog.text
    assert isinstance(first.store.data, np.memmap)
    monkeypatch.setattr(decode, "read_audio", refuse)
    again = Bank(corpus, FrontEnd(window_length=128, hop_length=64), cache=cache)
    memory = pickle.loads(pickle.dumps(first))
    assert len(pickle.dumps(first)) < 6000 < first.store.data.nbytes
    for index in range(2):
        assert torch.equal(again[index], first[index])
        assert torch.equal(memory[index], first[index])


def test_a_change_of_file_or_setting_makes_it_anew(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tree("a/x.wav", "b/y.wav"), tmp_path / "cache"
    old = Bank(Corpus.open(folder), FRONT_END, cache=cache)
    write_audio(folder / "b/y.wav", np.linspace(-1, 1, 6000), 16000)
    new = Bank(Corpus.open(folder), FRONT_END, cache=cache)
    assert torch.equal(new[0], old[0])
    assert not torch.equal(new[1], old[1])
    assert new.store.path == old.store.path  # what is out of date does not pile up
    os.utime(folder / "a/x.wav", ns=(1, 1))
    Bank(Corpus.open(folder), FRONT_END, cache=cache)
    paths = {new.store.path}
    for change in ({"trim_db": None}, {"normalize": "none"}, {"sample_rate": 8000}, {"hop_length": 32}):
        other = FrontEnd(**FRONT_END.to_dict() | change)
        paths.add(Bank(Corpus.open(folder), other, cache=cache).store.path)
    paths.add(Bank(Corpus.open(folder), FRONT_END, samples="int16", cache=cache).store.path)
    paths.add(Bank(Corpus("", Corpus.open(folder).utterances[:1]), FRONT_END, cache=cache).store.path)
    assert len(paths) == 7
    monkeypatch.setattr(decode, "read_audio", refuse)
    Bank(Corpus.open(folder), FRONT_END, cache=cache)


@pytest.mark.parametrize("damage", ["cut", "empty", "index", "mark", "other"])
def test_a_damaged_store_is_made_anew(
    tree: Tree, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    corpus, cache = Corpus.open(tree("a/x.wav", "b/y.wav")), tmp_path / "cache"
    bank = Bank(corpus, FRONT_END, cache=cache)
    waveform, path = bank[0], bank.store.path
    assert path is not None
    content = bytearray(path.read_bytes())
    if damage == "index":
        content[-100] = 0
    path.write_bytes({"cut": content[:-500], "empty": b"", "index": content, "mark": content[:-1] + b"\xff",
                      "other": b"x" * 1000}[damage])  # fmt: skip
    assert torch.equal(Bank(corpus, FRONT_END, cache=cache)[0], waveform)
    assert "is damaged" in caplog.text


# ---- bad files -----------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_file_is_kept(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, cache = tree("a/x.wav", "b/y.wav"), tmp_path / "cache"
    (folder / "a/empty.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"empty\.wav"):
        Bank(Corpus.open(folder), FRONT_END, cache=cache)
    assert not list(cache.rglob("samples"))
    Bank(Corpus.open(folder), FRONT_END, "skip", cache=cache)
    monkeypatch.setattr(decode, "read_audio", refuse)
    caplog.clear()
    bank = Bank(Corpus.open(folder), FRONT_END, "skip", cache=cache)
    assert [utterance.name for utterance in bank.utterances] == ["a/x.wav", "b/y.wav"]
    assert "1 of 3 files are left out" in caplog.text
    assert "0 bytes" in caplog.text
    with pytest.raises(AudioError, match=r"empty\.wav.*0 bytes"):
        Bank(Corpus.open(folder), FRONT_END, cache=cache)


def test_a_long_list_of_bad_files_is_cut(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    folder = tree("a/x.wav")
    for index in range(30):
        (folder / f"a/bad {index}.wav").write_bytes(b"no sound")
    Bank(Corpus.open(folder), FRONT_END, "skip")
    assert "30 of 31 files are left out" in caplog.text
    assert caplog.text.count("not a sound file") == 20
    assert "and 10 more" in caplog.text


def test_nothing_but_bad_files(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"")
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(DataError, match="no usable utterance"):
            Bank(Corpus.open(tmp_path), FRONT_END, "skip", cache=cache)


# ---- other processes, full disks -----------------------------------------------------------------------------------


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


@forks
def test_of_several_processes_one_writes(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus, cache, log = Corpus.open(tree(*(f"a/{i}.wav" for i in range(6)))), tmp_path / "cache", tmp_path / "log"
    read_audio = decode.read_audio

    def slowly(path: Path) -> object:
        with log.open("a") as file:
            file.write(f"{path.name}\n")
        time.sleep(0.05)
        return read_audio(path)

    monkeypatch.setattr(decode, "read_audio", slowly)
    children = [in_child(lambda: Bank(corpus, FRONT_END, cache=cache)) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert sorted(log.read_text().split()) == [f"{i}.wav" for i in range(6)]


@forks
def test_a_killed_writer_leaves_nothing_that_is_believed(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, cache = Corpus.open(tree("a/x.wav", "b/y.wav")), tmp_path / "cache"
    written = tmp_path / "written"

    def hang(*numbers: int) -> None:
        written.touch()
        time.sleep(60)

    child = in_child(lambda: Bank(corpus, FRONT_END, cache=cache, progress=hang))
    while not written.exists():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert list(cache.rglob(".tmp-*"))
    assert not list(cache.rglob("samples"))
    bank = Bank(corpus, FRONT_END, cache=cache)
    assert not list(cache.rglob(".tmp-*"))
    assert torch.equal(bank[1], Bank(corpus, FRONT_END)[1])


@forks
def test_a_full_disk_is_told_in_one_line(tree: Tree, tmp_path: Path) -> None:
    import resource

    corpus, said = Corpus.open(tree("a/x.wav")), tmp_path / "said"

    def write_too_much() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
        try:
            Bank(corpus, FRONT_END, cache=tmp_path / "cache")
        except DataError as error:
            said.write_text(str(error))

    assert os.waitpid(in_child(write_too_much), 0)[1] == 0
    assert "cannot be kept (File too large); name another folder by DYNVAE_CACHE" in said.read_text()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != "lock"]


def test_a_cache_that_cannot_be(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be kept"):
        Store.of(Corpus.open(tree("a/x.wav")), FRONT_END, folder=tmp_path / "file")
