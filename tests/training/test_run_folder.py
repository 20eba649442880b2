"""The folder of a run: its lock and its log."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dynvae.errors import ConfigError
from dynvae.training.folder import RunFolder


def test_a_second_writer_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).lock(),
        pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"),
        RunFolder(tmp_path).lock(),
    ):
        pass
    with RunFolder(tmp_path).lock():
        pass


def test_a_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (tmp_path / "run.lock").write_text(json.dumps({"pid": child.pid, "host": socket.gethostname(), "since": "once"}))
    with RunFolder(tmp_path).lock():
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


def test_a_lock_of_another_machine_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "once"}))
    with pytest.raises(ConfigError, match=r"process 1 on elsewhere.*remove"), RunFolder(tmp_path).lock():
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"), RunFolder(tmp_path / "file" / "run").lock():
        pass


def test_rows_after_a_checkpoint_are_forgotten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.forget_after(3)
    for step in (2, 4, 6):
        folder.append({"step": step, "elbo": -step / 3})
    with folder.metrics.open("a") as file:
        file.write("8,")  # cut off by a kill
    folder.forget_after(4)
    assert folder.metrics.read_text() == f"step,elbo\n2,{-2 / 3}\n4,{-4 / 3}\n"
