"""Enhancement of a stream: samples in, samples out, the same ones however the stream is cut."""

from __future__ import annotations

__all__ = ["StreamingEnhancer"]

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd
from dynvae.audio.blocks import Resampler
from dynvae.audio.stft import power_of
from dynvae.errors import AudioError, ConfigError
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.testtime.online import Online, OnlineEM, causal_prior

DEFAULT_PRIOR = "vae-speech"
"""The bundled causal model that is taken if none is named."""
_BLOCKS_A_SECOND = 100

Sound = NDArray[np.float32]


class StreamingEnhancer:
    """Speech enhancement while the sound comes in: causal, and with a state of one size.

    Each channel is enhanced on its own. What is pushed comes out later, at the same rate and level, and all of it by
    :meth:`flush`: the concatenated output has as many samples as the input, and is the same bit for bit however the
    input is cut.

    Args:
        prior: a causal model of clean speech without a latent of the whole sequence (VAE, DKF, SRNN, VRNN, STORN, KVAE,
            causal RVAE): its bundled name, a folder, or a DVAE.
        rate: of the stream, in hertz; it is resampled to the prior's rate and back.
        channels: of the stream.
        settings: of the separation; the defaults of :class:`~dynvae.testtime.online.Online` if none are given.
        seed: of the first noise patterns.
        device: where it runs.

    Attributes:
        latency: seconds from a sample's coming in to its going out, at most: a window of the front end, and what the
            resampling takes.

    Raises:
        ConfigError: the prior is not causal, or none of speech; its front end is unknown.
        CheckpointError: there is no such model.

    Example:
        >>> from dynvae.models import VAE
        >>> model = VAE(x_dim=33, z_dim=2)
        >>> model.front_end = FrontEnd(window_length=64, hop_length=16)
        >>> stream = StreamingEnhancer(model, 16000)
        >>> sound = np.random.default_rng(0).normal(size=1000).astype(np.float32)
        >>> parts = [stream.push(sound[:300]), stream.push(sound[300:]), stream.flush()]
        >>> [len(part) for part in parts]
        [112, 800, 88]
    """

    def __init__(
        self,
        prior: str | os.PathLike[str] | DVAE = DEFAULT_PRIOR,
        rate: int = 16000,
        channels: int = 1,
        settings: Online | None = None,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        model = prior if isinstance(prior, DVAE) else load(prior, device)
        if not isinstance(model.front_end, FrontEnd):
            raise ConfigError("the prior tells no front end: it is no model of speech")
        if rate < 1 or channels < 1:
            raise ConfigError(f"a stream has a positive rate and number of channels, not {rate} and {channels}")
        self.prior, self.front_end = causal_prior(model).to(device), model.front_end
        self.rate, self.channels, self.settings, self.seed = rate, channels, settings or Online(), seed
        self._block = max(1, rate // _BLOCKS_A_SECOND)
        self.latency = self._latency()
        self._begin()

    def _begin(self) -> None:
        fe = self.front_end
        self._in = Resampler(self.rate, fe.sample_rate, self.channels)
        self._out = Resampler(fe.sample_rate, self.rate, self.channels)
        self._waiting = np.zeros((self.channels, 0), np.float32)
        self._pushed = self._given = self._low = self._low_given = 0
        seconds = fe.hop_length / fe.sample_rate
        self._separations = [OnlineEM(self.prior, self.settings, seconds, self.seed) for _ in range(self.channels)]
        half = fe.window_length // 2
        like = self.prior.weight.detach()
        self._window = fe.window(like)
        self._sound = like.new_zeros(self.channels, half)  # what is left of the last frame
        self._sum = like.new_zeros(self.channels, fe.window_length)
        self._weight = like.new_zeros(fe.window_length)
        self._skip = half  # what stands before the first sample

    def push(self, samples: Any) -> Sound:
        """Give a piece of the stream, and get what is ready of the speech.

        Args:
            samples: floats, ``(samples,)`` of a stream of one channel, or ``(channels, samples)``; any number.

        Returns:
            In the same form, as many samples as are ready, perhaps none.

        Raises:
            AudioError: there is NaN or infinity in it, or it has another number of channels; the stream is as before.
        """
        piece = np.asarray(samples.detach().cpu() if isinstance(samples, Tensor) else samples)
        if piece.ndim not in (1, 2) or len(np.atleast_2d(piece)) != self.channels:
            raise AudioError(f"a piece of this stream is (samples,) or ({self.channels}, samples), not {piece.shape}")
        bad = ~np.isfinite(np.atleast_2d(piece))
        if bad.any():
            first = self._pushed + int(np.flatnonzero(bad.any(0))[0])
            raise AudioError(f"{int(bad.sum())} samples are NaN or infinite, first at index {first} of the stream")
        waiting = np.concatenate([self._waiting, np.atleast_2d(piece).astype(np.float32)], 1)
        self._pushed += piece.shape[-1]
        whole = waiting.shape[1] // self._block * self._block
        blocks = [waiting[:, start : start + self._block] for start in range(0, whole, self._block)]
        self._waiting = waiting[:, whole:]
        return self._form([part for block in blocks for part in self._through(self._in.push(block))], piece.ndim)

    def flush(self) -> Sound:
        """The rest of the speech, ``(channels, samples)``, or ``(samples,)`` of one channel; a new stream can begin."""
        fe = self.front_end
        parts = self._through(self._in.push(self._waiting)) + self._through(self._in.finish())
        if self._pushed and not self._low:  # too short for a sample at the prior's rate
            parts += self._through(np.zeros((self.channels, 1), np.float32))
        low = self._low
        while self._low_given < low:
            parts += self._through(np.zeros((self.channels, fe.hop_length), np.float32), end=low)
        parts.append(self._out.finish())
        rest = self._form(parts, 1 if self.channels == 1 else 2)
        missing = self._pushed - self._given  # what rounding of the rates has left open
        rest = np.concatenate([rest, np.zeros((*rest.shape[:-1], missing), np.float32)], -1)
        self._begin()
        return rest

    def _form(self, parts: list[Sound], dimensions: int) -> Sound:
        ready = np.concatenate([np.zeros((self.channels, 0), np.float32), *parts], 1)[:, : self._pushed - self._given]
        self._given += ready.shape[1]
        return ready[0] if dimensions == 1 else ready

    def _through(self, low: Sound, end: int | None = None) -> list[Sound]:
        """What samples at the prior's rate bring about, at the stream's rate; none from ``end`` on."""
        fe, parts = self.front_end, []
        self._low += low.shape[1] if end is None else 0
        self._sound = torch.cat([self._sound, torch.from_numpy(np.ascontiguousarray(low)).to(self._sound)], 1)
        while self._sound.shape[1] >= fe.window_length:
            speech = self._frame(self._sound[:, : fe.window_length])
            self._sound = self._sound[:, fe.hop_length :]
            skipped = min(self._skip, fe.hop_length)
            self._skip -= skipped
            stop = None if end is None else skipped + end - self._low_given
            ready = speech[:, skipped:stop].cpu().numpy()
            self._low_given += ready.shape[1]
            parts.append(self._out.push(ready))
        return parts

    @torch.no_grad()
    def _frame(self, sound: Tensor) -> Tensor:
        """Enhance the newest frame, ``(channels, window)``; the hop that no later one will touch."""
        hop, window = self.front_end.hop_length, self._window
        spectra = torch.fft.rfft(sound * window)
        peaks = sound.abs().amax(1).tolist()
        masks = [separate(power, peak) for separate, power, peak in
                 zip(self._separations, power_of(spectra), peaks, strict=True)]  # fmt: skip
        self._sum = self._sum + torch.fft.irfft(spectra * torch.stack(masks), n=len(window)) * window
        self._weight = self._weight + window.square()
        ready = self._sum[:, :hop] / self._weight[:hop]
        self._sum = torch.nn.functional.pad(self._sum[:, hop:], (0, hop))
        self._weight = torch.nn.functional.pad(self._weight[hop:], (0, hop))
        return ready

    def _latency(self) -> float:
        """A window, and the lag of resampling, which soxr does in blocks: it is looked for."""
        fe = self.front_end
        latency = fe.window_length / fe.sample_rate
        for source, target, block in (
            (self.rate, fe.sample_rate, self._block),
            (fe.sample_rate, self.rate, fe.hop_length),
        ):
            if source != target:
                resampler, done, worst = Resampler(source, target, 1), 0, 0.0
                for given in range(block, source // 2, block):
                    done += resampler.push(np.zeros((1, block), np.float32)).shape[1]
                    worst = max(worst, given / source - done / target)
                latency += worst
        return latency
