"""What was recorded, and where chance comes from: both for several recordings of unequal length at once."""

from __future__ import annotations

__all__ = ["Draws", "Scene"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dynvae.condition import Condition
from dynvae.errors import ConfigError
from dynvae.nn import time_mask

_FLOOR = 1e-10  # of the recording's mean power


@dataclass(frozen=True, eq=False)
class Scene:
    """The noisy power spectrograms of a batch of recordings.

    Attributes:
        power: ``|x|²``, ``(batch, time, bins)``, no less than the floor; what stands in the padding is the floor.
        lengths: valid frames of each recording, ``(batch,)``; None if there is no padding.
        valid: one on valid frames and zero in the padding, ``(batch, time, 1)``; None if there is no padding.
        mean: the mean power of each recording, ``(batch, 1, 1)``.
        floor: the least power and variance of each recording, ``(batch, 1, 1)``: 1e-10 of its mean power.
        condition: what is known beside the sound, such as the speaker's lips; None if nothing is.
    """

    power: Tensor
    lengths: Tensor | None
    valid: Tensor | None
    mean: Tensor
    floor: Tensor
    condition: Condition | None = None

    @classmethod
    def of(cls, power: Tensor, lengths: Tensor | None = None, condition: Condition | None = None) -> Scene:
        """The scene of power spectrograms ``(batch, time, bins)``, of so many valid frames each (all by default).

        Raises:
            ConfigError: the condition is not one of these frames.
        """
        time = power.shape[1]
        if condition is not None and condition.present.shape != power.shape[:2]:
            raise ConfigError(f"the recordings have {tuple(power.shape[:2])} frames (batch, time), their condition "
                              f"{tuple(condition.present.shape)}")  # fmt: skip
        if lengths is not None and bool((lengths == time).all()):
            lengths = None
        if lengths is None:
            valid, mean = None, power.mean((1, 2), keepdim=True)
        else:
            valid = time_mask(lengths, time).unsqueeze(-1).to(power.dtype)
            power = power.where(valid > 0, 0)
            mean = power.sum((1, 2), keepdim=True) / (lengths.view(-1, 1, 1) * power.shape[2])
        floor = (_FLOOR * mean).clamp(min=torch.finfo(power.dtype).tiny)
        if condition is not None:
            condition = condition.like(power)
            if valid is not None:
                condition = condition._replace(present=condition.present & (valid.squeeze(-1) > 0))
        return cls(torch.maximum(power, floor), lengths, valid, mean, floor, condition)

    @property
    def batch(self) -> int:
        return self.power.shape[0]

    @property
    def frames(self) -> Tensor:
        """The number of valid frames of each recording, ``(batch,)``."""
        if self.lengths is None:
            return self.power.new_full((self.batch,), self.power.shape[1])
        return self.lengths.to(self.power)

    def one(self, index: int) -> Scene:
        """One of the recordings, without padding."""
        time, part = self.power.shape[1] if self.lengths is None else int(self.lengths[index]), slice(index, index + 1)
        condition = None
        if self.condition is not None:
            condition = Condition(*(tensor[part] for tensor in self.condition)).frames(0, time)
        return Scene(self.power[part, :time], None, None, self.mean[part], self.floor[part], condition)

    def heard(self, power: Tensor) -> Scene:
        """The same recordings with other powers, ``(batch, time, bins)``, on the old floor."""
        return replace(self, power=torch.maximum(power, self.floor))

    def total(self, frames: Tensor) -> Tensor:
        """The sum over valid frames of ``(batch, ..., time)``: ``(batch, ...)``."""
        if self.valid is None:
            return frames.sum(-1)
        valid = self.valid.squeeze(-1)
        return torch.where(valid.view(self.batch, *[1] * (frames.dim() - 2), -1) > 0, frames, 0).sum(-1)


class Draws:
    """Random numbers for a batch of recordings: each draws from its own generator, as much as its length needs.

    So a recording gets the same numbers in any batch, and on any device.

    Args:
        generators: one for each recording.
        scene: tells the lengths, the type and the place.
    """

    def __init__(self, generators: Sequence[torch.Generator], scene: Scene) -> None:
        self.generators, self.like = list(generators), scene.power
        time = scene.power.shape[1]
        self.times = [time] * scene.batch if scene.lengths is None else [int(t) for t in scene.lengths]

    @classmethod
    def seeded(cls, seed: int, scene: Scene) -> Draws:
        """Every recording's generator starts from this seed."""
        return cls([torch.Generator().manual_seed(seed) for _ in range(scene.batch)], scene)

    def one(self, index: int, scene: Scene) -> Draws:
        """The draws of one recording, from the same generator."""
        return Draws([self.generators[index]], scene)

    def fork(self, number: int) -> Draws:
        """Other numbers, which depend on these generators' seeds and the number, and not on what has been drawn."""
        seeds = [(generator.initial_seed() + 1_000_003 * number) % 2**63 for generator in self.generators]
        other = Draws.__new__(Draws)
        other.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        other.like, other.times = self.like, self.times
        return other

    def normal(self, samples: int, size: int, frames: bool = True) -> Tensor:
        """Standard normal, ``(batch · samples, time, size)``, or without frames ``(batch · samples, size)``."""
        return self._draw(torch.randn, samples, size, frames)

    def uniform(self, samples: int, size: int, frames: bool = True) -> Tensor:
        """Uniform in [0, 1), in the same shapes."""
        return self._draw(torch.rand, samples, size, frames)

    def _draw(self, draw: Callable[..., Tensor], samples: int, size: int, frames: bool) -> Tensor:
        longest, parts = self.like.shape[1], []
        for generator, time in zip(self.generators, self.times, strict=True):
            shape = (samples, time, size) if frames else (samples, size)
            part = draw(shape, generator=generator, dtype=self.like.dtype)
            if frames and time < longest:
                part = torch.nn.functional.pad(part, (0, 0, 0, longest - time))
            parts.append(part)
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(self.like.device)
