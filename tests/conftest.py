"""What all tests share: the optional shared material, and one thread for repeatable numbers."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


def pytest_configure() -> None:
    """A shell that starts the tests in the background lets them ignore Ctrl-C, and with them all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``shared`` beside the repository (published weights, reference numbers, real data)."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "README.md").is_file():
        pytest.skip(f"the shared material is not at {folder}")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums are split between threads, and differently each time the machine is busy; one thread repeats.

    Commands that were run in this process have switched denormal numbers off, which Hypothesis does not like.
    """
    torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Commands that were run in this process have told the log to speak on their standard error."""
    logger = logging.getLogger("dynvae")
    before = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept of the tests' corpora goes with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNVAE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
