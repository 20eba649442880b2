"""Speech as a sum of spectral patterns that were learned from clean speech, in noise of patterns that were not."""

from __future__ import annotations

__all__ = ["Dictionary", "factorise", "learn_dictionary", "learn_patterns"]

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dynvae.audio import FrontEnd, prepare, read_audio
from dynvae.data import Corpus
from dynvae.errors import CheckpointError, ConfigError, DataError
from dynvae.files import atomic_write


def factorise(power: Tensor, w: Tensor, h: Tensor, learned: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    r"""Non-negative matrix factorisation under the Itakura-Saito divergence (Févotte, Bertin and Durrieu, 2009).

    .. math:: H \leftarrow H \odot \left[\frac{(P \odot V^{-2}) W^\top}{V^{-1} W^\top}\right]^{1/2}, \quad V = H W

    and likewise W; no step increases the divergence. Patterns are kept at sum one.

    Args:
        power: P, ``(..., time, bins)``, positive.
        w: W, patterns ``(..., patterns, bins)``.
        h: H, activations ``(..., time, patterns)``.
        learned: which patterns are changed, ``(patterns,)``; the others stay as they are.
        iterations: sweeps over H and W.

    Returns:
        W and H.
    """
    tiny = torch.finfo(power.dtype).tiny ** 0.5
    for _ in range(iterations):
        v = (h @ w).clamp(min=tiny)
        h = h * ((power / v / v) @ w.mT / (v.reciprocal() @ w.mT).clamp(min=tiny)).sqrt()
        v = (h @ w).clamp(min=tiny)
        step = (h.mT @ (power / v / v) / (h.mT @ v.reciprocal()).clamp(min=tiny)).sqrt()
        w = torch.where(learned[:, None], w * step, w)
        size = torch.where(learned, w.sum(-1), 1).clamp(min=tiny)
        w, h = w / size[..., None], h * size[..., None, :]
    return w, h


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Patterns of clean speech, and the filter that they make: the baseline "NMF only".

    The variance of noisy speech is ``H_s W_s + H_b W_b``: W_s are the patterns of speech, fixed; all else is fitted to
    the recording, the noise's patterns W_b too, which nobody has heard before (semi-supervised NMF: Smaragdis, Raj and
    Shashanka, 2007). The estimate is the Wiener filter of the two parts.

    Args:
        patterns: W_s, ``(patterns, bins)``, each of sum one.
        front_end: that of the patterns.
        noise: number of the noise's patterns.
        iterations: of the fit.
    """

    patterns: Tensor
    front_end: FrontEnd = field(default_factory=FrontEnd)
    noise: int = 8
    iterations: int = 60

    def __post_init__(self) -> None:
        if self.noise < 1 or self.iterations < 1:
            raise ConfigError(f"noise patterns ({self.noise}) and iterations ({self.iterations}) must be positive")

    def gain(self, power: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`~dynvae.baselines.enhancer.Gain`."""
        channels, time, bins = power.shape
        level = power.mean((1, 2), keepdim=True)
        power = torch.maximum(power, (1e-10 * level).clamp(min=torch.finfo(power.dtype).tiny))
        speech = len(self.patterns)
        own = torch.rand(channels, self.noise, bins, generator=generator).add_(0.1)
        w = torch.cat([self.patterns.expand(channels, -1, -1), own / own.sum(-1, keepdim=True)], 1)
        h = torch.rand(channels, time, speech + self.noise, generator=generator).add_(0.1)
        h = h * level * bins / h.sum(-1, keepdim=True)
        learned = torch.arange(speech + self.noise) >= speech
        w, h = factorise(power, w, h, learned, self.iterations)
        part = h[..., :speech] @ w[:, :speech]
        return part / (part + h[..., speech:] @ w[:, speech:]).clamp(min=torch.finfo(power.dtype).tiny)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the patterns as safetensors, with the front end beside them."""
        metadata = {"front_end": json.dumps(self.front_end.to_dict())}
        with atomic_write(path) as temp:
            temp.write_bytes(safetensors.torch.save({"patterns": self.patterns.contiguous()}, metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dictionary:
        """Read what `save` wrote.

        Raises:
            CheckpointError: the file is missing or something else.
        """
        try:
            with safetensors.safe_open(os.fspath(path), framework="pt") as file:
                front_end = json.loads((file.metadata() or {})["front_end"])
                return cls(file.get_tensor("patterns"), FrontEnd.from_dict(front_end))
        except Exception as error:  # safetensors' own, and whatever a foreign file may cause
            raise CheckpointError(f"{path} holds no patterns of speech ({error})") from error


def learn_dictionary(
    corpus: Corpus, patterns: int = 32, *, frames: int = 6000, iterations: int = 60, seed: int = 0
) -> Dictionary:
    """Learn patterns of speech from the training split of a corpus of clean speech.

    Args:
        corpus: its splits are respected: patterns come from ``train``.
        patterns: their number.
        frames: so many frames, spread over the files, are enough.
        iterations: of the factorisation.
        seed: of its start.

    Raises:
        DataError: the corpus has no training split, or no sound in it.
        AudioError: a file cannot be read.
    """
    if patterns < 1 or frames < patterns:
        raise ConfigError(f"{patterns} patterns need at least as many frames, not {frames}")
    front_end = FrontEnd()
    files = list(corpus.split("train"))
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(len(files), 200)).round().astype(int))]
    random = np.random.default_rng(seed)
    found = []
    for utterance in chosen:
        waveform, _ = read_audio(Path(utterance.path), sample_rate=front_end.sample_rate)
        power = front_end.power(torch.from_numpy(prepare(waveform, front_end).astype(np.float32)))
        energy = power.sum(-1)
        power = power[energy > 1e-4 * energy.max()]  # pauses have no patterns of speech
        some = random.permutation(len(power))[: -(-frames // len(chosen))]
        found.append(power[torch.from_numpy(some)])
    power = torch.cat(found)
    if not len(power):
        raise DataError(f"{corpus.root}: there is no sound in the training split")
    return Dictionary(learn_patterns(power, patterns, iterations=iterations, seed=seed), front_end)


def learn_patterns(power: Tensor, patterns: int, *, iterations: int = 60, seed: int = 0) -> Tensor:
    """Patterns of which frames are made, ``(patterns, bins)``, each of sum one.

    Args:
        power: frames, ``(frames, bins)``.
        patterns: their number.
        iterations: of the factorisation.
        seed: of its start.
    """
    power = power / power.mean(-1, keepdim=True)  # a loud frame says no more than a quiet one
    power = power.clamp(min=1e-10)
    generator = torch.Generator().manual_seed(seed)
    w = torch.rand(patterns, power.shape[1], generator=generator).add_(0.1)
    h = torch.rand(len(power), patterns, generator=generator).add_(0.1)
    w = w / w.sum(-1, keepdim=True)
    h = h * power.shape[1] / h.sum(-1, keepdim=True)
    return factorise(power, w, h, torch.ones(patterns, dtype=torch.bool), iterations)[0]
