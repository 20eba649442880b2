"""One of the processes of test_distributed.py: a whole run, one that the second process stops, one on sound."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from training_toys import toy_config, toy_data, toy_model

from dynvae.training import Machine, fit, train

CONFIG: dict[str, Any] = {
    "epochs": 2, "ema": 0.9, "free_running": 0.5, "free_running_end": 1.0, "free_bits": 0.05, "clip": 0.5,
}  # fmt: skip
"""Everything that could tell one process from two."""
SOUND: dict[str, Any] = {"model": {"hidden": (8,), "z_dim": 2}, "front_end": "32ms", "train": toy_config(max_steps=6)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    machine = Machine(accelerator="cpu", devices=2, strategy="ddp", precision="64-true")
    fit(toy_model(), toy_data(short=True), folder / "whole", toy_config(**CONFIG), machine)

    def stop(index: Any) -> None:
        if index[0] == 1 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watched = toy_data(short=True, watch=None if os.environ["RANK"] == "0" else once(stop))
    outcome = fit(toy_model(), watched, folder / "stopped", toy_config(**CONFIG), machine)
    assert outcome.signum == signal.SIGTERM, outcome
    train("vae", data=folder / "corpus", out=folder / "sound", machine=machine, **SOUND)


def once(stop: Any) -> Any:
    """The first time only: a second signal would end the process at once."""
    done: list[Any] = []

    def watch(index: Any) -> None:
        if not done and index[0] == 1:
            done.append(index)
            stop(index)

    return watch


if __name__ == "__main__":
    main(Path(sys.argv[1]))
