"""Several modalities in the one contract: what a frame of sound and lips is, and what it is if one of them is missing.

A frame of a multimodal sequence is one vector, as everywhere: the modalities' features side by side, each with its own
likelihood and its own input transform. A modality that a frame lacks is NaN in all its features. That is a value of x
like any other, so that bounds, sampling, batches, training and files need not know the word: the networks see a
constant in its place, and the likelihood is that of the modalities that are there, the others being summed out. A
single NaN among numbers is an error as everywhere, and makes the bound NaN.
"""

from __future__ import annotations

__all__ = ["Modalities", "MultimodalDVAE"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn

from dynvae.distributions import (
    LIKELIHOODS,
    POWER_FLOOR,
    FixedGaussianLikelihood,
    JointLikelihood,
    Likelihood,
    PartsLikelihood,
)
from dynvae.errors import ConfigError
from dynvae.models.base import DVAE, InputTransform
from dynvae.models.vqvae import VQVAE
from dynvae.nn import time_mask


@dataclass(frozen=True)
class Modalities:
    """The names and sizes of the modalities of a frame, in their order.

    Example:
        >>> both = Modalities(("audio", "video"), (3, 2))
        >>> x = both.join({"audio": torch.ones(1, 4, 3)})
        >>> both.present(x)[0, 0].tolist()
        [True, False]
        >>> both.hidden(x, "audio").isnan().all()
        tensor(True)
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what is no set of modalities."""
        if not self.names or len(set(self.names)) != len(self.names) or len(self.names) != len(self.sizes):
            raise ConfigError(f"each modality has its own name and size: {list(self.names)}, {list(self.sizes)}")
        if any(size < 1 for size in self.sizes):
            raise ConfigError(f"the sizes of modalities are positive, not {list(self.sizes)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Of a frame."""
        return sum(self.sizes)

    @property
    def spans(self) -> dict[str, slice]:
        """Where each modality is in a frame."""
        ends = list(accumulate(self.sizes))
        return {n: slice(end - size, end) for n, size, end in zip(self.names, self.sizes, ends, strict=True)}

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """The modalities of frames ``(..., size)``, by name."""
        return dict(zip(self.names, x.split(list(self.sizes), -1), strict=True))

    def join(self, parts: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Tensor:
        """Frames of these modalities ``(..., size of it)``; NaN where one is not given, or not present.

        Args:
            parts: features by name; at least one.
            present: by name, Booleans ``(...)``: which frames have it; all, by default.

        Raises:
            ConfigError: there is no such modality, or none is given.
        """
        unknown = [*(set(parts) - set(self.names)), *(set(present or {}) - set(self.names))]
        if unknown or not parts:
            raise ConfigError(f"the modalities are {', '.join(self.names)}; not {', '.join(unknown) or 'none'}")
        like = next(iter(parts.values()))
        blocks = []
        for name, size in zip(self.names, self.sizes, strict=True):
            block = parts.get(name)
            block = like.new_full((*like.shape[:-1], size), torch.nan) if block is None else block
            if block.shape[-1] != size:
                raise ConfigError(f"a frame of {name} has {size} features, not {block.shape[-1]}")
            there = (present or {}).get(name)
            blocks.append(block if there is None else block.where(there.unsqueeze(-1), torch.nan))
        return torch.cat(blocks, -1)

    def present(self, x: Tensor) -> Tensor:
        """Which modalities frames ``(..., size)`` have: Booleans ``(..., modalities)``."""
        return torch.stack([~part.isnan().all(-1) for part in self.split(x).values()], -1)

    def hidden(self, x: Tensor, name: str, where: Tensor | None = None) -> Tensor:
        """The frames without a modality, or without it where Booleans ``(...)`` say so.

        Raises:
            ConfigError: there is no such modality.
        """
        parts = self.split(x)
        if name not in parts:
            raise ConfigError(f"the modalities are {', '.join(self.names)}; not {name}")
        there = torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device) if where is None else ~where
        return self.join(parts, {name: there})


class MultimodalDVAE(DVAE):
    """A member of the family whose frames have several modalities (see :mod:`dynvae.models.modalities`).

    Args:
        x_dim: the sizes of the modalities; one number is one modality.
        z_dim: size of a latent frame.
        names: of the modalities; ``audio`` and ``video`` if there are two, else ``m1``, ``m2`` and so on.
        likelihood: of all, or of each.
        observation_std: of all, or of each (see :class:`~dynvae.models.base.DVAE`).
        input_transform: of all, or of each.
        hide: probability that training hides a modality of a sequence from the encoder, of those that it has, all but
            one; the decoder has to explain it nevertheless. So is learned to do without.
        codecs: of a model in two stages, by modality: the arguments of the :class:`~dynvae.models.vqvae.VQVAE` whose
            encoder makes x of what is observed (:meth:`encode`). With an MDVAE, that is the VQ-MDVAE of Sadok et al.
            (2024). They are part of the model and its files, and frozen; `adopt` gives them trained weights.
        kwargs: see :class:`~dynvae.models.base.DVAE`.

    Raises:
        ConfigError: there is not one value for each modality, or one is unknown; codecs make features of other sizes.
    """

    modalities: Modalities
    """Of x."""
    observed: Modalities
    """Of what is observed: the same, or what the codecs take."""
    decoders: nn.ModuleDict
    """That of each modality."""

    def __init__(
        self,
        x_dim: Sequence[int] | int,
        z_dim: int,
        *,
        names: Sequence[str] = (),
        likelihood: Sequence[str] | str = "complex_gaussian",
        observation_std: Sequence[float] | float = 1.0,
        input_transform: Sequence[str] | str = "raw",
        hide: float = 0.0,
        codecs: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        sizes = (x_dim,) if isinstance(x_dim, int) else tuple(x_dim)
        super().__init__(sum(sizes), z_dim, likelihood="fixed_gaussian", **kwargs)
        if self.degrees is not None or self.dictionary is not None:
            raise ConfigError(f"the latents of a {type(self).__name__} have no other structure")
        if not 0 <= hide < 1:
            raise ConfigError(f"hide is a probability below one, not {hide}")
        usual = ("audio", "video") if len(sizes) == 2 else tuple(f"m{i + 1}" for i in range(len(sizes)))
        self.modalities = self.observed = Modalities(tuple(names) or usual, sizes)
        self.codecs = nn.ModuleDict()
        if codecs:
            self._compose({name: VQVAE(**options) for name, options in codecs.items()})
        self.hide = hide
        kinds = _each(likelihood, self.modalities, "likelihood", LIKELIHOODS)
        stds = _each(observation_std, self.modalities, "observation_std")
        self.transforms = _each(input_transform, self.modalities, "input_transform", get_args(InputTransform))
        self.observation = PartsLikelihood(
            tuple(_likelihood(kind, std, size) for kind, std, size in zip(kinds, stds, sizes, strict=True)), sizes
        )
        if "standardise" in self.transforms:
            self.input_transform = "standardise"
            self.register_buffer("input_mean", torch.zeros(self.x_dim))
            self.register_buffer("input_std", torch.ones(self.x_dim))

    # ---- two stages ----------------------------------------------------------------------------------------------

    def _compose(self, codecs: Mapping[str, VQVAE]) -> None:
        """Take the codecs in, in the order of the modalities."""
        wanted = dict(zip(self.modalities.names, self.modalities.sizes, strict=True))
        made = {name: codec.z_dim for name, codec in codecs.items()}
        if made != wanted:
            raise ConfigError(f"x has features of the sizes {wanted}, and the codecs make {made}")
        self.codecs.update({name: codecs[name] for name in wanted})
        self.codecs.eval().requires_grad_(False)
        self.observed = Modalities(tuple(wanted), tuple(codecs[name].x_dim for name in wanted))

    def adopt(self, codecs: Mapping[str, VQVAE]) -> None:
        """Give the codecs the weights of trained ones.

        Raises:
            ConfigError: they are not those that the model was made with.
        """
        if {name: codec.config for name, codec in codecs.items()} != dict(self.config.get("codecs") or {}):
            raise ConfigError("these are not the codecs that the model was made with")
        for name, codec in codecs.items():
            self.codecs[name].load_state_dict(codec.state_dict())

    def train(self, mode: bool = True) -> Self:
        """As of any module; the codecs stay as they are."""
        super().train(mode)
        self.codecs.eval()
        return self

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """What x is of something observed, ``(batch, time, ...)``: the same, or what the codecs' encoders make of it.

        The latter is not quantised yet. A modality that is NaN stays so.
        """
        if not self.codecs:
            return observed
        present, features, there = self.observed.present(observed), {}, {}
        for index, (name, part) in enumerate(self.observed.split(observed).items()):
            there[name] = present[..., index]
            features[name] = self.codecs[name].encode(part.masked_fill(~there[name].unsqueeze(-1), 0))  # type: ignore[operator]
        return self.modalities.join(features, there)

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        """What is observed, given x: the same, or what the codecs make of it, quantised: their likelihoods' means."""
        if not self.codecs:
            return x
        parts = []
        for name, part in self.modalities.split(x).items():
            codec = self.codecs[name]
            assert isinstance(codec, VQVAE)
            values = codec.quantise(part.to(codec.weight)).values
            parts.append(codec.frame_likelihood(values).mean)
        return torch.cat(parts, -1)

    # ---- frames --------------------------------------------------------------------------------------------------

    def features(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the networks see of frames ``(..., x_dim)``: zero where a modality is missing."""
        x = x.to(self.weight.dtype)
        if lengths is not None:
            x = x.where(time_mask(lengths, x.shape[1]).unsqueeze(-1), 0)
        parts = []
        for (name, part), transform in zip(self.modalities.split(x).items(), self.transforms, strict=True):
            there = ~part.isnan().all(-1, keepdim=True)
            part = part.where(there, 0)
            if transform == "log":
                part = (part + POWER_FLOOR).log() / 10
            elif transform == "root":
                part = (part + POWER_FLOOR).sqrt()
            elif transform == "standardise":
                span = self.modalities.spans[name]
                part = (part - self.input_mean[span]) / self.input_std[span]
            parts.append(part.where(there, 0))
        return torch.cat(parts, -1)

    @property
    def outputs(self) -> list[int]:
        """How many numbers the decoder gives for each modality."""
        assert isinstance(self.observation, PartsLikelihood)
        return self.observation.widths

    @torch.no_grad()
    def begin_at(self, mean: Tensor, std: Tensor) -> None:
        """Let the last bias of each decoder give the law that fits frames of this mean and deviation."""
        packed = self.observation.packed(mean.to(self.weight), std.to(self.weight))
        for decoder, part in zip(self.decoders.values(), packed.split(self.outputs), strict=True):
            last = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)][-1]
            last.bias.copy_(part)

    def seen(self, x: Tensor) -> Tensor:
        """Which modalities of frames ``(batch, time, x_dim)`` the encoder sees; in training, some are hidden."""
        present = self.modalities.present(x)
        if not (self.training and self.hide and len(self.modalities) > 1):
            return present
        shape, place = (len(x), 1, len(self.modalities)), x.device
        hidden = torch.rand(shape, device=place) < self.hide
        spared = torch.rand(shape, device=place).argmax(-1, keepdim=True)  # one modality stays in any case
        hidden = hidden.scatter(-1, spared, False)
        left = present & ~hidden
        return left.where(left.any(-1, keepdim=True), present)


def _each(value: Any, modalities: Modalities, what: str, known: Any = None) -> tuple[Any, ...]:
    values = (value,) * len(modalities) if isinstance(value, (str, int, float)) else tuple(value)
    if len(values) != len(modalities):
        raise ConfigError(f"{what} is one for all or one for each of {', '.join(modalities.names)}, not {values}")
    for one in values if known is not None else ():
        if one not in known:
            raise ConfigError(f"there is no {what} '{one}'; there are {', '.join(known)}")
    return values


def _likelihood(name: str, std: float, size: int) -> Likelihood:
    kind = LIKELIHOODS[name]
    if std <= 0:
        raise ConfigError(f"observation_std must be positive, not {std}")
    if size % kind.group:
        raise ConfigError(f"the likelihood '{name}' takes {kind.group} features together; {size} is no multiple")
    return kind(std) if issubclass(kind, (FixedGaussianLikelihood, JointLikelihood)) else kind()
