"""A recording in which several sources sound together, and each of them alone."""

from __future__ import annotations

__all__ = ["DEFAULT_ITERATIONS", "Parted", "Separator"]

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd
from dynvae.audio.recording import Recording
from dynvae.audio.stft import power_of
from dynvae.errors import ConfigError
from dynvae.mixtures import Mixture, Solution, SpectralAssignment, first_guess
from dynvae.mixtures.engine import Progress
from dynvae.models import DVAE
from dynvae.pretrained import load

DEFAULT_ITERATIONS = 20

Sound = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Parted:
    """The sources of a recording, and how the algorithm got there.

    Attributes:
        waveforms: ``(source, ...)``, each in the shape of the input, float32; they add up to it.
        objective: the bound of ln p at the checked iterations, ``(checks, channels)``, in nats a frame; more is better.
        iterations: the numbers of these iterations.
        energy: each source's share of the energy of all, ``(source, channels)``; zero in silence.
        silent: channels that were silent and stay so, ``(channels,)``.
    """

    waveforms: Sound
    objective: NDArray[np.float64]
    iterations: list[int]
    energy: NDArray[np.float64]
    silent: NDArray[np.bool_]


class Separator:
    r"""Separation by a model of each source, which have never heard a mixture (Lin et al., 2023).

    The engine of :mod:`dynvae.mixtures` finds q(s) of all sources. Each gets the share
    :math:`\mathbb E|s_n|^2 / \sum_m \mathbb E|s_m|^2` of every bin, so that the sources add up to the mixture; their
    means alone (``estimate="mean"``, as published) are some 1 dB worse. What no model explains is shared, too.

    Args:
        models: one for each source: bundled names, folders of models or runs, or DVAEs of power spectra. They share
            one front end. Several sources may have the same model: then which is which is left to chance, the seed.
        iterations: of VEM.
        ratio: variance of the noise of a bin, as a share of its power.
        floor: see :class:`~dynvae.mixtures.SpectralAssignment`.
        estimate: ``"share"`` or ``"mean"``.
        every: iterations between two looks at the bound; 0 never looks, which is faster.
        device: where it runs.
        settings: others of :class:`~dynvae.mixtures.Mixture`, such as ``feedback``.

    Raises:
        ConfigError: there are fewer than two models, one is none of sound, or their front ends differ.
        CheckpointError: there is no such model.

    Example:
        >>> from dynvae.models import VAE
        >>> model = VAE(x_dim=33, z_dim=2)
        >>> model.front_end = FrontEnd(window_length=64, hop_length=16)
        >>> mixture = np.random.default_rng(0).normal(size=1000)
        >>> mixture -= mixture.mean()
        >>> found = Separator([model, model], iterations=3)(mixture, 16000)
        >>> found.waveforms.shape, bool(np.allclose(found.waveforms.sum(0), mixture, atol=1e-4))
        ((2, 1000), True)
    """

    def __init__(
        self,
        models: Sequence[str | os.PathLike[str] | DVAE],
        *,
        iterations: int = DEFAULT_ITERATIONS,
        ratio: float = 0.03,
        floor: float = 1e-7,
        estimate: str = "share",
        every: int = 0,
        device: str | torch.device = "cpu",
        **settings: Any,
    ) -> None:
        if len(models) < 2:
            raise ConfigError("a mixture has at least two sources: name a model for each")
        if estimate not in ("share", "mean"):
            raise ConfigError(f"the estimate is share or mean, not '{estimate}'")
        loaded: dict[Any, DVAE] = {}
        for given in models:
            key = id(given) if isinstance(given, DVAE) else os.fspath(given)
            if key not in loaded:
                loaded[key] = given.to(device) if isinstance(given, DVAE) else load(given, device)
        self.models = [loaded[id(g) if isinstance(g, DVAE) else os.fspath(g)] for g in models]
        front_ends = [model.front_end for model in self.models]
        front_end = front_ends[0]
        if not isinstance(front_end, FrontEnd):
            raise ConfigError("a model tells no front end: it is none of sound")
        for other in front_ends[1:]:
            if not isinstance(other, FrontEnd) or _transform(other) != _transform(front_end):
                raise ConfigError(f"the models see sound in different ways ({front_end} and {other}); all of a mixture "
                                  "have one front end")  # fmt: skip
        self.front_end, self.estimate, self.device = front_end, estimate, torch.device(device)
        self.mixture = Mixture(
            self.models, SpectralAssignment(ratio, floor), iterations=iterations, every=every, **settings
        )
        self.twins = [[i for i, other in enumerate(self.models) if other is model] for model in self.models]
        """For each source, all that have its model."""

    def __call__(
        self, waveform: Any, sample_rate: int, *, seed: int = 0, name: str = "", progress: Progress | None = None
    ) -> Parted:
        """Separate a recording; the sources have its rate, length, channels and level.

        Each channel is separated on its own, all of them in one batch. It is resampled to the models' rate and back
        (above half of that rate nothing remains), its offset is removed, its peak brought to one and back. Silence
        stays silence.

        Args:
            waveform: array or tensor of floats, ``(samples,)`` or ``(channels, samples)``.
            sample_rate: its rate, in hertz.
            seed: of all random numbers.
            name: what errors call the recording.
            progress: told how it goes.

        Raises:
            AudioError: the recording is empty, or NaN or infinite somewhere, or no waveform.
        """
        recording = Recording.of(waveform, sample_rate, self.front_end.sample_rate, name)
        channels = 1 if len(recording.shape) == 1 else recording.shape[0]
        count, heard = len(self.models), recording.heard
        silent = np.ones(channels, bool)
        silent[heard] = False
        energy = np.zeros((count, channels))
        if not len(heard):
            return Parted(np.zeros((count, *recording.shape), np.float32), energy[:0], [], energy, silent)
        signals, found = self.separate(torch.from_numpy(recording.signals), seed=seed, progress=progress)
        sources = self._one_order(signals.cpu().numpy().swapaxes(0, 1))
        parts = np.stack([recording.back([*source]) for source in sources])
        squares = np.square(sources, dtype=np.float64).sum(-1)
        energy[:, heard] = squares / squares.sum(0).clip(min=1e-300)
        objective = np.full((len(found.iterations), channels), np.nan)
        objective[:, heard] = found.objective.cpu().numpy() / found.mean.shape[2]
        return Parted(parts, objective, found.iterations, energy, silent)

    def separate(self, signals: Tensor, *, seed: int = 0, progress: Progress | None = None) -> tuple[Tensor, Solution]:
        """The sources of several signals at once.

        Args:
            signals: ``(batch, samples)``, at the models' rate and a peak of one.
            seed: of the random numbers.
            progress: told how it goes.

        Returns:
            ``(batch, source, samples)``, and what the engine has found.
        """
        spectra = self.front_end.stft(signals.to(self.device))
        found = self.mixture.run(spectra, first_guess(self.mixture, spectra, seed), seed=seed, progress=progress)
        estimate = found.mean
        if self.estimate == "share":
            power = power_of(found.mean) + found.variance
            estimate = power / power.sum(1, keepdim=True) * spectra.unsqueeze(1)
        return self.front_end.istft(estimate, signals.shape[-1]), found

    def _one_order(self, sources: Sound) -> Sound:
        """Sources ``(source, channel, samples)``, those of one model in the order of the first channel."""
        for channel in range(1, sources.shape[1]):
            order = self.order_like(sources[:, 0], sources[:, channel])
            sources[:, channel] = sources[order, channel]
        return sources

    def order_like(self, known: Sound, found: Sound) -> list[int]:
        """Which of the sources found, ``(source, samples)``, go on which of those known; only twins change places."""
        order = list(range(len(self.models)))
        likeness = np.abs(known) @ np.abs(found).T
        for first, twins in enumerate(self.twins):
            if twins[0] == first and len(twins) > 1:
                best = max(
                    itertools.permutations(twins),
                    key=lambda p: sum(likeness[i, j] for i, j in zip(twins, p, strict=True)),
                )
                for index, place in zip(twins, best, strict=True):
                    order[index] = place
        return order


def _transform(front_end: FrontEnd) -> tuple[int, int, int, str]:
    """What two front ends must have in common; how utterances are trimmed for training is not of it."""
    return front_end.sample_rate, front_end.window_length, front_end.hop_length, front_end.pad_mode
