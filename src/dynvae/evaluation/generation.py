"""New sound out of a model: ancestral sampling, and a phase for what it draws."""

from __future__ import annotations

__all__ = ["PEAK", "Clip", "Drawing", "draw_clips", "generate"]

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dynvae.audio import FrontEnd, griffin_lim
from dynvae.errors import ConfigError
from dynvae.evaluation.analysis import evaluating, speech_front_end
from dynvae.models import DVAE
from dynvae.work import item_seed

PEAK = 0.9
"""The largest magnitude of generated sound (full scale is 1): -0.9 dB, with room for players that resample."""

_SECONDS_AT_ONCE = 102.4  # 64 clips of 1.6 s, where more would make a step hardly faster
_AT_MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Drawing:
    """How sound is drawn: all that decides it besides the model and the number of a clip.

    Args:
        seconds: length of a clip.
        seed: of everything that is drawn.
        feedback: what a frame is, for the result and for the frames after it: the expected power (``"mean"``), or a
            draw from its law (``"sample"``), which is rougher.
        iterations: of Griffin-Lim.
        batch: clips that are drawn together. Their noise is one stream, so with another number the clips are others. By
            default 64, or fewer where clips are longer than 1.6 s.

    Raises:
        ConfigError: a number is not positive, or the feedback is unknown.
    """

    seconds: float
    seed: int = 0
    feedback: Literal["mean", "sample"] = "mean"
    iterations: int = 60
    batch: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.iterations < 0 or (self.batch is not None and self.batch < 1):
            raise ConfigError(
                f"seconds ({self.seconds}), iterations ({self.iterations}) and batch ({self.batch}) must be positive"
            )
        if self.feedback not in ("mean", "sample"):
            raise ConfigError(f"feedback is mean or sample, not {self.feedback!r}")

    @property
    def together(self) -> int:
        """The number of clips that are drawn together."""
        return self.batch or max(1, min(_AT_MOST_AT_ONCE, round(_SECONDS_AT_ONCE / self.seconds)))

    def samples(self, front_end: FrontEnd) -> int:
        """Length of a clip.

        Raises:
            ConfigError: there would be none.
        """
        samples = round(self.seconds * front_end.sample_rate)
        if samples < 1:
            raise ConfigError(f"seconds ({self.seconds}) must be positive")
        return samples


class Clip(NamedTuple):
    """One drawn sequence.

    Attributes:
        number: from 0 on.
        waveform: ``(samples,)``, with a peak of :data:`PEAK`.
        power: what the model drew, ``(time, bins)``.
    """

    number: int
    waveform: Tensor
    power: Tensor


def draw_clips(model: DVAE, numbers: Iterable[int], drawing: Drawing) -> Iterator[Clip]:
    """Draw the clips of these numbers, one after the other.

    A clip is decided by model, drawing and number: not by how many others are asked for, nor by what was drawn
    before. For that, a batch is drawn whole, whichever of its clips are wanted. The phase, which costs more than most
    models, is found for those alone, clip by clip: on a CPU that is as fast as many at a time.

    Args:
        model: with a front end; its mode is left as it was.
        numbers: from 0 on.
        drawing: how.

    Raises:
        ConfigError: the model has no front end that fits.
        AudioError: the model has drawn a power that is not finite.
    """
    front_end = speech_front_end(model)
    samples = drawing.samples(front_end)
    for index, wanted in itertools.groupby(sorted(set(numbers)), lambda number: number // drawing.together):
        with evaluating(model):
            power = model.sample(
                drawing.together,
                front_end.frames(samples),
                generator=_generator(model, drawing.seed, "batch", index),
                feedback=drawing.feedback,
            ).x.clamp(min=0)
        for number in wanted:
            own = power[number % drawing.together]
            generator = _generator(model, drawing.seed, "phase", number)
            waveform = griffin_lim(own, front_end, samples, drawing.iterations, generator=generator)
            peak = waveform.abs().max()
            yield Clip(number, (waveform * (PEAK / peak if peak > 0 else 0)).cpu(), own.cpu())


def generate(
    model: DVAE,
    n: int,
    seconds: float,
    *,
    seed: int = 0,
    feedback: Literal["mean", "sample"] = "mean",
    iterations: int = 60,
    batch: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw sound from a model: its power spectrograms by ancestral sampling, the phase by Griffin-Lim.

    Args:
        model: with a front end.
        n: number of sequences; with more of them, the first stay what they are.
        seconds: length of each.
        seed: of everything that is drawn.
        feedback: see :class:`Drawing`.
        iterations: of Griffin-Lim.
        batch: see :class:`Drawing`.

    Returns:
        Waveforms ``(n, samples)`` that peak at :data:`PEAK`, and the power spectrograms ``(n, time, bins)``.

    Raises:
        ConfigError: a number is not positive, or the model has no front end that fits.
        AudioError: the model has drawn a power that is not finite.
    """
    if n < 1:
        raise ConfigError(f"the number of clips ({n}) must be positive")
    clips = list(draw_clips(model, range(n), Drawing(seconds, seed, feedback, iterations, batch)))
    return torch.stack([clip.waveform for clip in clips]), torch.stack([clip.power for clip in clips])


def _generator(model: DVAE, seed: int, what: str, number: int) -> torch.Generator:
    """The source of one batch's or one phase's randomness."""
    generator = torch.Generator(device=next(model.parameters()).device)
    return generator.manual_seed(item_seed(seed, f"{what}\0{number}"))
