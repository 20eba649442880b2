"""The one form that every way to enhance speech has, and its shell round those that are a gain for each bin."""

from __future__ import annotations

__all__ = ["Enhancing", "Filter", "Gain"]

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd
from dynvae.audio.recording import Recording
from dynvae.audio.stft import power_of


class Enhancing(Protocol):
    """A way to enhance speech: a waveform in, its speech out, in the same shape, rate and level."""

    def __call__(self, waveform: Any, sample_rate: int, *, seed: int = 0, name: str = "") -> NDArray[np.float32]:
        """Enhance a recording, ``(samples,)`` or ``(channels, samples)``.

        Args:
            waveform: array or tensor of floats.
            sample_rate: in hertz.
            seed: of what is random, if anything is.
            name: what errors call the recording.

        Raises:
            AudioError: it is empty or not finite.
        """
        ...


class Gain(Protocol):
    """A rule that looks at power spectra and says how much of each bin is speech."""

    @property
    def front_end(self) -> FrontEnd:
        """The transform that the gain belongs to."""
        ...

    def gain(self, power: Tensor, generator: torch.Generator) -> Tensor:
        """A factor for each bin of the spectra ``|x|²``.

        Args:
            power: ``(channels, time, bins)``, of recordings at the front end's rate, each of peak one.
            generator: for what is random.

        Returns:
            Not negative, in the shape of ``power``.
        """
        ...


class Filter:
    """Enhancement by a gain: ŝ is the inverse transform of ``gain(|x|²) · x``. It is an :class:`Enhancing`.

    Args:
        rule: which gain.

    Example:
        >>> from dynvae.baselines import WienerFilter
        >>> noise = np.random.default_rng(0).normal(size=16000)
        >>> still = Filter(WienerFilter())(noise, 16000)
        >>> still.shape, bool(np.square(still).mean() < 0.02 * np.square(noise).mean())
        ((16000,), True)
    """

    def __init__(self, rule: Gain) -> None:
        self.rule = rule

    @torch.no_grad()
    def __call__(self, waveform: Any, sample_rate: int, *, seed: int = 0, name: str = "") -> NDArray[np.float32]:
        """See :class:`Enhancing`."""
        front_end = self.rule.front_end
        recording = Recording.of(waveform, sample_rate, front_end.sample_rate, name)
        if not len(recording.heard):
            return recording.back([])
        spectra = front_end.stft(torch.from_numpy(recording.signals))
        gain = self.rule.gain(power_of(spectra), torch.Generator().manual_seed(seed))
        return recording.back([*front_end.istft(spectra * gain, recording.signals.shape[1]).numpy()])
