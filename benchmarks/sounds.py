"""Power spectrograms to learn from: drawn so that they resemble speech, or from sound files."""

from __future__ import annotations

__all__ = ["recorded", "speech_like", "write_speech_like"]

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from dynvae.audio import FrontEnd, prepare, read_audio, resample, write_audio
from dynvae.data.corpus import sound_files
from dynvae.errors import DataError


def speech_like(batch: int, time: int, bins: int = 513, seed: int = 0) -> Tensor:
    """Positive power spectra ``(batch, time, bins)`` with the dynamic range of speech, 1e-8 to some ten thousands.

    Harmonics under formants that move, syllables and pauses, and the exponential law of a periodogram.
    """
    random = torch.Generator().manual_seed(seed)
    frames, frequency = torch.arange(time), torch.linspace(0, 1, bins)

    def wander(rate: float) -> Tensor:  # a smooth path in [0, 1]
        points = torch.rand(batch, 1, 2 + int(time * rate), generator=random)
        return F.interpolate(points, time, mode="linear", align_corners=True).squeeze(1)

    pitch = (80 + 160 * wander(0.02)) / 8000
    harmonics = 8 * torch.cos(2 * math.pi * frequency / pitch[..., None])
    formants = sum(
        20 * torch.exp(-(((frequency - centre - 0.12 * wander(0.1)[..., None]) / 0.05) ** 2))
        for centre in (0.03, 0.15, 0.3)
    )
    syllables = 40 * torch.sin(2 * math.pi * frames / 18 + 6 * wander(0.05))[..., None].clamp(-1, 0.3)
    decibels = formants + harmonics + syllables - 40 * frequency - 12
    noise = torch.empty(batch, time, bins).exponential_(generator=random)
    return (10 ** (decibels / 10) * noise).clamp(1e-8)


def write_speech_like(folder: Path, front_end: FrontEnd, files: int = 40, seconds: float = 8.0) -> Path:
    """Sound files of 16 bits whose spectra are :func:`speech_like`; returns their folder."""
    power = speech_like(files, front_end.frames(int(seconds * front_end.sample_rate)), front_end.bins)
    phase = 2 * math.pi * torch.rand(power.shape, generator=torch.Generator().manual_seed(1))
    waves = front_end.istft(torch.polar(power.sqrt(), phase))
    folder.mkdir(parents=True)
    for index, wave in enumerate(waves / waves.abs().amax(-1, keepdim=True)):
        write_audio(folder / f"{index}.wav", wave, front_end.sample_rate)
    return folder


def recorded(folder: Path, batch: int, time: int) -> Tensor:
    """Power spectra ``(batch, time, 513)`` of the sound files below a folder, one after the other, from the start.

    Raises:
        DataError: there is not enough sound for them.
    """
    front_end, frames, needed = FrontEnd(), [], batch * time
    for name in sound_files(folder):
        signal, rate = read_audio(folder / name)
        prepared = prepare(resample(signal, rate, front_end.sample_rate), front_end)
        frames.append(front_end.power(torch.as_tensor(prepared)))
        if sum(map(len, frames)) >= needed:
            return torch.cat(frames)[:needed].clamp(1e-8).view(batch, time, -1).contiguous()
    raise DataError(f"{folder} holds {sum(map(len, frames))} frames of sound; {batch}x{time} need {needed}")
