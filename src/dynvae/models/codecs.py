"""A model in two stages: codecs that are frozen make features of each modality, and a model is learned on those."""

from __future__ import annotations

__all__ = ["TwoStages"]

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dynvae.distributions import Parts
from dynvae.errors import ConfigError
from dynvae.models.base import Latents
from dynvae.models.modalities import Modalities, MultimodalDVAE
from dynvae.models.vqvae import VQVAE


class TwoStages:
    """A multimodal model on what the encoders of VQ-VAEs make of each modality: with an MDVAE, the VQ-MDVAE.

    Sadok et al. (2024) train, first, a VQ-VAE on single frames of each modality; then, with these frozen, an MDVAE on
    sequences of what their encoders give *before* it is quantised. What that decodes is quantised by the codebooks,
    and decoded by the VQ-VAEs. Its likelihood is a Gaussian of unit variance (``likelihood="fixed_gaussian"``).

    The codecs are no part of the model: its optimizer never sees them. Save and load the three by themselves
    (:func:`dynvae.save`, :func:`dynvae.load`).

    Args:
        model: of the second stage.
        codecs: of the first, by the modalities' names; they are put into evaluation mode, and take no gradient.

    Raises:
        ConfigError: the codecs are not those of the model's modalities, or have other sizes.

    Example:
        >>> from dynvae.models import MDVAE
        >>> codecs = {"audio": VQVAE(x_dim=17, z_dim=4), "video": VQVAE(x_dim=64, z_dim=3, image=(1, 8, 8))}
        >>> both = TwoStages(MDVAE([8, 3], 2, 2, private_dim=2, likelihood="fixed_gaussian"), codecs)
        >>> both.resynthesize(torch.rand(2, 5, 81)).mean.shape
        torch.Size([2, 5, 81])
    """

    def __init__(self, model: MultimodalDVAE, codecs: Mapping[str, VQVAE]) -> None:
        wanted = dict(zip(model.modalities.names, model.modalities.sizes, strict=True))
        given = {name: codec.z_dim for name, codec in codecs.items()}
        if given != wanted:
            raise ConfigError(f"the model takes features of the sizes {wanted}, and the codecs make {given}")
        self.model = model
        self.codecs = {name: codecs[name].eval().requires_grad_(False) for name in wanted}
        self.modalities = Modalities(tuple(wanted), tuple(codec.x_dim for codec in self.codecs.values()))
        """Of what is observed."""

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The features ``(batch, time, model.x_dim)`` of frames; NaN where a modality is."""
        present = self.modalities.present(x)
        features, there = {}, {}
        for index, (name, part) in enumerate(self.modalities.split(x).items()):
            there[name] = present[..., index]
            features[name] = self.codecs[name].encode(part.masked_fill(~there[name].unsqueeze(-1), 0))
        return self.model.modalities.join(features, there)

    def decode(self, features: Tensor) -> Parts:
        """The law of frames, given features: they are quantised, and decoded."""
        laws = []
        for name, part in self.model.modalities.split(features).items():
            codec = self.codecs[name]
            values = codec.quantise(part.to(codec.weight)).values
            laws.append(codec.likelihood(Latents(values), values))
        return Parts(tuple(laws))

    def posterior(self, x: Tensor, lengths: Tensor | None = None, **options: Any) -> Latents:
        """The latents of frames: a sample, or what the options of the model's ``posterior`` say."""
        return self.model.posterior(self.encode(x), lengths, **options).latents

    def likelihood(self, latents: Latents) -> Parts:
        """The law of frames, given latents: that of the mean of their features."""
        nothing = latents.z.new_zeros(*latents.z.shape[:2], self.model.x_dim)
        return self.decode(self.model.likelihood(latents, nothing).mean)

    def resynthesize(self, x: Tensor, lengths: Tensor | None = None, **options: Any) -> Parts:
        """Pass sequences through both stages, with the options of the model's ``resynthesize``."""
        return self.decode(self.model.resynthesize(self.encode(x), lengths, **options).mean)
