"""Sound and lips come together, frame by frame, whatever is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dynvae.audio import FrontEnd, write_audio
from dynvae.data import Corpus, Crops, Utterances, collate
from dynvae.data.lips import LipBank, LipSettings, Seen, lips_path
from dynvae.data.scan import Scan
from dynvae.data.scan_lips import has_lips, scan_lips
from dynvae.errors import ConfigError, DataError
from dynvae.models import build
from dynvae.training import TrainConfig, train
from dynvae.video import LIP_SIDE, Lips

FRONT_END = FrontEnd()
"""62.5 frames a second."""


def sounds(folder: Path, count: int = 4, seconds: float = 2.0) -> Path:
    """Clips of noise with half a second of silence before, and lips whose brightness is the number of the picture."""
    random = np.random.default_rng(0)
    rows = ["path,split,speaker"]
    for index in range(count):
        noise = 0.1 * random.standard_normal(int(16000 * (seconds - 0.5)))
        write_audio(folder / f"c{index}.wav", np.concatenate([np.zeros(8000), noise]).astype(np.float32), 16000)
        pictures = np.repeat(np.arange(round(25 * seconds), dtype=np.uint8)[:, None], 4489, 1)
        Lips.at_rate(pictures, 25).save(folder / f"c{index}.npz")
        rows.append(f"c{index}.wav,{('train', 'train', 'valid', 'test')[index % 4]},s{index}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def numbers(features: torch.Tensor) -> np.ndarray:
    """The numbers of the pictures that a model sees."""
    return (255 * (0.165 * features.mean(-1) + 0.421)).round().int().numpy()


def test_places_of_lips(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    assert lips_path(corpus[0], corpus.root) == tmp_path / "c0.npz"
    (tmp_path / "c0.npz").rename(tmp_path / "c0Raw.npy")
    assert lips_path(corpus[0], corpus.root) == tmp_path / "c0Raw.npy"
    (tmp_path / "c0Raw.npy").rename(tmp_path / "x.npz")
    assert lips_path(corpus[0], corpus.root) is None

    (tmp_path / "manifest.csv").write_text(
        "audio,split,lips\nc0.wav,train,x.npz\nc1.wav,valid,\nc2.wav,test,none.npz\n"
    )
    corpus = Corpus.open(tmp_path)
    assert lips_path(corpus[0], corpus.root) == tmp_path / "x.npz"
    assert lips_path(corpus[1], corpus.root) == tmp_path / "c1.npz"
    with pytest.raises(DataError, match=r"none\.npz is not there, and the manifest names it"):
        LipBank(corpus.utterances, corpus.root)


def test_no_lips_at_all(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    assert not has_lips(corpus)
    with pytest.raises(DataError, match=r"no lips: a manifest's column .* e\.g\. c0\.npz"):
        LipBank(corpus.utterances, corpus.root)


@pytest.mark.parametrize("size", [4489, 25])
def test_crops_see_the_pictures_of_their_own_moment(size: int, tmp_path: Path) -> None:
    """Also when the quiet beginning was cut: picture n is on the screen from n/25 s on."""
    corpus = Corpus.open(sounds(tmp_path))
    crops = Crops(corpus, FRONT_END, frames=20, seed=3)
    seen = Seen(crops, LipBank(crops.bank.utterances, corpus.root, size), size)
    assert len(seen) == len(crops)
    keys = [(2, index) for index in range(len(crops))]
    waves = seen.__getitems__(keys)
    assert waves.condition is not None
    assert torch.equal(waves.samples, crops.waves(keys).samples)
    for row, key in enumerate(keys):
        utterance, begin = crops.find(key)
        start = crops.bank.preparations[utterance].start / 16000
        assert start > 0.3
        frames = begin + np.arange(int(waves.lengths[row]))
        expected = np.floor(25 * (start + frames * 0.016) + 1e-6)
        assert np.array_equal(numbers(waves.condition.features[row])[: len(frames)], expected)
        assert int(waves.condition.present[row].sum()) == len(frames)


def test_utterances_of_unequal_length_and_one_without_lips(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    short, _ = np.split(np.random.default_rng(1).standard_normal(32000).astype(np.float32) * 0.1, 2)
    write_audio(tmp_path / "c1.wav", short, 16000)
    (tmp_path / "c2.npz").unlink()
    whole = Utterances(corpus, FRONT_END)
    seen = Seen(whole, LipBank(whole.bank.utterances, corpus.root, 25), 25)
    batch = collate(seen.__getitems__([0, 1, 2]))
    assert batch.condition is not None
    lengths = batch.lengths.tolist()
    assert batch.condition.features.shape == (3, max(lengths), 25)
    assert batch.condition.present.sum(1).tolist() == [lengths[0], lengths[1], 0]
    assert not batch.condition.features[2].any()
    one = seen[1]
    assert one.condition is not None
    assert torch.equal(one.condition.features[0], batch.condition.features[1, : lengths[1]])


def test_changes_depend_on_seed_epoch_and_item_alone(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    settings = LipSettings(mirror=True, shift=2, light=0.5, noise=0.1, drop=0.4)
    crops = Crops(corpus, FRONT_END, frames=10, seed=1)
    seen = Seen(crops, LipBank(crops.bank.utterances, corpus.root, 25), 25, settings)
    keys = [(epoch, index) for epoch in range(4) for index in range(len(crops))]
    once, again = seen.__getitems__(keys).condition, seen.__getitems__(keys[::-1]).condition
    assert once is not None
    assert again is not None
    assert torch.equal(once.features, again.features.flip(0))
    dropped = ~once.present.any(1)
    assert 0.2 < dropped.float().mean() < 0.6
    assert not once.features[dropped].any()
    still = Seen(crops, seen.lips, 25).__getitems__(keys).condition
    assert still is not None
    assert not torch.allclose(once.features[~dropped], still.features[~dropped], atol=0.05)


def test_mirrors_and_moves() -> None:
    picture = np.arange(25, dtype=np.float32).reshape(1, 25)
    flipped = picture.reshape(5, 5)[:, ::-1].reshape(1, 25)
    found = {LipSettings(mirror=True).changed(picture, np.random.default_rng(seed)).tobytes() for seed in range(9)}
    assert found == {picture.tobytes(), flipped.tobytes()}
    moved = [LipSettings(shift=1).changed(picture, np.random.default_rng(seed)).reshape(5, 5) for seed in range(60)]
    middles = {(round(float(one[2, 2])) // 5 - 2, round(float(one[2, 2])) % 5 - 2) for one in moved}
    assert middles == {(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)}
    with pytest.raises(ConfigError):
        LipSettings(drop=1.5)


def test_lips_of_another_size_are_told_with_their_file(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    Lips.at_rate(np.zeros((50, 512), np.float32), 25).save(tmp_path / "c0.npz")
    with pytest.raises(DataError, match=r"c0\.npz: frames of 512 numbers cannot be given as 25"):
        _ = LipBank(corpus.utterances, corpus.root, 25)[0]


def test_memory_is_bounded(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    bank = LipBank(corpus.utterances, corpus.root, memory=2 * 50 * 4489)
    first = bank[0]
    assert bank[0] is first
    assert all(bank[index] is not None for index in range(4))
    assert len(bank._kept) == 2
    assert bank[0] is not first


def test_scan_of_lips(tmp_path: Path) -> None:
    corpus = Corpus.open(sounds(tmp_path))
    random = np.random.default_rng(0)
    wide = random.integers(0, 255, (50, LIP_SIDE, 1), np.uint8).repeat(LIP_SIDE, 2)  # rows of one level
    Lips.at_rate(wide.reshape(50, -1), 25).save(tmp_path / "c0.npz")
    Lips.at_rate(wide.transpose(0, 2, 1).reshape(50, -1), 20).save(tmp_path / "c1.npz")
    Lips(wide[[0] * 50].reshape(50, -1), np.arange(50) < 40, np.arange(50) / 25).save(tmp_path / "c2.npz")
    (tmp_path / "c3.npz").write_bytes(b"nothing")
    result = Scan()
    scan_lips(corpus, result)
    assert [(finding.file, finding.kind) for finding in result.findings] == [
        ("c1.wav", "apart"), ("c1.wav", "transposed"), ("c2.wav", "gaps"), ("c2.wav", "still"), ("c3.wav", "lips"),
    ]  # fmt: skip


def test_training_sees_lips_and_the_same_again_after_a_stop(tmp_path: Path) -> None:
    """The condition reaches the model: lips that tell the power of the sound raise its ELBO."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    rows = ["path,split"]
    for index in range(8):
        level = np.exp(random.normal(0, 2, 50)).repeat(640)
        write_audio(folder / f"{index}.wav", (0.01 * level * random.standard_normal(32000)).clip(-1, 1), 16000)
        pictures = np.clip(128 + 30 * np.log(level[::640]), 0, 255).astype(np.uint8)[:, None].repeat(9, 1)
        Lips.at_rate(pictures.repeat(4489 // 9 + 1, 1)[:, :4489], 25).save(folder / f"{index}.npz")
        rows.append(f"{index}.wav,{'valid' if index > 5 else 'train'}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    config = TrainConfig(epochs=6, frames=30, batch_size=8, lr=3e-3, begin_at_mean=True, executor="plain")
    model = {"v_dim": 9, "v_hidden": [8], "hidden": [16], "z_dim": 2}
    with_lips = train("av-cvae", data=folder, out=tmp_path / "a", model=model, front_end="32ms", train=config)
    without = train("av-cvae", data=folder, out=tmp_path / "b", model=model, front_end="32ms", train=config,
                    lips=LipSettings(drop=1.0))  # fmt: skip
    assert with_lips.best["elbo"] > without.best["elbo"] + 1
    assert build("av-cvae", **model).condition_dim == 9
