"""Crops and whole utterances: the right frames, the same again, and nothing that is bad."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from dynvae.audio import FrontEnd, prepare, read_audio, write_audio
from dynvae.data import Bank, BatchByLength, Corpus, Crops, CropSampler, Utterances, collate
from dynvae.errors import AudioError, ConfigError, DataError

Tree = Callable[..., Path]
FRONT_ENDS = [
    FrontEnd(window_length=256, hop_length=64),
    FrontEnd(window_length=256, hop_length=128, pad_mode="reflect"),
]


@pytest.fixture
def corpus(tree: Tree) -> Corpus:
    folder = tree({"a/long.wav": 9000, "b/middle.wav": 3000, "c/short.wav": 500, "c/tiny.wav": 20})
    return Corpus.open(folder)


def whole(corpus: Corpus, name: str, front_end: FrontEnd) -> torch.Tensor:
    path = next(u.path for u in corpus if u.name == name)
    return front_end.power(torch.from_numpy(prepare(read_audio(path)[0], front_end)))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("frames", [1, 10, 50])
def test_crops_are_consecutive_frames_of_the_whole_utterance(corpus: Corpus, front_end: FrontEnd, frames: int) -> None:
    crops = Crops(corpus, front_end, frames=frames, seed=3)
    crops.set_epoch(2)
    by_name: dict[str, list[torch.Tensor]] = {}
    for index in range(len(crops)):
        item = crops[index]
        assert item.power.shape == (frames, front_end.bins)
        assert item.power.dtype == torch.float32
        assert not item.power[item.length :].any()
        by_name.setdefault(item.name, []).append(item.power[: item.length])
    for name, parts in by_name.items():
        expected = whole(corpus, name, front_end)
        assert len(parts) == max(1, len(expected) // frames)
        joined = torch.cat(parts)
        places = [
            t for t in range(len(expected) - len(joined) + 1) if torch.equal(expected[t : t + len(joined)], joined)
        ]
        assert places, f"the crops of {name} are not frames of the whole"
        if len(expected) < frames:
            assert len(joined) == len(expected)


def test_offsets_change_with_epoch_and_seed_only(corpus: Corpus) -> None:
    front_end = FRONT_ENDS[0]
    crops = Crops(corpus, front_end, frames=30, seed=1)
    first = [crops[i].power for i in range(len(crops))]
    crops.set_epoch(1)
    second = [crops[i].power for i in range(len(crops))]
    assert any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    again = Crops(corpus, front_end, frames=30, seed=1)
    for i in reversed(range(len(again))):
        assert torch.equal(again[1, i].power, second[i])  # the epoch may come with the index
        assert torch.equal(again[0, i].power, first[i])
    other = Crops(corpus, front_end, frames=30, seed=2)
    assert any(not torch.equal(other[i].power, first[i]) for i in range(len(other)))
    with pytest.raises(IndexError):
        crops[len(crops)]


def test_a_batch_has_the_bits_of_its_items(corpus: Corpus) -> None:
    crops = Crops(corpus, FRONT_ENDS[0], frames=20)
    batch = crops.__getitems__(list(range(len(crops))))
    singles = collate([crops[i] for i in range(len(crops))])
    assert torch.equal(batch.x, singles.x)
    assert torch.equal(batch.lengths, singles.lengths)
    assert batch.names == singles.names
    assert collate(batch) is batch


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_loaders_give_the_same_with_workers(corpus: Corpus, workers: int) -> None:
    crops = Crops(corpus, FRONT_ENDS[0], frames=10)
    sampler = CropSampler(crops, batch_size=4, seed=5)
    loader = DataLoader(
        crops, batch_sampler=sampler, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
    )  # fmt: skip
    sums = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        sums += [float(batch.x.double().sum()) for batch in loader]
    expected = []
    for epoch in range(2):
        for batch in CropSampler(crops, batch_size=4, seed=5, epoch=epoch):
            expected.append(float(crops.__getitems__(batch).x.double().sum()))
    assert sums == expected


def test_sampler_ranks_share_each_batch_and_resume() -> None:
    def batches(**more: int) -> list[list[tuple[int, int]]]:
        return list(CropSampler(range(30), batch_size=8, seed=1, **more))

    one = batches(epoch=4)
    assert len(one) == 3
    assert len({index for batch in one for _, index in batch}) == 24
    assert {epoch for batch in one for epoch, _ in batch} == {4}
    for world in (2, 4, 8):
        ranks = [batches(epoch=4, rank=rank, world_size=world) for rank in range(world)]
        assert [list(chain(*parts)) for parts in zip(*ranks, strict=True)] == one
    assert batches(epoch=4, start_batch=2) == one[2:]
    assert batches(epoch=5) != one
    sampler = CropSampler(range(30), batch_size=8, seed=1, start_batch=2)
    assert len(sampler) == 1
    sampler.set_epoch(0)
    assert len(list(sampler)) == 1  # naming the epoch that it is in changes nothing
    sampler.set_epoch(4)
    assert list(sampler) == one
    rest = list(CropSampler(range(30), batch_size=8, drop_last=False))
    assert [len(batch) for batch in rest] == [8, 8, 8, 6]
    assert [len(batch) for batch in CropSampler(range(5), batch_size=8)] == [5]  # a small corpus is one batch
    flat = [index for batch in CropSampler(range(8), batch_size=4, shuffle=False) for _, index in batch]
    assert flat == list(range(8))


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 3, "world_size": 2}, {"batch_size": 0}, {"batch_size": 2, "rank": 1},
              {"batch_size": 2, "seed": -1}, {"batch_size": 40, "world_size": 40}],
)  # fmt: skip
def test_sampler_refuses_what_does_not_fit(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        CropSampler(range(30), **wrong)  # type: ignore[arg-type]


def test_batches_by_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 101).tolist()
    plain = list(BatchByLength(lengths, batch_size=8))
    assert sorted(chain(*plain)) == list(range(101))
    assert lengths[plain[0][0]] == max(lengths)
    waste = 1 - sum(lengths) / sum(len(batch) * max(lengths[i] for i in batch) for batch in plain)
    assert waste < 0.15
    framed = BatchByLength(lengths, batch_size=50, max_frames=600)
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 600 for batch in framed)
    assert len(framed) == len(list(framed))
    shuffled = BatchByLength(lengths, batch_size=8, shuffle=True, seed=2)
    first = list(shuffled)
    assert first == list(BatchByLength(lengths, batch_size=8, shuffle=True, seed=2))
    shuffled.set_epoch(1)
    assert list(shuffled) != first
    assert sorted(chain(*shuffled)) == list(range(101))
    with pytest.raises(ConfigError):
        BatchByLength(lengths, batch_size=0)


def test_utterances_are_whole(corpus: Corpus) -> None:
    front_end = FRONT_ENDS[0]
    utterances = Utterances(corpus, front_end)
    assert len(utterances) == 4
    item = utterances[0]
    assert torch.equal(item.power, whole(corpus, item.name, front_end))
    assert torch.equal(front_end.power(item.waveform), item.power)
    assert utterances.lengths[0] == item.length == len(item.power)
    assert item.speaker == "a"
    assert item.path.is_file()
    batch = next(iter(DataLoader(utterances, batch_sampler=BatchByLength(utterances.lengths, 3), collate_fn=collate)))
    assert batch.x.shape == (3, int(batch.lengths.max()), front_end.bins)
    for row, length in zip(batch.x, batch.lengths, strict=True):
        assert not row[length:].any()


@pytest.fixture
def mixed(tree: Tree) -> Corpus:
    """One good file, and one of every kind that is not."""
    folder = tree("train/s/good.wav", "valid/v/good.wav")
    nan = np.zeros(1000)
    nan[5] = np.nan
    soundfile.write(folder / "train/s/nan.wav", nan, 16000, subtype="FLOAT")
    write_audio(folder / "train/s/silent.wav", np.zeros(3000), 16000)
    (folder / "train/s/empty.wav").write_bytes(b"")
    (folder / "train/s/text.wav").write_text("this is no sound")
    (folder / "train/s/cut.wav").write_bytes((folder / "train/s/good.wav").read_bytes()[:5000])
    write_audio(folder / "train/s/stereo 44k.flac", np.random.default_rng(0).uniform(-0.4, 0.4, (2, 44100)), 44100)
    return Corpus.open(folder).split("train")


def test_bad_files_stop_or_are_skipped_with_a_report(mixed: Corpus, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AudioError, match=r"cut\.wav"):
        Crops(mixed, FRONT_ENDS[0])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        crops = Crops(mixed, FRONT_ENDS[0], on_bad="skip")
    reasons = {Path(u.name).name: reason for u, reason in crops.bank.skipped}
    assert set(reasons) == {"nan.wav", "silent.wav", "empty.wav", "text.wav", "cut.wav"}
    assert "first at index 5" in reasons["nan.wav"]
    assert "5 of 7 files are left out" in caplog.text
    assert "1 files are resampled from 44100 Hz to 16000 Hz" in caplog.text
    assert all(torch.isfinite(crops[i].power).all() for i in range(len(crops)))
    utterances = Utterances(mixed, FRONT_ENDS[0], on_bad="skip")
    assert len(utterances.skipped) == 4  # an evaluation counts silence with its reason
    silent = next(item for item in utterances if "silent" in item.name)
    assert not silent.power.any()
    with pytest.raises(ConfigError, match="on_bad"):
        Bank(mixed, FRONT_ENDS[0], on_bad="ignore")  # type: ignore[arg-type]


def test_no_usable_file_is_an_error(tree: Tree) -> None:
    folder = tree("train/a/x.wav", "valid/b/x.wav")
    (folder / "train/a/x.wav").write_bytes(b"")
    with pytest.raises(DataError, match="no usable utterance"):
        Crops(Corpus.open(folder).split("train"), on_bad="skip")
    with pytest.raises(ConfigError, match="positive number of frames"):
        Crops(Corpus.open(folder).split("valid"), frames=0)
