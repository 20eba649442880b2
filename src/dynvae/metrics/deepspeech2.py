"""DeepSpeech2 as FDSD uses it; its weights are the user's."""

from __future__ import annotations

__all__ = ["DeepSpeech2"]

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dynvae.errors import CheckpointError
from dynvae.files import sha256_file

_ROOT = "ForwardPass/ds2_encoder"
_CELL = "cudnn_gru/stack_bidirectional_rnn/cell_{layer}/bidirectional_rnn/{way}/cudnn_compatible_gru_cell"


class Sizes(NamedTuple):
    """Of the network; the defaults are those of the published weights, and FDSD is computed with no others."""

    channels: int = 32
    units: int = 800
    layers: int = 5
    hidden: int = 1600


class DeepSpeech2(nn.Module):
    """The encoder of DeepSpeech2 (Amodei et al., 2016) in the layout of OpenSeq2Seq's ``ds2_large``.

    Its time-averaged activations before the last layer are the features of the Fréchet and kernel DeepSpeech distances
    (Bińkowski et al., 2020). Sound at 16 kHz, with a peak of 1; log power in Hann windows of 20 ms every 10 ms, the
    first 160 bins (to 7,950 Hz), zeros at the end up to a multiple of 8 frames, brought to mean 0 and deviation 1
    over the clip; two convolutions over time and frequency (11 × 41 with strides 2 × 2, 11 × 21 with strides 1 × 2,
    32 channels, batch normalisation, ReLU); five bidirectional GRUs of 800 units; a dense layer of 1,600 with ReLU;
    the mean over time. All is computed in float32, where the original has float16 in places.

    The weights are not part of dynvae: :meth:`load` takes them from a file. Made without, the network is random, of no
    use but for tests, and its distances do not bear the names FDSD and KDSD.

    Args:
        sizes: of the network.
    """

    window: Tensor
    sample_rate = 16000
    _WINDOW, _HOP, _BINS, _MULTIPLE = 320, 160, 160, 8

    def __init__(self, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes or Sizes()
        channels, units, layers, hidden = self.sizes
        self.digest: str | None = None
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(1, channels, (11, 41), (2, 2), bias=False),
             nn.Conv2d(channels, channels, (11, 21), (1, 2), bias=False)]
        )  # fmt: skip
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, eps=1e-3) for _ in range(2))
        self.rnn = nn.GRU(channels * self._BINS // 4, units, layers, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(2 * units, hidden)
        self.register_buffer("window", torch.hann_window(self._WINDOW, periodic=False, dtype=torch.float64))
        self.requires_grad_(False).eval()

    @property
    def name(self) -> str:
        """With the beginning of the SHA-256 of the weights' file, for there is more than one checkpoint."""
        return f"DeepSpeech2 ({'random weights' if self.digest is None else self.digest[:12]})"

    @property
    def distance_names(self) -> tuple[str, str]:
        """FDSD and KDSD, for loaded weights of the published sizes alone."""
        if self.digest is not None and self.sizes == Sizes():
            return "FDSD", "KDSD"
        return "Fréchet distance", "kernel distance"

    @classmethod
    def load(cls, path: str | os.PathLike[str], sizes: Sizes | None = None) -> DeepSpeech2:
        """The network with weights from a file.

        The file holds the tensors of OpenSeq2Seq's checkpoint under their own names, ``ForwardPass/ds2_encoder/...``.
        Where TensorFlow is installed, this writes it::

            reader = tf.train.load_checkpoint("ds2_large/model.ckpt-54800")
            names = [name for name in reader.get_variable_to_shape_map() if name.startswith("ForwardPass/ds2_encoder")]
            safetensors.numpy.save_file({name: reader.get_tensor(name) for name in names}, "ds2.safetensors")

        Args:
            path: ``.safetensors``, or a dictionary of tensors written by torch; nothing in it is executed.
            sizes: of the network.

        Raises:
            CheckpointError: the file cannot be read, or does not hold these weights.
        """
        network = cls(sizes)
        network._take(_Tensors(Path(path)))
        network.digest = sha256_file(path)
        return network

    def forward(self, waves: Tensor) -> Tensor:
        """From ``(n, samples)`` at 16 kHz to ``(n, hidden)``."""
        with torch.no_grad():
            return self.activations(self.spectrogram(waves)).mean(1)

    def spectrogram(self, waves: Tensor) -> Tensor:
        """What the network sees: ``(n, samples)`` to ``(n, frames, 160)``."""
        waves = waves.to(self.window)
        waves = waves / (waves.abs().amax(-1, keepdim=True) + 1e-5)
        frames = 1 + max(0, -(-(waves.shape[-1] - self._WINDOW) // self._HOP))
        frames += -frames % self._MULTIPLE
        waves = functional.pad(waves, (0, (frames - 1) * self._HOP + self._WINDOW - waves.shape[-1]))
        spectrum = torch.fft.rfft(waves.unfold(-1, self._WINDOW, self._HOP) * self.window)[..., : self._BINS]
        power = (spectrum.real.square() + spectrum.imag.square()) / self._WINDOW
        level = power.clamp(min=1e-30).log10()
        level = level - level.mean((1, 2), keepdim=True)
        deviation = level.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-6)  # of silence it is 0
        return (level / deviation).to(self.dense.weight.dtype)

    def activations(self, x: Tensor) -> Tensor:
        """The last hidden layer, ``(n, frames, 160)`` to ``(n, frames / 2, hidden)``."""
        x = x.unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            assert isinstance(convolution, nn.Conv2d)
            x = norm(convolution(_same(x, convolution))).relu()
        x = x.permute(0, 2, 3, 1).flatten(2)  # frequency first, then channel, as the weights expect
        return self.dense(self.rnn(x)[0]).relu()

    def _take(self, tensors: _Tensors) -> None:
        """Bring TensorFlow's tensors into torch's places."""
        channels, units, layers, hidden = self.sizes
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1):
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            out, inner, *kernel = convolution.weight.shape
            weight = tensors.get(f"conv{index}/kernel", *kernel, inner, out)
            convolution.weight.copy_(weight.permute(3, 2, 0, 1))
            for name, place in (
                ("gamma", norm.weight), ("beta", norm.bias),
                ("moving_mean", norm.running_mean), ("moving_variance", norm.running_var),
            ):  # fmt: skip
                assert place is not None
                place.copy_(tensors.get(f"conv{index}/bn/{name}", channels))
        for layer in range(layers):
            inputs = self.rnn.input_size if layer == 0 else 2 * units
            for way, suffix in (("fw", ""), ("bw", "_reverse")):
                cell = _CELL.format(layer=layer, way=way)
                # The gates stand in torch's order, reset and update; the candidate has a bias on either side.
                gates = tensors.get(f"{cell}/gates/kernel", inputs + units, 2 * units)
                into = tensors.get(f"{cell}/candidate/input_projection/kernel", inputs, units)
                onto = tensors.get(f"{cell}/candidate/hidden_projection/kernel", units, units)
                biases = [
                    tensors.get(f"{cell}/{name}/bias", size)
                    for name, size in (("gates", 2 * units), ("candidate/input_projection", units),
                                       ("candidate/hidden_projection", units))
                ]  # fmt: skip
                end = f"l{layer}{suffix}"
                getattr(self.rnn, f"weight_ih_{end}").copy_(torch.cat([gates[:inputs], into], 1).T)
                getattr(self.rnn, f"weight_hh_{end}").copy_(torch.cat([gates[inputs:], onto], 1).T)
                getattr(self.rnn, f"bias_ih_{end}").copy_(torch.cat(biases[:2]))
                getattr(self.rnn, f"bias_hh_{end}").copy_(torch.cat([torch.zeros(2 * units), biases[2]]))
        self.dense.weight.copy_(tensors.get("fully_connected/kernel", 2 * units, hidden).T)
        self.dense.bias.copy_(tensors.get("fully_connected/bias", hidden))


class _Tensors:
    """The tensors of a weights' file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors = _read(path)

    def get(self, name: str, *shape: int) -> Tensor:
        """One of them, in float32.

        Raises:
            CheckpointError: it is missing, or of another shape.
        """
        tensor = self.tensors.get(f"{_ROOT}/{name}")
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            found = f"is {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else "is missing"
            raise CheckpointError(f"{self.path} does not hold the DeepSpeech2 of FDSD: {_ROOT}/{name} {found}, "
                                  f"where {shape} is expected")  # fmt: skip
        return tensor.float()


def _read(path: Path) -> Mapping[str, object]:
    from safetensors.torch import load_file

    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except Exception as error:  # each of the two readers has many ways to fail
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"{path} cannot be read as weights: {reason}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__} instead of tensors by name")
    return content


def _same(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """TensorFlow's padding "same": so many zeros that there is an output for each stride, the odd one at the end."""
    sides: list[int] = []
    sizes = zip(x.shape[2:], convolution.kernel_size, convolution.stride, strict=True)
    for size, kernel, stride in reversed(list(sizes)):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return functional.pad(x, sides)
