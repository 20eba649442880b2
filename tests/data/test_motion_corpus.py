"""Recorded motion: every form that is read, on small made-up files, and files that are wrong or hostile."""

from __future__ import annotations

import json
import os
import pickle
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynvae.data.motion import MotionCorpus, is_motion
from dynvae.data.pickled import read_dictionary
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.errors import ConfigError, DataError
from dynvae.motion import H36M_OFFSETS, H36M_PARENTS

DICE = np.random.default_rng(0)


def poses(frames: int, joints: int) -> Any:
    return DICE.standard_normal((frames, joints, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four sequences of a body of three joints, as plain arrays."""
    (tmp_path / "skeleton.json").write_text(json.dumps({"parents": [-1, 0, 1], "frame_rate": 20, "up": "z"}))
    for index, split in enumerate(("train", "train", "valid", "test")):
        place = tmp_path / split / f"s{index}" / f"take {index}"
        place.parent.mkdir(parents=True)
        if index % 2:
            np.save(place.with_suffix(".npy"), poses(5 + index, 3))
        else:
            np.savez(place.with_suffix(".npz"), positions=poses(5 + index, 3), other=poses(1, 1))
    return tmp_path


# ---- forms ---------------------------------------------------------------------------------------------------------


def test_plain_arrays(folder: Path) -> None:
    assert is_motion(folder)
    corpus = MotionCorpus.open(folder)
    assert [len(sequence.places) for sequence in corpus] == [8, 5, 6, 7]
    assert [(sequence.split, sequence.subject) for sequence in corpus][:2] == [("test", "s3"), ("train", "s0")]
    assert (corpus.skeleton.frame_rate, corpus.skeleton.up, corpus.skeleton.parents) == (20, 2, (-1, 0, 1))
    stored = np.load(folder / "train" / "s1" / "take 1.npy")
    torch.testing.assert_close(corpus.split("train").sequences[1].places, torch.from_numpy(stored) / 1000)
    with pytest.raises(DataError, match="no split 'holdout'; it has test, train, valid"):
        corpus.split("holdout")


@pytest.mark.shared
def test_the_cmu_recordings(shared: Path) -> None:
    corpus = MotionCorpus.open(shared / "data" / "motion")
    assert (len(corpus.split("train")), len(corpus.split("valid")), len(corpus.split("test"))) == (49, 7, 19)
    assert (corpus.skeleton.frame_rate, corpus.skeleton.joints, corpus.frames) == (30, 38, 13281)
    assert corpus.skeleton.fitted(sequence.places for sequence in corpus.split("train")).size == 81


@pytest.mark.shared
def test_the_recipe_makes_the_same_of_the_exponential_maps(shared: Path, tmp_path: Path) -> None:
    recorded = np.load(shared / "data" / "motion" / "test_walking_1.npz")
    at_120 = np.repeat(recorded["expmap_60"], 2, axis=0)
    for name in (
        "train/walking/walking_3",
        "train/walking/walking_4",
        "train/walking/walking_5",
        "test/walking/walking_1",
    ):
        (tmp_path / "text" / name).parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(tmp_path / "text" / f"{name}.txt", np.vstack([0 * at_120[:1], at_120]), delimiter=",")
    script = Path(__file__).resolve().parents[2] / "recipes" / "cmu-mocap" / "prepare.py"
    runpy.run_path(str(script))["main"](tmp_path / "text", tmp_path / "out")
    corpus = MotionCorpus.open(tmp_path / "out")
    assert [(item.split, item.name) for item in corpus] == [
        ("test", "test/walking_1.npy"), ("train", "train/walking_3.npy"), ("valid", "valid/walking_4.npy"),
    ]  # fmt: skip
    as_given = MotionCorpus.open(shared / "data" / "motion")
    assert corpus.skeleton.same_body(as_given.skeleton)
    places = next(item.places for item in as_given if item.name == "test_walking_1.npz")
    torch.testing.assert_close(corpus.sequences[0].places, places, atol=6e-5, rtol=0)  # rounded to 0.1 mm


def test_published_human36m(tmp_path: Path) -> None:
    takes = {f"S{n}": {"Walking 1": poses(6, 32), "Sitting": poses(5, 32)} for n in (1, 5, 6, 7, 8, 9, 11)}
    np.savez_compressed(tmp_path / "data_3d_h36m.npz", positions_3d=takes)  # type: ignore[arg-type]
    for source in (tmp_path, tmp_path / "data_3d_h36m.npz"):
        assert is_motion(source)
        corpus = MotionCorpus.open(source)
        assert (corpus.skeleton.joints, corpus.skeleton.size, corpus.skeleton.frame_rate) == (17, 48, 50)
        assert {item.subject for item in corpus.split("test")} == {"S9", "S11"}
        assert {item.subject for item in corpus.split("train")} < {"S1", "S5", "S6", "S7", "S8"}
        assert len(corpus.split("valid")) == 2
    first = next(item for item in corpus if item.name == "S9/Sitting")
    kept = [joint for joint in range(32) if joint not in (4, 5, 9, 10, 11, 16, *range(20, 25), *range(28, 32))]
    torch.testing.assert_close(first.places, torch.from_numpy(takes["S9"]["Sitting"][:, kept]))


def test_published_humaneva(tmp_path: Path) -> None:
    takes = {
        "Train/S1": {"Jog 1 chunk0": poses(6, 15)},
        "Train/S2": {"Jog 1 chunk0": poses(6, 15)},
        "Train/S3": {"Walking 1 chunk0": poses(6, 15), "Walking 1 chunk1": poses(6, 15)},
        "Validate/S3": {"Walking 1 chunk4": poses(6, 15), "Box 1 chunk0": poses(6, 15)},
        "Unlabeled/S4": {"Box": poses(3, 15)},
    }
    np.savez(tmp_path / "data_3d_humaneva15.npz", positions_3d=takes)  # type: ignore[arg-type]
    corpus = MotionCorpus.open(tmp_path)
    assert (corpus.skeleton.size, corpus.skeleton.frame_rate) == (42, 60)
    assert [item.name for item in corpus.split("test")] == ["Validate/S3/Box 1 chunk0"]
    names = {item.name for item in corpus}
    assert names == {"Train/S1/Jog 1 chunk0", "Train/S2/Jog 1 chunk0", "Train/S3/Walking 1 chunk1",
                     "Validate/S3/Box 1 chunk0"}  # fmt: skip


def test_exponential_maps(tmp_path: Path) -> None:
    for subject in ("S1", "S5", "S11"):
        values = 0.3 * DICE.standard_normal((9, 99))
        (tmp_path / subject).mkdir()
        np.savetxt(tmp_path / subject / "walking_1.txt", values, delimiter=",")
    assert is_motion(tmp_path)
    corpus = MotionCorpus.open(tmp_path)
    assert [(item.split, item.subject) for item in corpus] == [("train", "S1"), ("test", "S11"), ("valid", "S5")]
    (walk,) = corpus.split("test")
    values = np.loadtxt(tmp_path / "S11" / "walking_1.txt", delimiter=",")[::2]
    assert walk.places.shape == (5, 32, 3)
    # Joint 3 hangs on 2, on 1, on the root, which does not turn: its place, written out with rotation vectors.
    turn = _rotation(values[4, 6:9])
    knee = np.array(H36M_OFFSETS[1]) + np.array(H36M_OFFSETS[2]) @ turn
    foot = knee + np.array(H36M_OFFSETS[3]) @ _rotation(values[4, 9:12]) @ turn
    np.testing.assert_allclose(walk.places[4, 3], foot / 1000, atol=1e-6)
    assert corpus.skeleton.parents == H36M_PARENTS
    fitted = corpus.skeleton.fitted([walk.places])
    assert set(range(32)) - set(fitted.observed) == {0, 1, 6, 11, 16, 20, 23, 24, 28, 31}
    torch.testing.assert_close(fitted.places(fitted.frames(walk.places)), walk.places, atol=1e-6, rtol=0)


def _rotation(vector: Any) -> Any:
    x, y, z = vector
    return torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])).numpy()


# ---- what is wrong -------------------------------------------------------------------------------------------------


def test_what_is_no_motion_is_refused(tmp_path: Path) -> None:
    assert not is_motion(tmp_path)
    assert not is_motion("builtin")
    with pytest.raises(DataError, match="no motion here"):
        MotionCorpus.open(tmp_path)


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "'parents' must be"),
        ('{"parents": [-1, 0, 1]}', "'frame_rate' is missing"),
        ('{"parents": [-1, 0, 5], "frame_rate": 5}', "parent of joint 2 is 5"),
        ('{"parents": [-1, 0], "frame_rate": 5}', "has the shape"),
        ('{"parents": [-1, 0, 1], "frame_rate": 5, "unit": "inch"}', "'unit'"),
        ('{"parents": [-1, 0, 1], "frame_rate": "5"}', "'frame_rate' must be"),
    ],
)
def test_descriptions_that_are_wrong(folder: Path, description: str, problem: str) -> None:
    (folder / "skeleton.json").write_text(description)
    with pytest.raises(DataError, match=problem):
        MotionCorpus.open(folder)


def test_files_that_are_wrong(folder: Path) -> None:
    place = folder / "train" / "s1" / "take 1.npy"
    for content, problem in (
        (np.array([{"a": 1}], object), "cannot be read as plain arrays"),
        (np.full((4, 3, 3), np.nan), "not finite"),
        (np.zeros((4, 9)), "has the shape"),
        (np.array([["a"]]), "must be numbers"),
    ):
        np.save(place, content, allow_pickle=True)
        with pytest.raises(DataError, match=problem):
            MotionCorpus.open(folder)
    place.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        MotionCorpus.open(folder)


def test_dictionaries_are_read_without_being_loaded(tmp_path: Path) -> None:
    wanted = {"S1": {"a": poses(3, 4), "b": np.asfortranarray(poses(2, 4))}, "S2": {"c": np.arange(6).reshape(2, 3)}}
    np.savez(tmp_path / "data.npz", positions_3d=wanted, numbers=np.zeros(3))  # type: ignore[arg-type]
    found = read_dictionary(tmp_path / "data.npz", "positions_3d")
    for subject, takes in wanted.items():
        for take, places in takes.items():
            np.testing.assert_array_equal(found[subject][take], places)
    with pytest.raises(DataError, match="is no dictionary"):
        read_dictionary(tmp_path / "data.npz", "numbers")
    with pytest.raises(DataError, match="there is no 'other'"):
        read_dictionary(tmp_path / "data.npz", "other")


class _Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    for attack in (_Runs(os.mkdir, str(trace)), _Runs(eval, "1"), _Runs(np.load, "x"), np.random.default_rng(0)):
        _pickled(tmp_path / "evil.npz", pickle.dumps({"S1": attack}, protocol))
        with pytest.raises(DataError, match="nothing in it was run"):
            MotionCorpus.open(tmp_path / "evil.npz")
    assert not trace.exists()


def test_pickles_that_are_damaged_or_endless_are_refused(tmp_path: Path) -> None:
    whole = pickle.dumps(np.array({"S1": {"a": poses(3, 4)}}, object), 3)
    rest = np.random.default_rng(1)
    for cut in rest.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[int(cut)] ^= int(rest.integers(1, 255))
        for content in (whole[: int(cut)], bytes(damaged)):
            _pickled(tmp_path / "bad.npz", content)
            try:
                read_dictionary(tmp_path / "bad.npz", "positions_3d")
            except DataError:
                continue
    circle: dict[str, Any] = {}
    circle["again"] = circle
    laughs: Any = {"a": 1}
    for _ in range(40):
        laughs = {"a": laughs, "b": laughs}
    for content in (circle, laughs):
        _pickled(tmp_path / "bad.npz", pickle.dumps(content, 3))
        with pytest.raises(DataError):
            read_dictionary(tmp_path / "bad.npz", "positions_3d")


def _pickled(path: Path, content: bytes) -> None:
    """An archive whose one array of one object is this pickle."""
    import zipfile

    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("positions_3d.npy", magic + header + content)


# ---- crops ---------------------------------------------------------------------------------------------------------


def test_crops_cover_each_sequence_and_repeat() -> None:
    frames = [torch.arange(10.0)[:, None], 100 + torch.arange(3.0)[:, None]]
    crops = SequenceCrops(frames, ["long", "short"], 4, seed=3)
    assert len(crops) == 3
    batch = crops.__getitems__([(5, 0), (5, 1), (5, 2)])
    assert batch.lengths.tolist() == [4, 4, 3]
    assert batch.names == ["long", "long", "short"]
    long = batch.x[:2].flatten()
    assert torch.equal(long, long[0] + torch.arange(8.0))
    assert batch.x[2].flatten().tolist() == [100, 101, 102, 0]
    assert torch.equal(crops[(5, 1)].x[0], batch.x[1])
    assert len({float(crops[(epoch, 0)].x[0, 0]) for epoch in range(30)}) == 3
    with pytest.raises(ConfigError, match="positive length"):
        SequenceCrops(frames, ["long", "short"], 0)


def test_whole_sequences_are_padded() -> None:
    whole = Sequences([torch.ones(2, 3), torch.ones(4, 3)], ["a", "b"])
    assert whole.lengths == [2, 4]
    batch = whole.__getitems__([0, 1])
    assert batch.x.sum((1, 2)).tolist() == [6, 12]
    assert batch.lengths.tolist() == [2, 4]
