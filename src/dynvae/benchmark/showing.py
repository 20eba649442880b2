"""What models do to a few test files: sound, spectrograms, latents."""

from __future__ import annotations

__all__ = ["Shown", "choose", "show"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dynvae.data import Corpus, Utterances
from dynvae.distributions import kl_per_dimension
from dynvae.evaluation import analysis_resynthesis, evaluating, file_noise
from dynvae.models import DVAE


@dataclass(frozen=True)
class Shown:
    """One model on a few files.

    Attributes:
        waveforms: of each mode, a waveform a file.
        powers: of each mode, ``(time, bins)`` of each file.
        kl: ``(z_dim,)``, nats per frame over these files; of size 1 where the prior's covariance is full.
        mean: ``(time, z_dim)``, of the posterior on the first file, along the recursion.
        std: ``(time, z_dim)``.
    """

    waveforms: dict[str, list[Tensor]] = field(default_factory=dict)
    powers: dict[str, list[Tensor]] = field(default_factory=dict)
    kl: Tensor = field(default_factory=lambda: torch.zeros(1))
    mean: Tensor = field(default_factory=lambda: torch.zeros(1, 1))
    std: Tensor = field(default_factory=lambda: torch.zeros(1, 1))


def choose(data: str, count: int) -> Corpus:
    """Some test files, each of another speaker as far as there are enough."""
    test = Corpus.open(data).split("test")
    by_speaker: dict[str, list[int]] = {}
    for index, utterance in enumerate(test):
        by_speaker.setdefault(utterance.speaker, []).append(index)
    turns = [index for turn in range(len(test)) for many in by_speaker.values() for index in many[turn : turn + 1]]
    chosen = {test[index].name for index in turns[:count]}
    return test.filter(lambda utterance: utterance.name in chosen)


def show(model: DVAE, utterances: Utterances, modes: Sequence[str], latents: str) -> Shown:
    """Pass the files through a model.

    Args:
        model: a trained one.
        utterances: the files, prepared by the model's front end.
        modes: of resynthesis.
        latents: ``"sample"`` or ``"mean"``.
    """
    items = [utterances[index] for index in range(len(utterances))]
    shown = Shown()
    for mode in modes:
        results = analysis_resynthesis(
            model,
            [item.waveform for item in items],
            [item.name for item in items],
            mode=mode,  # type: ignore[arg-type]
            latents=latents,  # type: ignore[arg-type]
            bound=False,
        )
        shown.waveforms[mode] = [result.waveform for result in results]
        shown.powers[mode] = [result.power for result in results]
    divergences, frames = [], 0
    with evaluating(model):
        for item in items:
            x = item.power.unsqueeze(0)
            posterior = model.posterior(x, noise=file_noise(model, item.name, x.shape[1], seed=0))
            prior = model.prior(posterior.latents, x)
            divergences.append(kl_per_dimension(posterior.z, prior).sum((0, 1)))
            frames += x.shape[1]
        first = items[0].power.unsqueeze(0)
        noise = model.draw_noise(1, first.shape[1])
        still = noise._replace(z=noise.z * 0, w=None if noise.w is None else noise.w * 0)
        z = model.posterior(first, noise=still).z
    kl = torch.stack(divergences).sum(0) / frames
    return Shown(shown.waveforms, shown.powers, kl, z.mean[0], z.stddev[0])
