"""Checkpoints under attack: killed writers, flipped bytes, full disks."""

from __future__ import annotations

import logging
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dynvae.errors import CheckpointError
from dynvae.training.checkpoints import Checkpoints, read


def state(step: int, size: int = 1000) -> dict[str, Any]:
    return {"step": step, "model": {"weight": torch.full((size,), float(step))}, "best": {"objective": -1.5}}


def in_child(work: Callable[[], int]) -> int:
    """Run something in a forked child, and return its process id. A fork spares the import of torch."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    return child


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.load() is None
    for step in (5, 10, 100, 1000):
        checkpoints.save(state(step))
    assert [path.name for path in checkpoints.paths()] == ["step-00001000.ckpt", "step-00000100.ckpt"]
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["step"] == 1000
    assert torch.equal(loaded["model"]["weight"], torch.full((1000,), 1000.0))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_newest_falls_back_to_the_one_before(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))
    path = checkpoints.save(state(2))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        place = content.find(torch.full((1000,), 2.0).numpy().tobytes()) + 2000
        content[place] ^= 1
    path.write_bytes({"cut": content[:-500], "flip": content, "empty": b"", "text": b"not a checkpoint"}[damage])
    with caplog.at_level(logging.WARNING, "dynvae"):
        loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["step"] == 1
    assert "step-00000002.ckpt is damaged" in caplog.text
    (tmp_path / "step-00000001.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoints.load()


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.ckpt"
    torch.save({"format_version": 1, "step": 1, "path": tmp_path}, path)
    with pytest.raises(CheckpointError, match="damaged or no checkpoint"):
        read(path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.ckpt"
    torch.save({"format_version": 99}, path)
    with pytest.raises(CheckpointError, match="format 99"):
        read(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its writers")
def test_fifty_kills_in_the_midst_of_saving(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    began = time.perf_counter()
    checkpoints.save(state(0, size=200_000))
    longest = max(0.04, 8 * (time.perf_counter() - began))  # a busy machine takes its time
    dice = random.Random(0)
    newest = 0

    def save_for_ever() -> int:
        step = newest
        while True:
            step += 1
            checkpoints.save(state(step, size=200_000))

    grown = 0
    for _ in range(50):
        child = in_child(save_for_ever)
        time.sleep(dice.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded = checkpoints.load()
        assert loaded is not None
        assert torch.equal(loaded["model"]["weight"], torch.full((200_000,), float(loaded["step"])))
        assert loaded["step"] >= newest
        grown += loaded["step"] > newest
        longest *= 1.0 if loaded["step"] > newest else 1.05  # and a busier one more
        newest = loaded["step"]
    assert grown > 5, "the children were killed before they had saved anything"
    checkpoints.clean()
    assert all(path.suffix == ".ckpt" and path.name.startswith("step-") for path in tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits a forked writer")
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state(1))

    def save_too_much() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            checkpoints.save(state(2, size=100_000))
        except CheckpointError as error:
            return 0 if "could not be written" in str(error) and "\n" not in str(error) else 1
        return 2

    _, status = os.waitpid(in_child(save_too_much), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.ckpt"]
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded["step"] == 1
