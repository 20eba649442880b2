"""What all tests share: the optional shared material, and one thread for repeatable numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the repository (published weights, reference numbers, real data)."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "README.md").is_file():
        pytest.skip(f"the shared material is not at {folder}")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Sums are split between threads, and differently each time the machine is busy; one thread repeats."""
    torch.set_num_threads(1)
