"""What a frame of sound and lips is: the power of the sound's transform, and the picture that is shown meanwhile."""

from __future__ import annotations

__all__ = ["TalkingView"]

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynvae.audio import FrontEnd
from dynvae.errors import ConfigError
from dynvae.video.alignment import Alignment
from dynvae.video.lips import DEVIATION, LIP_SIDE, MEAN, Lips


@dataclass(frozen=True)
class TalkingView:
    """The front end of a model of sound and lips, whose frames are those of the video.

    The transform's hop is the time for which a picture is shown, and its window is twice as long, with which 50 % of
    overlap gives the sound back. A frame holds its power spectrum, then the pixels, row by row, as
    `dynvae.video.Lips.features` scales them. What is missing is NaN (:mod:`dynvae.models.modalities`).

    Args:
        rate: pictures a second.
        side: pictures have so many pixels in a row and in a column.
        sample_rate: of the sound, in hertz.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> view = TalkingView()
        >>> view.sizes, view.audio.hop_length
        ((641, 1024), 640)
    """

    rate: float = 25.0
    side: int = 32
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        """Refuse what is no view."""
        numbers = (self.rate, self.side, self.sample_rate)
        if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in numbers):
            raise ConfigError(f"rate, side and sample rate are numbers, not {numbers}")
        if not (1 <= self.rate <= 1000 and 1 <= self.side <= LIP_SIDE and self.sample_rate >= 1000):
            raise ConfigError(f"there are 1 to 1000 pictures a second, of 1 to {LIP_SIDE} pixels a side, and at least "
                              f"1000 samples; not {self.rate}, {self.side}, {self.sample_rate}")  # fmt: skip

    @property
    def audio(self) -> FrontEnd:
        """The transform."""
        hop = round(self.sample_rate / self.rate)
        return FrontEnd(self.sample_rate, 2 * hop, hop, trim_db=None)

    @property
    def sizes(self) -> tuple[int, int]:
        """Features of sound and of picture."""
        return self.audio.bins, self.side**2

    def frames(self, waveform: Tensor | None, lips: Lips | None) -> Tensor:
        """The frames of a recording, ``(time, bins + side²)``, of which one of the two may be missing.

        The sound is scaled to a largest magnitude of 1. Time is that of the shorter of the two, where both are there.

        Args:
            waveform: ``(samples,)`` at ``sample_rate``.
            lips: pictures of 67 × 67, on the clock of the sound.

        Raises:
            ConfigError: there is nothing.
        """
        if waveform is None and lips is None:
            raise ConfigError("there is neither sound nor picture")
        parts = {}
        if waveform is not None:
            peak = waveform.abs().max().clamp(min=1e-6) if len(waveform) else 1.0
            parts["audio"] = self.audio.power(waveform / peak).float()
        if lips is not None:
            small = lips.shrunk(self.side**2)
            time = max(1, round((lips.times[-1] + lips.period) * self.rate))
            time = min(time, len(parts["audio"])) if parts else time
            seen = Alignment.of(small, time, self.audio)
            features = torch.from_numpy(seen.features(small))
            parts["video"] = features.where(torch.from_numpy(seen.present)[:, None], torch.nan)
        time = min(map(len, parts.values()))
        sizes = dict(zip(("audio", "video"), self.sizes, strict=True))
        blocks = [parts.get(name, torch.full((time, size), torch.nan))[:time] for name, size in sizes.items()]
        return torch.cat(blocks, -1)

    def power(self, frames: Tensor) -> Tensor:
        """The sound's part of frames ``(..., bins + side²)``."""
        return frames[..., : self.sizes[0]]

    def pictures(self, frames: Tensor) -> NDArray[np.uint8]:
        """The pictures of frames ``(time, bins + side²)``, ``(time, side, side)``; black where there is none."""
        pixels = frames[..., self.sizes[0] :].double() * DEVIATION + MEAN
        grey = (255 * pixels.nan_to_num(0)).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return np.asarray(grey.reshape(-1, self.side, self.side))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a JSON or YAML file."""
        return {"kind": "talking", **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TalkingView:
        """The view of a saved dictionary.

        Raises:
            ConfigError: a key is unknown, or a value is out of range.
        """
        values = {key: value for key, value in settings.items() if key != "kind"}
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(f"front end: unknown setting {unknown[0]!r} of sound and lips")
        return cls(**values)
