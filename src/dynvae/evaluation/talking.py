"""Clips of sound and lips through a multimodal model: analysed, changed, and made to be heard and seen again."""

from __future__ import annotations

__all__ = ["Clip", "analyse", "decode", "hidden", "interpolated", "read_clip", "sound_of", "talking_view"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import AUDIO_SUFFIXES, griffin_lim, read_audio
from dynvae.data.lips import read_lips_of
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation.analysis import evaluating
from dynvae.models import DVAE, MDVAE, Latents
from dynvae.video import VIDEO_SUFFIXES, read_soundtrack
from dynvae.video.lips import LIP_SUFFIXES
from dynvae.video.talking import TalkingView


@dataclass(frozen=True, eq=False)
class Clip:
    """A recording as a model sees it.

    Attributes:
        name: of its file.
        frames: ``(time, bins + side²)``, NaN where a modality is missing.
        sound: the waveform at the view's rate; None where there is none.
    """

    name: str
    frames: Tensor
    sound: Tensor | None

    def cut(self, time: int) -> Clip:
        """The first frames of it."""
        return Clip(self.name, self.frames[:time], self.sound)


def talking_view(model: DVAE) -> TalkingView:
    """The front end of a model of sound and lips.

    Raises:
        ConfigError: it is no such model.
    """
    if not isinstance(model, MDVAE) or not isinstance(model.front_end, TalkingView):
        raise ConfigError(f"this takes an MDVAE of sound and lips, and not this {type(model).__name__}; train one "
                          "with: dynvae train mdvae --data CORPUS --out RUN")  # fmt: skip
    return model.front_end


def read_clip(text: str, view: TalkingView) -> Clip:
    """Read ``video.mpg``, ``sound.wav``, ``lips.npz`` (or a mosaic), or ``sound.wav,lips.npz`` as one clip.

    Raises:
        DataError: a file is missing, or cannot be read as one of these.
    """
    paths = [Path(part) for part in text.split(",")]
    sound, lips = None, None
    for path in paths:
        suffix = path.suffix.lower()
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        if suffix in VIDEO_SUFFIXES:
            sound, _ = read_soundtrack(path, view.sample_rate)
            lips = read_lips_of(path)
        elif suffix in LIP_SUFFIXES:
            lips = read_lips_of(path)
        elif suffix in AUDIO_SUFFIXES:
            sound, _ = read_audio(path, view.sample_rate)
        else:
            raise DataError(f"{path}: neither sound ({', '.join(sorted(AUDIO_SUFFIXES))}) nor lips nor video")
    waveform = None if sound is None else torch.from_numpy(np.ascontiguousarray(sound))
    if waveform is not None:
        waveform = waveform / waveform.abs().max().clamp(min=1e-6)
    return Clip(paths[0].stem, view.frames(waveform, lips), waveform)


@torch.no_grad()
def analyse(
    model: MDVAE, frames: Tensor, latents: Literal["mean", "sample"] = "mean", generator: torch.Generator | None = None
) -> Latents:
    """The latents of frames ``(time, feature)``: the posterior's mean along its recursion, or a sample."""
    with evaluating(model):
        x = model.encode(frames.unsqueeze(0).to(model.weight))
        return model.posterior(x, noise=model.noise_of(x, latents, generator)).latents


@torch.no_grad()
def decode(model: MDVAE, latents: Latents) -> Tensor:
    """What frames these latents make, ``(time, feature)``: the likelihood's mean, and in two stages its codes'."""
    with evaluating(model):
        nothing = latents.z.new_zeros(*latents.z.shape[:2], model.x_dim)
        return model.decode(model.likelihood(latents, nothing).mean)[0].float().cpu()


def hidden(model: MDVAE, frames: Tensor, what: Sequence[str], rate: float) -> Tensor:
    """The frames without some modalities: ``"video"``, or ``"video:0.5-1.2"`` for those seconds of it.

    Raises:
        ConfigError: there is no such modality, or the seconds cannot be read.
    """
    for text in what:
        name, _, span = text.partition(":")
        where = torch.ones(len(frames), dtype=torch.bool)
        if span:
            try:
                start, stop = (float(part) for part in span.split("-"))
            except ValueError:
                raise ConfigError(f"'{text}': write e.g. video:0.5-1.2, in seconds") from None
            moments = torch.arange(len(frames)) / rate
            where = (moments >= start) & (moments < stop)
        frames = model.observed.hidden(frames, name, where)
    return frames


def interpolated(model: MDVAE, one: Latents, other: Latents, names: Sequence[str], weight: float) -> Latents:
    """The first latents, some of them on the line to the other's: (1 - weight) · one + weight · other."""
    target = model.swapped(one, other, names)
    assert one.w is not None
    assert target.w is not None
    return Latents(torch.lerp(one.z, target.z, weight), torch.lerp(one.w, target.w, weight))


def sound_of(
    view: TalkingView, frames: Tensor, phase_of: Tensor | None = None, *, seed: int = 0
) -> NDArray[np.float32]:
    """The sound of frames ``(time, bins + side²)``, at a peak of 0.9: with the phase of a waveform, or a made one.

    Args:
        view: the front end.
        frames: whose sound to make; all of it must be there.
        phase_of: a waveform with as many frames, or more; none for Griffin-Lim.
        seed: of the phase that Griffin-Lim starts from.
    """
    power, front_end = view.power(frames).float(), view.audio
    if phase_of is None:
        sound = griffin_lim(power, front_end, generator=torch.Generator().manual_seed(seed))
    else:
        angle = front_end.stft(phase_of).angle()[: len(power)]
        sound = front_end.istft(torch.polar(power.sqrt(), angle))
    return (0.9 * sound / sound.abs().max().clamp(min=1e-6)).numpy()
