"""Commands that compute for long take denormal numbers for zero."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dynvae.benchmark import job
from dynvae.cli import main


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(False)


def flushed() -> bool:
    return (torch.tensor([1e-30]) * 1e-10).item() == 0


@pytest.mark.parametrize(
    "words",
    [["train", "vae", "--data", "nowhere", "--out", "{}/run"], ["evaluate", "{}/no model", "--data", "nowhere"]],
    ids=lambda words: words[0],
)
def test_a_command_takes_them_for_zero_before_it_opens_anything(words: list[str], tmp_path: object) -> None:
    assert not flushed()
    assert main([word.format(tmp_path) for word in words]) == 2
    assert flushed()


def test_a_run_of_the_benchmark_does_too(tmp_path: object) -> None:
    with pytest.raises(FileNotFoundError):
        job.main([f"{tmp_path}/job.json"])
    assert flushed()
