"""Models as ONNX graphs: written, checked, and compared with what PyTorch computes."""

from __future__ import annotations

__all__ = ["PARTS", "Exported", "export"]

import copy
import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dynvae
from dynvae.errors import CheckpointError, ConfigError, DynvaeError, require
from dynvae.export.parts import Decoder, Encoder, Part
from dynvae.export.ports import Port
from dynvae.export.steps import filter_of, step_of
from dynvae.files import atomic_write
from dynvae.models import DVAE, ZOO
from dynvae.nn import time_mask
from dynvae.pretrained.storage import packed_weights
from dynvae.recurrence import executor

PARTS: dict[str, Callable[[Any], Part]] = {
    "encoder": Encoder,
    "decoder": Decoder,
    "step": step_of,
    "filter": filter_of,
}
"""What can be exported, by name."""

DESCRIPTION = "export.json"
OPSET = 20
_WRITTEN_AT = {"batch": 3, "time": 5, "past": 4}
_COMPARED_AT = (
    {"batch": 1, "time": 1, "past": 0},
    {"batch": 2, "time": 9, "past": 7},
    {"batch": 5, "time": 33, "past": 21},
)


@dataclass(frozen=True)
class Exported:
    """What has been written.

    Attributes:
        folder: where it is.
        errors: the parts, and how far their outputs are from PyTorch's at most, at sizes that the graphs were not
            written at: in parts of an output's size, and no less than one.
        refused: the parts that were left out, and why.
    """

    folder: Path
    errors: dict[str, float]
    refused: dict[str, str]


def export(
    model: DVAE,
    directory: str | os.PathLike[str],
    parts: Sequence[str] | None = None,
    *,
    tolerance: float = 1e-5,
) -> Exported:
    """Write the parts of a model as ONNX graphs, for any number of sequences and frames.

    Noise is an input, so that results are PyTorch's but for rounding. Each graph is checked by ONNX and run by
    onnxruntime beside PyTorch before this returns. With them comes ``export.json``: inputs, outputs, front end.

    Args:
        model: the model; its weights are exported in float32.
        directory: made where it is missing.
        parts: ``"encoder"``, ``"decoder"``, ``"step"`` (a frame of generation) and ``"filter"`` (an observed frame, for
            encoders that see no later one); by default all that the model has.
        tolerance: the largest error.

    Raises:
        ConfigError: there is no such part, or a part asked for cannot be exported; the text says why.
        DynvaeError: PyTorch makes no graph of a part, or one that does not compute what PyTorch does.
        CheckpointError: the folder cannot be written.
        MissingExtraError: ``onnx``, ``onnxscript`` or ``onnxruntime`` are not installed.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, extra="export")
    for name in parts or ():
        if name not in PARTS:
            raise ConfigError(f"there is no part '{name}'; there are {', '.join(PARTS)}")
    model = copy.deepcopy(model).float().cpu().eval()
    made, refused = _parts(model, parts)
    folder = Path(directory)
    facts = _facts(model)
    described: dict[str, Any] = {}
    errors: dict[str, float] = {}
    for part in made:
        graph = _graph(part, facts)
        errors[part.name] = _error(part, graph)
        if not errors[part.name] <= tolerance:
            raise DynvaeError(
                f"the {part.name}'s graph differs from PyTorch by {errors[part.name]:.1e}, more than {tolerance:g}; "
                "nothing was written for it: please report this with the model's configuration"
            )
        described[part.name] = {
            "file": _write(folder / f"{part.name}.onnx", graph),
            "about": part.about,
            "sha256": hashlib.sha256(graph).hexdigest(),
            "error": errors[part.name],
            "inputs": [port.to_dict() for port in part.inputs],
            "outputs": [port.to_dict() for port in part.outputs],
        }
    text = json.dumps({**facts, "parts": described, "refused": refused}, indent=2, ensure_ascii=False)
    _write(folder / DESCRIPTION, (text + "\n").encode())
    return Exported(folder, errors, refused)


def _parts(model: DVAE, names: Sequence[str] | None) -> tuple[list[Part], dict[str, str]]:
    """The parts to export, and why others are not."""
    made, refused = [], {}
    for name in names or PARTS:
        try:
            made.append(PARTS[name](model))
        except ConfigError as error:
            if names is not None:
                raise ConfigError(f"{name}: {error}") from error
            refused[name] = str(error)
    return made, refused


def _facts(model: DVAE) -> dict[str, Any]:
    """What is to be known of all graphs of a model."""
    names = [name for name, kind in ZOO.items() if kind is type(model)]
    return {
        "model": names[0] if names else type(model).__name__,
        "arguments": model.config,
        "front_end": None if model.front_end is None else model.front_end.to_dict(),
        "dynvae_version": dynvae.__version__,
        "weights_sha256": packed_weights(model)[1],
    }


def _graph(part: Part, facts: dict[str, Any]) -> bytes:
    """The graph of a part, its names and metadata in place, checked."""
    import onnx

    inputs, outputs = part.inputs, part.outputs
    with torch.no_grad():
        values = part.example(_WRITTEN_AT, torch.Generator().manual_seed(1))
    axes = {axis: torch.export.Dim(axis, min=0 if axis == "past" else 1) for axis in _WRITTEN_AT}
    shapes = [{i: axes[axis] for i, axis in enumerate(port.shape) if isinstance(axis, str)} for port in inputs]
    try:
        with _quiet(), executor("scan"), torch.no_grad():
            program = torch.onnx.export(
                part.eval(),
                tuple(values.values()),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes={"values": tuple(shapes)},
                input_names=[port.name for port in inputs],
                output_names=[port.name for port in outputs],
                verbose=False,
                optimize=False,
            )
            assert program is not None
            _tidy(program.model)
    except Exception as error:  # the exporter's, of many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DynvaeError(f"torch {torch.__version__} makes no graph of the {part.name}: {reason}") from error
    proto = program.model_proto
    for key, value in {**facts, "part": part.name}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = f"dynvae.{key}", value if isinstance(value, str) else json.dumps(value)
    proto.doc_string = f"{part.name} of a dynvae model: {part.about}"
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def _tidy(graph: Any) -> None:
    """Put functions in their places and fold constants.

    No more than that: the optimiser's rules take a constant below 1e-8 for zero, such as the floor of powers.
    """
    from onnxscript import optimizer

    optimizer.inline(graph)
    optimizer.fold_constants(graph)
    optimizer.remove_unused_nodes(graph)


def _error(part: Part, graph: bytes) -> float:
    """The largest difference between the graph's outputs and PyTorch's, at sizes that it was not written at."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for seed, sizes in enumerate(_COMPARED_AT):
        with torch.no_grad(), executor("plain"):
            values = part.example(sizes, torch.Generator().manual_seed(seed))
            wanted = part(*values.values())
        found = session.run(None, {name: value.numpy() for name, value in values.items()})
        for port, ours, theirs in zip(part.outputs, wanted, found, strict=True):
            ragged = values.get("lengths") if "time" in port.shape else None
            worst = max(worst, _difference(port, ours, torch.from_numpy(theirs), ragged))
    return worst


def _difference(port: Port, ours: Tensor, theirs: Tensor, lengths: Tensor | None) -> float:
    """The largest difference of valid frames, relative to values above one."""
    if ours.shape != theirs.shape:
        raise DynvaeError(f"{port.name} is {tuple(theirs.shape)} and should be {tuple(ours.shape)}")
    if not ours.numel():
        return 0.0
    difference = (ours.double() - theirs.double()).abs() / ours.double().abs().clamp(min=1)
    if lengths is not None:  # what stands in the padding means nothing
        difference = difference[time_mask(lengths, ours.shape[1])]
    return float(difference.nan_to_num(torch.inf).max())


def _write(path: Path, content: bytes) -> str:
    try:
        with atomic_write(path) as temp:
            temp.write_bytes(content)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error
    return path.name


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own workings from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
