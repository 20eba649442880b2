"""Features of clips: what they depend on, the network of FDSD against its equations, networks of the user's."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from dynvae.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from dynvae.metrics import EXTRACTORS, LogMel, distance_names, extract, extractor
from dynvae.metrics.deepspeech2 import DeepSpeech2, Sizes

SMALL = Sizes(channels=3, units=4, layers=2, hidden=5)


def clips(n: int = 3, seconds: float = 1.6, seed: int = 0) -> Tensor:
    """Noise whose colour and envelope differ from clip to clip."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(n, round(16000 * seconds), generator=generator)
    time = torch.arange(waves.shape[1]) / 16000
    rates = torch.linspace(2, 9, n)[:, None]
    return 0.1 * waves.cumsum(-1).diff(dim=-1, prepend=waves[:, :1]) * (1.1 + torch.sin(6.283 * rates * time))


def test_log_mel_has_what_it_says() -> None:
    features = LogMel()(clips())
    assert features.shape == (3, 180)
    assert features.dtype == torch.float64
    assert bool(torch.isfinite(features).all())


def test_log_mel_of_a_clip_is_its_own() -> None:
    waves, log_mel = clips(5), LogMel()
    together = log_mel(waves)
    alone = torch.cat([log_mel(wave[None]) for wave in waves])
    assert torch.allclose(together, alone, rtol=0, atol=1e-10)
    assert torch.equal(together, LogMel()(waves))


def test_level_and_offset_do_not_matter_to_log_mel() -> None:
    waves, log_mel = clips().double(), LogMel()
    assert torch.allclose(log_mel(0.01 * waves + 0.3), log_mel(waves), rtol=0, atol=1e-9)


def test_log_mel_hears_colour_liveliness_and_rhythm() -> None:
    noise, time = clips(1)[0], torch.arange(25600) / 16000
    steady = torch.randn(25600, generator=torch.Generator().manual_seed(1))
    slow, fast = (steady * (1.05 + torch.sin(2 * torch.pi * rate * time)) for rate in (3, 12))
    bands = LogMel()(torch.stack([steady, slow, fast, torch.sin(2 * torch.pi * 1000 * time), noise]))
    peak = bands[3, :40].argmax()
    centres = 700 * (10 ** (torch.linspace(*(2595 * np.log10(1 + f / 700) for f in (60, 7600)), 42) / 2595) - 1)
    assert abs(float(centres[1 + peak]) - 1000) < 60
    assert bands[1, 40:80].mean() > 2 * bands[0, 40:80].mean()  # deviation
    assert bands[2, 80:120].mean() > 1.5 * bands[0, 80:120].mean()  # change
    octaves = bands[:, 120:].unflatten(1, (10, 6)).mean(1)
    assert octaves[1].argmax() == 1  # 2 to 4 Hz
    assert octaves[2].argmax() == 3  # 8 to 16 Hz


def test_silence_has_features() -> None:
    assert bool(torch.isfinite(LogMel()(torch.zeros(2, 25600))).all())
    torch.manual_seed(0)
    assert bool(torch.isfinite(DeepSpeech2(SMALL)(torch.zeros(2, 25600))).all())


def test_short_clips_are_refused() -> None:
    assert LogMel()(clips(1, 1.02)).shape == (1, 180)
    with pytest.raises(ConfigError, match=r"need clips of 1.02 s or more, not 1 s"):
        LogMel()(clips(1, 1.0))


def checkpoint(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of the published checkpoint."""
    channels, units, layers, hidden = sizes
    generator = torch.Generator().manual_seed(seed)
    root = "ForwardPass/ds2_encoder"
    shapes: dict[str, tuple[int, ...]] = {
        "fully_connected/kernel": (2 * units, hidden),
        "fully_connected/bias": (hidden,),
    }
    for index, (kernel, inner) in enumerate((((11, 41), 1), ((11, 21), channels)), 1):
        shapes[f"conv{index}/kernel"] = (*kernel, inner, channels)
        shapes |= {
            f"conv{index}/bn/{name}": (channels,) for name in ("gamma", "beta", "moving_mean", "moving_variance")
        }
    for layer in range(layers):
        inputs = 40 * channels if layer == 0 else 2 * units
        for way in ("fw", "bw"):
            cell = f"cudnn_gru/stack_bidirectional_rnn/cell_{layer}/bidirectional_rnn/{way}/cudnn_compatible_gru_cell"
            shapes[f"{cell}/gates/kernel"] = (inputs + units, 2 * units)
            shapes[f"{cell}/gates/bias"] = (2 * units,)
            for name, size in (("input", inputs), ("hidden", units)):
                shapes[f"{cell}/candidate/{name}_projection/kernel"] = (size, units)
                shapes[f"{cell}/candidate/{name}_projection/bias"] = (units,)
    drawn = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {f"{root}/{name}": value.abs() + 0.5 if "variance" in name else value for name, value in drawn.items()}


def equations(x: np.ndarray, tensors: dict[str, Tensor], sizes: Sizes) -> np.ndarray:
    """The network written out in NumPy, one clip ``(frames, 160)``, as TensorFlow defines its parts."""
    weights = {name.removeprefix("ForwardPass/ds2_encoder/"): value.double().numpy() for name, value in tensors.items()}

    def convolve(x: np.ndarray, kernel: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
        pads, outs = [], []
        for size, width, stride in zip(x.shape, kernel.shape, strides, strict=False):
            out = -(-size // stride)
            total = max((out - 1) * stride + width - size, 0)
            pads.append((total // 2, total - total // 2))
            outs.append(out)
        x = np.pad(x, [*pads, (0, 0)])
        result = np.zeros((*outs, kernel.shape[3]))
        for i in range(outs[0]):
            for j in range(outs[1]):
                patch = x[i * strides[0] :, j * strides[1] :][: kernel.shape[0], : kernel.shape[1]]
                result[i, j] = np.tensordot(patch, kernel, 3)
        return result

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    def gru(x: np.ndarray, cell: str) -> np.ndarray:
        h, hs = np.zeros(sizes.units), []
        for row in x:
            gates = np.concatenate([row, h]) @ weights[f"{cell}/gates/kernel"] + weights[f"{cell}/gates/bias"]
            reset, update = np.split(sigmoid(gates), 2)
            into, onto = (
                value @ weights[f"{cell}/candidate/{name}_projection/kernel"]
                + weights[f"{cell}/candidate/{name}_projection/bias"]
                for name, value in (("input", row), ("hidden", h))
            )
            h = (1 - update) * np.tanh(into + reset * onto) + update * h
            hs.append(h)
        return np.stack(hs)

    x = x[..., None]
    for index, strides in ((1, (2, 2)), (2, (1, 2))):
        x = convolve(x, weights[f"conv{index}/kernel"], strides)
        bn = {name: weights[f"conv{index}/bn/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
        x = bn["gamma"] * (x - bn["moving_mean"]) / np.sqrt(bn["moving_variance"] + 1e-3) + bn["beta"]
        x = np.maximum(x, 0)
    x = x.reshape(len(x), -1)
    for layer in range(sizes.layers):
        cell = "cudnn_gru/stack_bidirectional_rnn/cell_{}/bidirectional_rnn/{}/cudnn_compatible_gru_cell"
        forward, backward = gru(x, cell.format(layer, "fw")), gru(x[::-1], cell.format(layer, "bw"))[::-1]
        x = np.concatenate([forward, backward], 1)
    return np.maximum(x @ weights["fully_connected/kernel"] + weights["fully_connected/bias"], 0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_deepspeech2_is_its_equations(suffix: str, tmp_path: Path) -> None:
    tensors, path = checkpoint(SMALL), tmp_path / f"ds2{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    network = DeepSpeech2.load(path, SMALL)
    x = network.spectrogram(clips(2, 0.3))
    assert x.shape == (2, 32, 160)
    expected = np.stack([equations(clip.double().numpy(), tensors, SMALL) for clip in x])
    assert np.abs(network.activations(x).numpy() - expected).max() < 1e-4 * np.abs(expected).max()
    features = network(clips(2, 0.3)).numpy()
    assert np.abs(features - expected.mean(1)).max() < 1e-4 * np.abs(expected).max()


def test_deepspeech2_sees_a_standardised_log_spectrogram() -> None:
    wave = clips(1)[0].double().numpy()
    torch.manual_seed(0)
    found = DeepSpeech2(SMALL).double().spectrogram(torch.from_numpy(wave)[None])[0].numpy()
    wave = wave / (np.abs(wave).max() + 1e-5)
    padded = np.pad(wave, (0, 320))
    frames = np.stack([padded[k : k + 320] * np.hanning(320) for k in range(0, 160 * 160, 160)])
    level = np.log(np.abs(np.fft.rfft(frames))[:, :160] ** 2 / 320)
    assert np.abs(found - (level - level.mean()) / level.std()).max() < 1e-9
    assert found.shape == (160, 160)


def test_the_name_fdsd_belongs_to_the_published_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert distance_names(DeepSpeech2(SMALL)) == ("Fréchet distance", "kernel distance")
    assert DeepSpeech2(SMALL).name == "DeepSpeech2 (random weights)"
    assert distance_names(LogMel()) == ("Fréchet distance", "kernel distance")
    save_file(checkpoint(SMALL), tmp_path / "small.safetensors")
    assert distance_names(DeepSpeech2.load(tmp_path / "small.safetensors", SMALL))[0] == "Fréchet distance"
    with pytest.raises(CheckpointError, match=r"conv1/kernel is \(11, 41, 1, 3\), where \(11, 41, 1, 32\) is expected"):
        extractor("deepspeech2", str(tmp_path / "small.safetensors"))


@pytest.mark.slow
def test_the_published_layout(tmp_path: Path) -> None:
    half = {name: value.half() for name, value in checkpoint(Sizes()).items()}
    save_file(half, tmp_path / "ds2.safetensors")
    network = extractor("deepspeech2", str(tmp_path / "ds2.safetensors"))
    assert distance_names(network) == ("FDSD", "KDSD")
    assert network(clips(2)).shape == (2, 1600)


def test_files_without_these_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        DeepSpeech2.load(tmp_path / "none.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list"):
        DeepSpeech2.load(tmp_path / "list.pt")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        DeepSpeech2.load(tmp_path / "text.safetensors")
    tensors = checkpoint(SMALL)
    del tensors["ForwardPass/ds2_encoder/fully_connected/bias"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match="fully_connected/bias is missing"):
        DeepSpeech2.load(tmp_path / "part.safetensors", SMALL)


class _Program:
    def __reduce__(self) -> tuple:
        return (print, ("run!",))


def test_weights_are_no_programs(tmp_path: Path, capsys) -> None:
    torch.save({"a": _Program()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        DeepSpeech2.load(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


def field(number: int, value: bytes | int | str) -> bytes:
    """One field of a protocol buffer."""

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def onnx_file(path: Path, inputs: int = 1, pooled: bool = False) -> Path:
    """A network that multiplies clips of 4 samples by a 4 × 2 matrix of 0, ..., 7, written by hand.

    With ``pooled``, the result has an axis of frames, one of them.
    """

    def tensor(name: str, rank: int) -> bytes:
        dims = b"".join(field(1, field(2, "n") if k == 0 else field(1, 4)) for k in range(rank))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    def node(kind: str, inputs: list[str], output: str) -> bytes:
        return b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)

    matrix = field(1, 4) + field(1, 2) + field(2, 1) + field(8, "w") + field(9, struct.pack("<8f", *range(8)))
    axis = field(1, 1) + field(2, 7) + field(8, "axis") + field(9, struct.pack("<q", 1))
    graph = field(1, node("MatMul", ["waves", "w"], "product"))
    graph += field(1, node("Unsqueeze", ["product", "axis"], "out") if pooled else node("Identity", ["product"], "out"))
    graph += field(2, "graph") + field(5, matrix) + field(5, axis)
    graph += b"".join(field(11, tensor(name, 2)) for name in ("waves", "more")[:inputs])
    graph += field(12, field(1, "out") + field(2, field(1, field(1, 1))))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    return path


@pytest.mark.parametrize("pooled", [False, True])
def test_onnx_network(pooled: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network = extractor("onnx", str(onnx_file(tmp_path / "net.onnx", pooled=pooled)), 8000)
    waves = torch.arange(12.0).reshape(3, 4)
    assert (network.name, network.sample_rate) == ("net.onnx", 8000)
    assert torch.equal(network(waves), waves @ torch.arange(8.0).reshape(4, 2))
    with pytest.raises(CheckpointError, match=r"fails on clips \(3, 5\)"):
        network(torch.zeros(3, 5))


def test_onnx_files_that_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(CheckpointError, match="cannot be read as ONNX"):
        extractor("onnx", str(tmp_path / "text.onnx"))
    with pytest.raises(CheckpointError, match=r"takes 2 inputs \(waves, more\)"):
        extractor("onnx", str(onnx_file(tmp_path / "two.onnx", inputs=2)))


def test_onnx_needs_its_runtime(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"dynvae\[onnx\]"):
        extractor("onnx", str(onnx_file(tmp_path / "net.onnx")))


def test_torchscript_network(tmp_path: Path) -> None:
    class Frames(torch.nn.Module):
        def forward(self, waves: Tensor) -> Tensor:
            return waves.unflatten(1, (2, 2))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Frames()).save(str(tmp_path / "net.pt"))
    network = extractor("torchscript", str(tmp_path / "net.pt"))
    waves = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(network(waves), (waves[:, :2] + waves[:, 2:]) / 2)
    with pytest.raises(CheckpointError, match="fails on clips"):
        network(torch.zeros(3, 5))
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="cannot be read as TorchScript"):
        extractor("torchscript", str(tmp_path / "text.pt"))


def test_extractors_that_do_not_fit_together() -> None:
    assert set(EXTRACTORS) == {"log-mel", "deepspeech2", "onnx", "torchscript"}
    for arguments, message in [
        (("mfcc",), "there are no features 'mfcc'; there are log-mel"),
        (("log-mel", "weights.pt"), "take no weights"),
        (("log-mel", None, 8000), "sound of 16000 Hz"),
        (("deepspeech2",), "need the file of a network"),
        (("deepspeech2", "x", 8000), "sound of 16000 Hz"),
        (("onnx",), "need the file of a network"),
    ]:
        with pytest.raises(ConfigError, match=message):
            extractor(*arguments)


def test_extraction_keeps_order_and_checks() -> None:
    class Own:
        name, sample_rate = "own", 16000

        def __call__(self, waves: Tensor) -> Tensor:
            return waves[:, :2]

    waves = torch.arange(12.0).reshape(4, 3)
    assert torch.equal(extract(Own(), waves.split(3)), waves[:, :2].double())
    for bad, message in [(waves / 0, "NaN or infinite"), (waves[0], "has to make")]:
        with pytest.raises(DataError, match=message):
            extract(Own(), [bad] if bad.dim() == 2 else [bad[:, None, None]])
    with pytest.raises(DataError, match="no clips"):
        extract(Own(), [])
