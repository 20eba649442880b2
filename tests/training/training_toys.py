"""Small models and data for the tests of training: seconds, not minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dynvae.models import DVAE, build
from dynvae.training import TrainConfig, TrainingData

FRAMES, BINS = 12, 6


class Item(NamedTuple):
    power: Tensor
    length: int
    name: str


class Batch(NamedTuple):
    x: Tensor
    lengths: Tensor
    names: list[str]


class Crops:
    """Random spectra, a function of (seed, epoch, index); ``watch`` sees each index that is asked for."""

    def __init__(self, items: int, *, seed: int = 0, short: bool = False, watch: Callable[[Any], None] | None = None):
        self.items, self.seed, self.short, self.watch = items, seed, short, watch

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int | tuple[int, int]) -> Item:
        if self.watch is not None:
            self.watch(index)
        epoch, item = index if isinstance(index, tuple) else (0, index)
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + 1009 * epoch + item)
        length = FRAMES - (item % 5 if self.short else 0)
        power = torch.zeros(FRAMES, BINS)
        loudness = torch.rand(length, 1, generator=generator)
        power[:length] = loudness * torch.rand(length, BINS, generator=generator)
        return Item(power, length, f"speaker {item % 3}/file-{item}.wav")


def collate(items: list[Item]) -> Batch:
    return Batch(
        torch.stack([item.power for item in items]),
        torch.tensor([item.length for item in items]),
        [item.name for item in items],
    )


def toy_data(
    items: int = 24,
    *,
    short: bool = False,
    watch: Callable[[Any], None] | None = None,
    watch_validation: Callable[[Any], None] | None = None,
) -> TrainingData:
    valid = Crops(5, seed=1, watch=watch_validation)
    return TrainingData(Crops(items, short=short, watch=watch), valid, [FRAMES] * 5, collate)  # type: ignore[arg-type]


def toy_model(name: str = "srnn", *, seed: int = 0, **config: Any) -> DVAE:
    small: dict[str, dict[str, Any]] = {
        "srnn": {
            "x_hidden": (8,), "forward_rnn": 8, "hx_hidden": (8,), "backward_rnn": 8,
            "encoder_hidden": (8,), "prior_hidden": (8,), "decoder_hidden": (8,),
        },
        "vae": {"hidden": (8,)},
    }  # fmt: skip
    if name.startswith(("hit", "light")):
        small[name] = {"model_dim": 8, "layers": 1, "feed_forward": 8, "w_rnn": 8}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(name, x_dim=BINS, z_dim=2, **small.get(name, {}), **config)


def toy_config(**changes: Any) -> TrainConfig:
    settings: dict[str, Any] = {
        "frames": FRAMES, "batch_size": 4, "epochs": 4, "lr": 1e-2, "warmup_steps": 3, "kl_warmup": 2.5, "patience": 0,
    } | changes  # fmt: skip
    return TrainConfig(**settings)
