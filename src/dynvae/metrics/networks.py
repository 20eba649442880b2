"""Features from a network of the user's, in a file: ONNX or TorchScript."""

from __future__ import annotations

__all__ = ["OnnxFeatures", "TorchScriptFeatures"]

import os
import warnings
from pathlib import Path

import torch
from torch import Tensor

from dynvae.errors import CheckpointError, ConfigError, require


class OnnxFeatures:
    """An ONNX network; it describes a computation, and nothing in the file is executed as code.

    Its one input takes clips ``(n, samples)`` in float32; its first output is ``(n, d)``, or ``(n, frames, d)``, which
    is averaged over the frames.

    Args:
        path: the file.
        sample_rate: that the network takes, in hertz.

    Raises:
        CheckpointError: the file cannot be read, or the network has several inputs.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int = 16000) -> None:
        self._path, self.sample_rate = _checked(path, sample_rate), sample_rate
        runtime = require("onnxruntime", "onnx")
        try:
            self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime has its own class for each way to fail
            raise CheckpointError(f"{path} cannot be read as ONNX: {_first_line(error)}") from error
        inputs = [each.name for each in self._session.get_inputs()]
        if len(inputs) != 1:
            raise CheckpointError(f"{path} takes {len(inputs)} inputs ({', '.join(inputs)}); clips have to be the only")
        self._input = inputs[0]

    @property
    def name(self) -> str:
        """That of the file."""
        return self._path.name

    def __call__(self, waves: Tensor) -> Tensor:
        """From ``(n, samples)`` to ``(n, d)``.

        Raises:
            CheckpointError: the network does not take them.
        """
        try:
            found = self._session.run(None, {self._input: waves.detach().cpu().float().numpy()})
        except Exception as error:
            raise CheckpointError(f"{self._path} fails on clips {tuple(waves.shape)}: {_first_line(error)}") from error
        return _averaged(torch.as_tensor(found[0]))


class TorchScriptFeatures:
    """A TorchScript network: a program, which is run with all your rights. Load none that you do not trust.

    It takes clips ``(n, samples)`` in float32 and gives ``(n, d)``, or ``(n, frames, d)``, which is averaged over the
    frames. ONNX, which is no program, is the better choice where there is one.

    Args:
        path: the file.
        sample_rate: that the network takes, in hertz.

    Raises:
        CheckpointError: the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int = 16000) -> None:
        self._path, self.sample_rate = _checked(path, sample_rate), sample_rate
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch advises against the format, as the text above does
                self._network = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read as TorchScript: {_first_line(error)}") from error

    @property
    def name(self) -> str:
        """That of the file."""
        return self._path.name

    def __call__(self, waves: Tensor) -> Tensor:
        """From ``(n, samples)`` to ``(n, d)``.

        Raises:
            CheckpointError: the network does not take them.
        """
        try:
            with torch.no_grad():
                found = self._network(waves.detach().cpu().float())
        except RuntimeError as error:
            raise CheckpointError(f"{self._path} fails on clips {tuple(waves.shape)}: {_first_line(error)}") from error
        if not isinstance(found, Tensor):
            raise CheckpointError(f"{self._path} gives a {type(found).__name__} instead of a tensor")
        return _averaged(found)


def _checked(path: str | os.PathLike[str], sample_rate: int) -> Path:
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file")
    if sample_rate < 1:
        raise ConfigError(f"a sample rate is positive, not {sample_rate}")
    return Path(path)


def _averaged(found: Tensor) -> Tensor:
    return found.mean(1) if found.dim() == 3 else found


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if isinstance(error, RuntimeError) and "Traceback" in str(error) else (lines or ["no reason"])[0]
