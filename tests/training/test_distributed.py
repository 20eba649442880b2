"""Two processes on gloo are one process with the doubled batch."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import toy_config, toy_data, toy_model
from two_processes import CONFIG, SOUND

from dynvae.audio import write_audio
from dynvae.errors import ConfigError
from dynvae.training import Machine, fit, train
from dynvae.training.checkpoints import Checkpoints


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for index in range(5):
        sound = np.random.default_rng(index).uniform(-0.5, 0.5, 16000)
        write_audio(folder / "corpus" / ("valid" if index == 4 else "train") / f"s{index}" / "noise.wav", sound, 16000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # the environment that torchrun gives, without its own process to start
    common = {
        **os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test", "OMP_NUM_THREADS": "1",
        "DYNVAE_CACHE": str(folder / "cache"),
    }  # fmt: skip
    script = Path(__file__).with_name("two_processes.py")
    children = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        outputs = [child.communicate(timeout=150)[0] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], "\n".join(outputs)
    return folder


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    torch.set_num_threads(1)
    fit(
        toy_model(), toy_data(short=True), folder, toy_config(**CONFIG), Machine(accelerator="cpu", precision="64-true")
    )
    return folder


def assert_same_run(one: Path, two: Path, parts: tuple[str, ...] = ("model", "average")) -> None:
    states = [Checkpoints(folder / "checkpoints").load() for folder in (one, two)]
    assert states[0] is not None
    assert states[1] is not None
    for part in parts:
        torch.testing.assert_close(states[0][part], states[1][part], rtol=1e-10, atol=1e-12)
    logs = [list(csv.DictReader((folder / "metrics.csv").read_text().splitlines())) for folder in (one, two)]
    assert len(logs[0]) == len(logs[1]) > 0
    for a, b in zip(*logs, strict=True):
        for key in a.keys() - {"seconds", "frames_per_second"}:
            assert float(a[key]) == pytest.approx(float(b[key]), rel=1e-9), key


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(by_one: Path, by_two: Path) -> None:
    assert_same_run(by_one, by_two / "whole")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_one_process_can_go_on(by_one: Path, by_two: Path) -> None:
    folder = by_two / "stopped"
    state = Checkpoints(folder / "checkpoints").load()
    assert state is not None
    assert 6 <= state["step"] < 12
    machine = Machine(accelerator="cpu", precision="64-true")
    fit(toy_model(), toy_data(short=True), folder, toy_config(**CONFIG), machine, resume=True)
    assert_same_run(by_one, folder)


@pytest.mark.slow
def test_two_processes_share_the_store_of_a_corpus(by_two: Path, tmp_path: Path) -> None:
    machine = Machine(accelerator="cpu", precision="64-true")
    train("vae", data=by_two / "corpus", out=tmp_path, machine=machine, cache="none", **SOUND)
    assert_same_run(tmp_path, by_two / "sound", parts=("model",))
    assert len(list((by_two / "cache").rglob("samples"))) == 2  # of the two splits


def test_a_batch_that_cannot_be_shared(tmp_path: Path) -> None:
    machine, before = Machine(accelerator="cpu", devices=2, strategy="ddp"), signal.getsignal(signal.SIGINT)
    with pytest.raises(ConfigError, match="cannot be shared by 2 processes"):
        fit(toy_model(), toy_data(), tmp_path, toy_config(batch_size=5), machine)
    assert signal.getsignal(signal.SIGINT) is before
