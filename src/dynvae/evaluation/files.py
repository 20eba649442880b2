"""Sound of any rate, level and number of channels through a model, and back to what it was."""

from __future__ import annotations

__all__ = ["Passed", "resynthesize_waveform"]

import dataclasses
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import Preparation, resample
from dynvae.evaluation.analysis import LatentsAt, Mode, analysis_resynthesis, speech_front_end
from dynvae.models import DVAE


class Passed(NamedTuple):
    """A waveform that went through a model, and the two power spectrograms of its first channel.

    Attributes:
        waveform: ``(channels, samples)``.
        before: what the model saw, ``(time, bins)``.
        after: what it made of it, on the same scale.
    """

    waveform: NDArray[np.float32]
    before: Tensor
    after: Tensor


def resynthesize_waveform(
    model: DVAE,
    waveform: NDArray[np.float32],
    sample_rate: int,
    *,
    name: str = "",
    mode: Mode = "teacher-forced",
    latents: LatentsAt = "sample",
    seed: int = 0,
) -> Passed:
    """Pass a recording through a model; the result has its rate, length, channels and level.

    Each channel passes on its own. It is resampled to the model's rate and back (above half of the model's rate
    nothing remains), its offset is removed, its peak brought to one and back; its quiet ends are kept. Silence stays
    silence.

    Args:
        model: with a front end.
        waveform: ``(samples,)`` or ``(channels, samples)``.
        sample_rate: its rate, in Hz.
        name: decides the noise of the latents, together with the seed.
        mode: what an autoregressive model sees as past: the true frames or its own.
        latents: a sample of the posterior, or its mean.
        seed: of the noise.

    Raises:
        ConfigError: the model has no front end that fits.
    """
    front_end = dataclasses.replace(speech_front_end(model), trim_db=None)
    channels = np.atleast_2d(waveform)
    samples = channels.shape[1]
    silent = [not np.diff(channel).any() for channel in channels]  # a constant is silence, too
    slow = np.stack([resample(channel, sample_rate, front_end.sample_rate) for channel in channels])
    # The last hop is filled up: a preparation keeps whole hops alone.
    padded = np.pad(slow, ((0, 0), (0, -slow.shape[1] % front_end.hop_length)), mode="edge")
    preparations = [Preparation.of(channel, front_end) for channel in padded]
    prepared = [
        torch.from_numpy(preparation.apply(channel)) for preparation, channel in zip(preparations, padded, strict=True)
    ]
    passed = analysis_resynthesis(
        model,
        prepared,
        [f"{name}#{index}" for index in range(len(prepared))],
        mode=mode,
        latents=latents,
        seed=seed,
        bound=False,
    )
    result = np.zeros_like(channels, dtype=np.float32)
    for index, (preparation, resynthesis) in enumerate(zip(preparations, passed, strict=True)):
        if not silent[index]:
            level = preparation.undo(resynthesis.waveform.float().numpy())[: slow.shape[1]]
            back = resample(level, front_end.sample_rate, sample_rate)[:samples]
            result[index, : len(back)] = back
    return Passed(result, front_end.power(prepared[0]), passed[0].power.float())
