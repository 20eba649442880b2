"""Speech enhancement: a recording of any rate, level and number of channels, and its speech."""

from __future__ import annotations

__all__ = ["Enhanced", "Enhancer", "enhance"]

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd, resample
from dynvae.audio.stft import power_of
from dynvae.condition import Condition
from dynvae.errors import AudioError, ConfigError
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.testtime.em import Progress, Separated
from dynvae.testtime.guards import guarded
from dynvae.testtime.noise import Patterns
from dynvae.testtime.presets import Preset, preset
from dynvae.testtime.prior import DVAEPrior, Prior
from dynvae.testtime.scene import Scene

DEFAULT_PRIOR = "rvae-speech"
"""The bundled model that is taken if none is named."""


@dataclass(frozen=True, eq=False)
class Enhanced:
    """A recording's speech, and how the algorithm got there.

    Attributes:
        waveform: in the shape of the input, float32.
        objective: the EM objective at the checked iterations, ``(checks, channels)``; less is better.
        iterations: the numbers of these iterations.
        energy: share of the input's energy in the estimate, ``(channels,)``.
        collapsed: where the estimate collapsed in all attempts, and the last healthy one is given, ``(channels,)``.
        silent: channels that were silent and stay so, ``(channels,)``.
        patterns: spectral patterns W and activations H of the noise, ``(channels, K, bins)`` and
            ``(channels, time, K)``, where the noise model has them.
        info: numbers that the E-step has told last, such as its rate of acceptance.
        modes: of a mixture of priors, p(mode | x) at each frame, ``(channels, modes, time)``; of silent channels zero.
    """

    waveform: NDArray[np.float32]
    objective: NDArray[np.float64]
    iterations: list[int]
    energy: NDArray[np.float64]
    collapsed: NDArray[np.bool_]
    silent: NDArray[np.bool_]
    patterns: tuple[Tensor, Tensor] | None = None
    info: dict[str, Any] = field(default_factory=dict)
    modes: NDArray[np.float32] | None = None


class Enhancer:
    """Speech enhancement with one prior and one method, for any number of recordings.

    Args:
        prior: a model of clean speech: its bundled name, the folder of a model or a run, a DVAE, or any
            :class:`~dynvae.testtime.prior.Prior` together with a front end.
        method: the name of a preset (:data:`~dynvae.testtime.presets.PRESETS`), or one's own
            :class:`~dynvae.testtime.presets.Preset`.
        front_end: of a prior that has none.
        device: where it runs.
        settings: what is otherwise than in the preset: fields of :class:`~dynvae.testtime.em.EM`, such as
            ``iterations``.

    Raises:
        ConfigError: the prior is none of speech, or a setting is unknown.
        CheckpointError: there is no such model.
    """

    def __init__(
        self,
        prior: str | os.PathLike[str] | DVAE | Prior = DEFAULT_PRIOR,
        method: str | Preset = "default",
        *,
        front_end: FrontEnd | None = None,
        device: str | torch.device = "cpu",
        **settings: Any,
    ) -> None:
        chosen = preset(method) if isinstance(method, str) else method
        self.preset = chosen.replaced(**settings) if settings else chosen
        if isinstance(prior, str | os.PathLike):
            prior = load(prior, device)
        if isinstance(prior, DVAE):
            own = prior.front_end
            front_end = front_end or (own if isinstance(own, FrontEnd) else None)
            prior = DVAEPrior(prior, feedback=chosen.feedback, energy=chosen.energy)
            prior.model.to(device)
        if front_end is None:
            raise ConfigError("the prior tells no front end: give the one of its training (front_end=)")
        if front_end.bins != prior.bins:
            raise ConfigError(f"the prior has {prior.bins} bins and the front end {front_end.bins}")
        self.prior, self.front_end, self.device = prior, front_end, torch.device(device)

    def __call__(
        self,
        waveform: Any,
        sample_rate: int,
        *,
        condition: Condition | None = None,
        seed: int = 0,
        name: str = "",
        progress: Progress | None = None,
    ) -> Enhanced:
        """Enhance a recording; the result has its rate, length, channels and level.

        Each channel is enhanced on its own, all of them in one batch. It is resampled to the prior's rate and back
        (above half of that rate nothing remains), its offset is removed, its peak brought to one and back. Silence
        stays silence.

        Args:
            waveform: array or tensor of floats, ``(samples,)`` or ``(channels, samples)``.
            sample_rate: its rate, in hertz.
            condition: what is known beside the sound, such as lips, for one channel or each, on the frames of the front
                end at its rate: frame t is centred on sample t · hop. A condition that ends early is absent from there
                on, one that goes on is cut. A prior that sees none ignores it.
            seed: of all random numbers; each channel draws the same ones.
            name: what errors call the recording.
            progress: told how it goes.

        Raises:
            AudioError: the recording is empty, or NaN or infinite somewhere, or no waveform.
        """
        channels, shape = _checked(waveform, name)
        low = np.stack([resample(channel, sample_rate, self.front_end.sample_rate) for channel in channels])
        low = low if low.shape[1] else channels[:, :1]  # too short for a sample at the lower rate
        mean = low.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)
        peak = np.abs(low - mean).max(1, initial=0, keepdims=True)
        # A constant is silence, whatever rounding leaves of it.
        silent = np.array([not np.diff(channel).any() for channel in channels]) | (peak[:, 0] < 1e-30)
        heard = np.flatnonzero(~silent)
        result = np.zeros_like(channels)
        if not len(heard):
            nothing = np.zeros((0, len(channels)))
            return Enhanced(result.reshape(shape), nothing, [], nothing.sum(0), silent & False, silent)
        signals = torch.from_numpy((low[heard] - mean[heard]) / peak[heard]).to(self.device)
        if condition is not None and len(condition.present) > 1:
            condition = Condition(*(part[torch.from_numpy(heard)] for part in condition))
        estimates, found = self.separate([*signals], condition=condition, seed=seed, progress=progress)
        for index, estimate in zip(heard, estimates, strict=True):
            level = estimate.cpu().numpy() * peak[index]
            back = resample(level, self.front_end.sample_rate, sample_rate)[: channels.shape[1]]
            result[index, : len(back)] = back
        energy, collapsed = np.zeros(len(channels)), np.zeros(len(channels), dtype=bool)
        energy[heard], collapsed[heard] = found.energy.cpu().numpy(), found.collapsed.cpu().numpy()
        objective = np.full((len(found.iterations), len(channels)), np.nan)
        objective[:, heard] = found.objective.cpu().numpy()
        patterns = (found.model.w, found.model.h) if isinstance(found.model, Patterns) else None
        modes = None
        if found.modes is not None:
            modes = np.zeros((len(channels), *found.modes.shape[1:]), np.float32)
            modes[heard] = found.modes.cpu().numpy()
        return Enhanced(
            result.reshape(shape), objective, found.iterations, energy, collapsed, silent, patterns, found.info, modes
        )

    def separate(
        self,
        signals: Sequence[Tensor],
        *,
        condition: Condition | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> tuple[list[Tensor], Separated]:
        """The speech in several signals at once, of unequal length, at the prior's rate and a peak of one.

        Each draws its own random numbers: the result is the one it would have alone.

        Args:
            signals: each ``(samples,)``, of some sound, on the enhancer's device.
            condition: of all signals, or one for each; see :meth:`__call__`.
            seed: of the random numbers of each.
            progress: told how it goes.
        """
        spectra = [self.front_end.stft(signal) for signal in signals]
        lengths = torch.tensor([len(spectrum) for spectrum in spectra], device=self.device)
        power = torch.nn.utils.rnn.pad_sequence([power_of(spectrum) for spectrum in spectra], batch_first=True)
        if condition is not None:
            condition = Condition.of(*condition).fitted(power.shape[1])
            if len(condition.present) == 1:
                condition = condition.repeated(len(signals))
        scene = Scene.of(power, lengths, condition)
        found = guarded(self.preset.em, self.prior, scene, seed, self.preset.attempts, progress)
        speech = [
            self.front_end.istft(spectrum * mask[: len(spectrum)], len(signal))
            for spectrum, mask, signal in zip(spectra, found.mask, signals, strict=True)
        ]
        return speech, found


def enhance(
    waveform: Any,
    sample_rate: int,
    prior: str | os.PathLike[str] | DVAE | Prior = DEFAULT_PRIOR,
    method: str | Preset = "default",
    *,
    condition: Condition | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    **settings: Any,
) -> NDArray[np.float32]:
    """Remove noise from speech, by a model that has heard clean speech only.

    The speech's variance is the prior's, the noise's is a product of few spectral patterns that are fitted to the
    recording by expectation-maximisation. Nothing has to be known of the noise.

    Args:
        waveform: array or tensor of floats, ``(samples,)`` or ``(channels, samples)``.
        sample_rate: in hertz, any.
        prior: bundled name, folder, DVAE or :class:`~dynvae.testtime.prior.Prior`; its weights are never changed.
        method: the name of a preset, or a preset.
        condition: what is known beside the sound, such as lips; see :class:`Enhancer`.
        seed: of all random numbers.
        device: where it runs.
        settings: what is otherwise than in the preset, such as ``iterations=50``.

    Returns:
        The speech, in the shape, rate and level of the input. :class:`Enhancer` also reports how it got there, and is
        the better choice for many recordings.

    Raises:
        AudioError: the recording is empty, or not finite.
        ConfigError: a setting is unknown.

    Example:
        >>> import numpy as np
        >>> from dynvae.audio import FrontEnd
        >>> from dynvae.models import VAE
        >>> model = VAE(x_dim=33, z_dim=2)
        >>> model.front_end = FrontEnd(window_length=64, hop_length=16)
        >>> enhance(np.random.default_rng(0).normal(size=(2, 1000)), 16000, model, iterations=3).shape
        (2, 1000)
    """
    enhancer = Enhancer(prior, method, device=device, **settings)
    return enhancer(waveform, sample_rate, condition=condition, seed=seed).waveform


def _checked(waveform: Any, name: str) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """The recording as ``(channels, samples)``, and its shape."""
    shown = f"{name}: " if name else ""
    signal = np.asarray(waveform.detach().cpu() if isinstance(waveform, Tensor) else waveform)
    if signal.ndim not in (1, 2) or not np.issubdtype(signal.dtype, np.floating):
        raise AudioError(f"{shown}a waveform is floating-point, (samples,) or (channels, samples), not {signal.dtype} "
                         f"{signal.shape}")  # fmt: skip
    if signal.size == 0:
        raise AudioError(f"{shown}the waveform {signal.shape} has no samples")
    bad = ~np.isfinite(signal)
    if bad.any():
        first = int(np.flatnonzero(np.atleast_2d(bad).any(0))[0])
        raise AudioError(f"{shown}{int(bad.sum())} samples are NaN or infinite, first at index {first}; repair or "
                         "remove them")  # fmt: skip
    return np.atleast_2d(signal).astype(np.float32), signal.shape
