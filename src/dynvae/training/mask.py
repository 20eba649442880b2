"""Training the supervised baseline: speech and noise, mixed anew in each epoch, and the trainer of all models."""

from __future__ import annotations

__all__ = ["Mixtures", "train_mask"]

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dynvae.audio import FRONT_ENDS, FrontEnd
from dynvae.audio.mixing import noise_gain
from dynvae.audio.stft import power_of
from dynvae.baselines.mask import MaskNetwork, magnitudes
from dynvae.data import Bank, Batch, Corpus, Crops, Item, collate
from dynvae.data.pairs import Pairs, mixed_pairs, open_pairs
from dynvae.data.store import store_folder
from dynvae.errors import ConfigError
from dynvae.models import DVAE
from dynvae.training.config import TrainConfig
from dynvae.training.loaders import TrainingData
from dynvae.training.machine import Machine, own_randomness
from dynvae.training.run import Outcome, fit

QUIETEST = 12.0
"""The peak of a training mixture lies up to so many dB below one."""
_FOR_STATISTICS = 64


class Mixtures(Dataset[Batch]):
    """Crops of speech in noise; item = noisy and clean magnitudes side by side, ``(frames, 2 · bins)``.

    What noise, where in it, at which ratio and at what level are functions of ``(seed, epoch, index)``. The ratio is
    that of the whole utterance's mean power to the noise's in the crop: in a pause, noise is not turned down.

    Args:
        speech: crops of clean speech.
        noise: recordings of noise.
        clean: where ``noise`` is noisy speech: its clean speech, in the same order; what is left is the noise.
        snr: lowest and highest ratio in dB.
        seed: of the draws.
    """

    def __init__(
        self, speech: Crops, noise: Bank, clean: Bank | None, snr: tuple[float, float], *, seed: int = 0
    ) -> None:
        self.speech, self.noise, self.clean, self.snr, self.seed = speech, noise, clean, snr, seed
        bank = speech.bank
        self.power = {
            utterance.name: float(bank[index].double().square().mean())
            for index, utterance in enumerate(bank.utterances)
        }
        self.share = np.array([noise.samples(index) for index in range(len(noise))], np.float64)
        self.share /= self.share.sum()

    def __len__(self) -> int:
        return len(self.speech)

    def __getitem__(self, index: int | tuple[int, int]) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int | tuple[int, int]]) -> Batch:
        waves = self.speech.waves(indices)
        clean = waves.samples.numpy()
        noisy = np.empty_like(clean)
        for row, (index, name) in enumerate(zip(indices, waves.names, strict=True)):
            key = index if isinstance(index, tuple) else (self.speech.epoch, index)
            random = np.random.default_rng([self.seed, *map(int, key), 2])
            noise = self._cut(random, clean.shape[1])
            loud, ratio = float(np.mean(np.square(noise))), random.uniform(*self.snr)
            gain = noise_gain(self.power[name], loud, ratio) if loud > 0 else 0.0
            noisy[row] = clean[row] + np.float32(gain) * noise
            peak = float(np.abs(noisy[row]).max())
            level = 10 ** (-random.uniform(0, QUIETEST) / 20) / peak if peak > 0 else 1.0
            noisy[row] *= np.float32(level)
            clean[row] *= np.float32(level)
        front_end = self.speech.front_end
        x = _side_by_side(front_end, torch.from_numpy(noisy), torch.from_numpy(clean))
        return Batch(x, torch.full((len(indices),), x.shape[1]), waves.names)

    def _cut(self, random: np.random.Generator, samples: int) -> NDArray[np.float32]:
        """So many samples of some noise; a recording that is shorter begins anew at its end."""
        index = int(random.choice(len(self.share), p=self.share))
        length = self.noise.samples(index)
        piece = np.empty(min(length, samples), np.float32)
        start = int(random.integers(length - len(piece), endpoint=True))
        self.noise.cut(index, start, piece)
        if self.clean is not None:
            speech = np.empty_like(piece)
            self.clean.cut(index, start, speech)
            piece -= speech
        return np.resize(piece, samples)


class _Whole(Dataset[Item]):
    """Whole pairs for validation, noisy peak one."""

    def __init__(self, pairs: Pairs, front_end: FrontEnd) -> None:
        self.pairs, self.front_end = pairs, front_end
        self.items = [self._item(index) for index in range(len(pairs))]
        self.lengths = [item.length for item in self.items]

    def _item(self, index: int) -> Item:
        pair = self.pairs.pairs[index]
        clean, noisy = (torch.from_numpy(signal) for signal in pair.load(self.front_end.sample_rate))
        peak = noisy.abs().max().clamp(min=1e-9)
        x = _side_by_side(self.front_end, *(self.front_end.pad(signal / peak) for signal in (noisy, clean)))
        return Item(x, len(x), pair.name)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]


def _side_by_side(front_end: FrontEnd, noisy: Tensor, clean: Tensor) -> Tensor:
    """Magnitudes of padded signals: ``(..., time, 2 · bins)``."""
    return torch.cat([magnitudes(power_of(front_end.transform(each)), front_end) for each in (noisy, clean)], -1)


def train_mask(
    *,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    noise: str | os.PathLike[str] | None = None,
    snr: tuple[float, float] = (-5.0, 20.0),
    model: dict[str, Any] | None = None,
    front_end: str = "64ms",
    train: TrainConfig | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Outcome:
    """Train a mask network on noisy speech of which the clean speech is known.

    Pairs of files are taken apart into speech and noise, and put together anew: each epoch sees other mixtures. With
    ``noise``, ``data`` is a corpus of clean speech. Validation is on the pairs as they are, or on one fixed mixture of
    each file of speech, with noise of its own split, at ratios in turn from the lowest to the highest.

    Args:
        data: pairs (see `dynvae.data.pairs.open_pairs`), or a corpus of clean speech.
        out: the folder of the run.
        noise: a corpus of noise with the splits train and valid.
        snr: lowest and highest signal-to-noise ratio of the mixtures in dB.
        model: arguments of `dynvae.baselines.MaskNetwork`, but for ``x_dim``.
        front_end: ``"64ms"`` or ``"32ms"``.
        train: how to train; what concerns latents has no effect.
        machine: where to train.
        resume: go on from the newest whole checkpoint in ``out``, if there is one.
        progress: show a bar on the terminal.

    Raises:
        ConfigError: a setting is wrong, or ``out`` is in use or holds another run.
        AudioError: a file cannot be read.
        DataError: there are no pairs, or no such split.
    """
    config = train or TrainConfig()
    if front_end not in FRONT_ENDS:
        raise ConfigError(f"there is no front end '{front_end}'; there are {', '.join(FRONT_ENDS)}")
    if len(snr) != 2 or not snr[0] <= snr[1]:
        raise ConfigError(f"snr is the lowest and the highest ratio in dB, not {list(snr)}")
    settings = FRONT_ENDS[front_end]
    with own_randomness():
        torch.manual_seed(config.seed)
        network = MaskNetwork(settings.bins, **(model or {}))
    network.front_end = settings
    speech, heard, clean, whole = _material(data, noise, snr, settings, config)
    mixtures = Mixtures(speech, heard, clean, snr, seed=config.seed)
    some = np.unique(np.linspace(0, len(mixtures) - 1, min(_FOR_STATISTICS, len(mixtures))).round().astype(int))
    noisy = mixtures.__getitems__([(0, int(index)) for index in some]).x[..., : settings.bins].flatten(0, 1)
    network.standardise(noisy.mean(0), noisy.std(0))
    validation = _Whole(whole, settings)
    facts = {
        "name": "mask", "data": str(data), "noise": None if noise is None else str(noise), "snr": list(snr),
        "front_end": front_end, "model": {key: value for key, value in network.config.items() if key != "x_dim"},
    }  # fmt: skip
    # The trainer asks a model for its bound alone, and this one's is its likelihood.
    return fit(cast(DVAE, network), TrainingData(mixtures, validation, validation.lengths, collate), out, config,
               machine, resume=resume, progress=progress, settings=facts)  # fmt: skip


def _material(
    data: str | os.PathLike[str],
    noise: str | os.PathLike[str] | None,
    snr: tuple[float, float],
    front_end: FrontEnd,
    config: TrainConfig,
) -> tuple[Crops, Bank, Bank | None, Pairs]:
    """Crops of clean speech, recordings of noise (or noisy speech and what to take from it), pairs to validate on."""
    cache = store_folder()
    plain = dataclasses.replace(front_end, trim_db=None, normalize="none")
    if noise is None:
        pairs = open_pairs(data)
        part = pairs.split("train")
        noisy, clean = (Bank(corpus, plain, keep_silence=True, cache=cache) for corpus in (part.noisy, part.clean))
        for index, utterance in enumerate(clean.utterances):
            if noisy.samples(index) != clean.samples(index):
                raise ConfigError(f"{utterance.name}: the clean and the noisy file are of different length")
        return (
            Crops(part.clean, plain, config.frames, seed=config.seed, cache=cache),
            noisy,
            clean,
            pairs.split("valid"),
        )
    corpus, sounds = Corpus.open(data), Corpus.open(noise)
    speech = Crops(corpus.split("train"), front_end, config.frames, seed=config.seed, cache=cache)
    valid = corpus.split("valid")
    ratios = np.linspace(*snr, 6)
    whole = mixed_pairs(valid, sounds, [float(ratio) for ratio in ratios], seed=config.seed)
    every = Pairs(Path(whole.root), whole.pairs[:: len(ratios) + 1])  # one mixture a file, at each ratio in turn
    return speech, Bank(sounds.split("train"), plain, cache=cache), None, every
