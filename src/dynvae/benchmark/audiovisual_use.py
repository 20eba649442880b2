"""Whether a model of sound and lips uses the lips at all, on clean speech: its bound with another clip's lips."""

from __future__ import annotations

__all__ = ["Use", "use_markdown", "use_of_lips", "use_table"]

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from dynvae.audio import FRONT_ENDS
from dynvae.benchmark.audiovisual_config import AVConfig, run_name
from dynvae.benchmark.enhancement_table import MINUS
from dynvae.data import Corpus, Utterances
from dynvae.data.lips import LipBank, condition_of
from dynvae.metrics import Summary, summarize
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.video import Lips


class Use(NamedTuple):
    """What lips are worth to a model, in nats per frame.

    Attributes:
        model: its name.
        seed: of its training.
        elbo: the mean bound with the clip's own lips.
        swapped: what it changes by with another clip's, over clips.
    """

    model: str
    seed: int
    elbo: float
    swapped: Summary


def use_of_lips(config: AVConfig) -> list[Use]:
    """Measure every model that sees lips on all clips of the test, each with its own lips and those half-way round.

    The latents' noise is the same for both. A model that has learned to ignore lips loses nothing.
    """
    corpus = Corpus.open(config.data)
    whole = Utterances(corpus.split(config.split), FRONT_ENDS[config.front_end], keep_silence=False)
    lips = LipBank(whole.bank.utterances, corpus.root, None)
    found = []
    for name in config.models:
        for seed in config.seeds:
            model = load(Path(config.out) / "runs" / run_name(name, seed)).eval()
            if model.condition_dim:
                own, other = ([_elbo(config, model, whole, lips, index, move) for index in range(len(whole))]
                              for move in (0, len(whole) // 2))  # fmt: skip
                change = summarize(theirs - mine for mine, theirs in zip(own, other, strict=True))
                found.append(Use(name, seed, sum(own) / len(own), change))
    return found


@torch.no_grad()
def _elbo(config: AVConfig, model: DVAE, whole: Utterances, lips: LipBank, index: int, move: int) -> float:
    """The bound of a clip with the lips of the clip so many places on."""
    x = whole[index].power.unsqueeze(0)
    start = whole.bank.preparations[index].start / whole.front_end.sample_rate
    view: Lips | None = lips[(index + move) % len(whole)]
    condition = None
    if view is not None:
        condition = condition_of(view, x.shape[1], whole.front_end, model.condition_dim, config.lips, start)
    elbo = model.elbo(x, condition=condition, generator=torch.Generator().manual_seed(index))
    return float(elbo.total.sum() / x.shape[1])


def use_table(uses: Sequence[Use]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines."""
    head = ["Model", "Seed", "ELBO, own lips (nats/frame)", "with another clip's", "Clips"]
    lines = []
    for use in uses:
        swapped = use.swapped
        change = "" if swapped.mean is None else f"{swapped.mean:+.1f}"
        if swapped.low is not None and swapped.high is not None:
            change += f" ({swapped.low:+.1f} … {swapped.high:+.1f})"
        lines.append([use.model, str(use.seed), f"{use.elbo:.1f}", change.replace("-", MINUS), str(swapped.n)])
    return head, lines


def use_markdown(uses: Sequence[Use]) -> str:
    """The table in Markdown."""
    head, lines = use_table(uses)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, [":--", *["--:"] * 4], *lines)) + "\n"
