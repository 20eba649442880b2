"""How a VQ-VAE of speech spends its codes: ``python recipes/quantised/codes.py RUN DATA``."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor

from dynvae.data import Corpus, Utterances
from dynvae.evaluation.analysis import speech_front_end
from dynvae.models import VQVAE
from dynvae.models.quantisers import perplexity
from dynvae.pretrained import load


@torch.no_grad()
def codes_of(model: VQVAE, data: str, split: str) -> Tensor:
    """The codes of all frames of a split, ``(frames, positions)``."""
    utterances = Utterances(Corpus.open(data).split(split), speech_front_end(model))
    return torch.cat([model.codes(whole.power.unsqueeze(0))[0] for whole in utterances])


def main(folder: str, data: str) -> None:
    model = load(folder)
    assert isinstance(model, VQVAE)
    front_end, count = speech_front_end(model), model.quantiser.count
    train, test = (codes_of(model, data, split) for split in ("train", "test"))
    shares = torch.stack([torch.bincount(column, minlength=count) for column in train.T]).add(1.0)
    shares = shares / shares.sum(1, keepdim=True)  # of each position, one added to each code
    nats = -shares[torch.arange(model.positions), test].log().sum(1).mean()
    rate = front_end.sample_rate / front_end.hop_length
    print(f"{len(test.unique())} of {count} codes in use, perplexity {float(perplexity(test, count)):.1f}")
    print(f"{model.positions * math.log2(count) * rate / 1000:.1f} kbit/s; with a code for each position, "
          f"fitted to the training split, {float(nats) / math.log(2) * rate / 1000:.1f} kbit/s "
          f"({float(nats):.0f} nats a frame)")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:3])
