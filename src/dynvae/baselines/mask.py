"""The supervised baseline: a network that has heard noisy speech and the same speech clean."""

from __future__ import annotations

__all__ = ["MaskNetwork", "load_mask"]

import math
import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from dynvae.audio import FrontEnd
from dynvae.errors import CheckpointError, ConfigError
from dynvae.models.values import ELBO, Latents
from dynvae.nn import time_mask


class MaskNetwork(nn.Module):
    r"""A mask out of the noisy magnitudes, by a bidirectional LSTM: the design of Open-Unmix (Stöter et al., 2019).

    Magnitudes are shifted and scaled, each bin by its own learned numbers; a dense layer makes them fewer; LSTM layers
    follow, with a way past them; two dense layers and a scale and shift of each bin lead back to a mask ≥ 0, and the
    estimate is mask times noisy magnitude. Batch normalisation follows each dense layer.

    It is trained as a model without latents: the clean magnitude is Gaussian about the estimate with variance ½,

    .. math:: \ln p(|s_t| \,|\, x) = -\sum_f \big( (|s_{tf}| - m_{tf} |x_{tf}|)^2 + \tfrac12 \ln \pi \big),

    so that maximal likelihood is the least mean square error of magnitudes, and the trainer of all models trains it.
    Magnitudes are those of a window of unit energy.

    Args:
        x_dim: bins.
        hidden: units of the dense layers, and of the LSTM in both directions together; even.
        layers: of the LSTM.
        dropout: between the layers of the LSTM.
    """

    title = "Mask network"
    paper = "in the design of Open-Unmix, Stöter et al., 2019"
    autoregressive = False
    input_transform = "raw"
    z_dim = w_dim = condition_dim = 0

    def __init__(self, x_dim: int, hidden: int = 512, layers: int = 3, dropout: float = 0.4) -> None:
        super().__init__()
        if x_dim < 3 or layers < 1 or hidden < 2 or hidden % 2:
            raise ConfigError(f"x_dim ({x_dim}) is at least 3, layers ({layers}) positive, and hidden ({hidden}) even")
        if not 0 <= dropout <= 1:
            raise ConfigError(f"dropout is a probability, not {dropout}")
        self.x_dim = x_dim
        self.config = {"x_dim": x_dim, "hidden": hidden, "layers": layers, "dropout": dropout}
        self.front_end = FrontEnd(window_length=2 * (x_dim - 1), hop_length=(x_dim - 1) // 2)
        self.input_shift = nn.Parameter(torch.zeros(x_dim))
        self.input_scale = nn.Parameter(torch.ones(x_dim))
        self.narrow = nn.Sequential(nn.Linear(x_dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.Tanh())
        self.rnn = nn.LSTM(
            hidden, hidden // 2, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.widen = nn.Sequential(
            nn.Linear(2 * hidden, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, x_dim, bias=False),
            nn.BatchNorm1d(x_dim),
        )
        self.output_scale = nn.Parameter(torch.ones(x_dim))
        self.output_shift = nn.Parameter(torch.ones(x_dim))

    @torch.no_grad()
    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Begin with inputs of mean zero and deviation one, by those of the magnitudes of each bin, ``(bins,)``."""
        self.input_shift.copy_(-mean)
        self.input_scale.copy_(1 / std.clamp(min=1e-4 * float(std.max())))

    def forward(self, magnitude: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The mask of noisy magnitudes, both ``(batch, time, bins)``; what stands in the padding reaches nothing else.

        Args:
            magnitude: ``|x|``, on the scale of `magnitudes`.
            lengths: valid frames, ``(batch,)``; None if there is no padding.
        """
        batch, time, _ = magnitude.shape
        valid = torch.full((batch,), time) if lengths is None else lengths.cpu()
        packed = pack_padded_sequence(magnitude, valid, batch_first=True, enforce_sorted=False)

        def framewise(layer: Any, frames: Tensor) -> PackedSequence:
            return PackedSequence(layer(frames), packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)

        inputs = framewise(self.narrow, (packed.data + self.input_shift) * self.input_scale)
        outputs, _ = self.rnn(inputs)
        wide = self.widen(torch.cat([inputs.data, outputs.data], -1))
        mask = framewise(torch.relu, wide * self.output_scale + self.output_shift)
        return pad_packed_sequence(mask, batch_first=True, total_length=time)[0]

    def after_step(self, x: Tensor, lengths: Tensor | None = None, **unused: Any) -> None:
        """Nothing is learned but from the gradient."""

    def elbo(self, x: Tensor, lengths: Tensor | None = None, **unused: Any) -> ELBO:
        """The log-likelihood of the clean magnitudes; there is no KL, for there are no latents.

        Args:
            x: noisy and clean magnitudes side by side, ``(batch, time, 2 · bins)``.
            lengths: valid frames, ``(batch,)``.
            unused: what models with latents take.
        """
        noisy, clean = x.split(self.x_dim, -1)
        error = (self(noisy, lengths) * noisy - clean).float().square()
        frames = -(error + 0.5 * math.log(math.pi)).sum(-1)
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        else:
            frames = frames.where(time_mask(lengths, x.shape[1]), 0)
        return ELBO(frames, frames.new_zeros(*frames.shape, 1), None, lengths)

    def draw_noise(self, batch: int, time: int, generator: torch.Generator | None = None) -> Latents:
        """Nothing: there are no latents."""
        return Latents(torch.zeros(batch, time, 0))

    def gain(self, power: Tensor, generator: torch.Generator) -> Tensor:
        """See :class:`~dynvae.baselines.enhancer.Gain`."""
        mask: Tensor = self(magnitudes(power, self.front_end))
        return mask


def magnitudes(power: Tensor, front_end: FrontEnd) -> Tensor:
    """|x| out of |x|², for a window of unit energy: white noise of variance one has a mean square of one."""
    return (power / front_end.window(power).square().sum()).sqrt()


def load_mask(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> MaskNetwork:
    """A mask network, in evaluation mode, from its folder or the folder of its run.

    Raises:
        CheckpointError: there is none, or it is damaged, foreign or too new.
    """
    from dynvae.pretrained.names import locate
    from dynvae.pretrained.storage import read

    network: Any = read(locate(path), device, kinds={"mask": MaskNetwork})
    if network.front_end.bins != network.x_dim:
        raise CheckpointError(f"{path}: the mask network has no front end of {network.x_dim} bins; train it anew")
    mask: MaskNetwork = network
    return mask
