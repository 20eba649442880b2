"""A model on disk: ``config.json``, ``model.safetensors`` and a model card, complete and verified, or refused.

Nothing in such a folder can run code: the class comes from a closed registry, the weights are safetensors, and their
SHA-256 stands in the configuration.

The three files cannot be replaced in one stroke, so they are written in an order that keeps every moment readable:

1. the new weights, as ``model-<first 16 digits of their SHA-256>.safetensors``;
2. ``config.json``, which names their SHA-256: from here on the folder holds the new model;
3. the weights take the name ``model.safetensors``.

A reader looks for the weights by the SHA-256 of the configuration, under both names. Whenever the writer is killed,
it finds the old model before step 2 is done and the new one after.
"""

from __future__ import annotations

__all__ = ["CARD", "CONFIG", "FORMAT_VERSION", "WEIGHTS", "packed_weights", "read", "save"]

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import dynvae
from dynvae.audio import FrontEnd
from dynvae.baselines.lstm import AutoregressiveLSTM
from dynvae.baselines.mask import MaskNetwork
from dynvae.errors import CheckpointError, ConfigError, DynvaeError
from dynvae.files import atomic_write
from dynvae.models import DVAE, ZOO
from dynvae.motion import BoxView, Skeleton
from dynvae.pretrained.card import model_card
from dynvae.pretrained.construction import construct, fill
from dynvae.video.talking import TalkingView

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

MIGRATIONS: dict[int, Callable[[dict[str, Any], dict[str, Tensor]], None]] = {}
"""From format version n to n + 1: changes the configuration and the weights in place."""

_LARGEST_CONFIG = 2**18  # bytes; a real one has a few thousand
_LEFT = re.compile(r"model-[0-9a-f]{16}\.safetensors|\.tmp-\d+-[0-9a-f]+\.(json|md|safetensors)")
_KEYS = ("format_version", "dynvae_version", "model", "arguments", "front_end", "sha256", "card")


def save(model: DVAE | MaskNetwork, directory: str | os.PathLike[str], card: dict[str, Any] | None = None) -> Path:
    """Write a model to a folder, so that a reader finds the old one or the new one complete, even after a power cut.

    Parameters and buffers keep their precision. The model itself is not changed.

    Args:
        model: a member of :data:`dynvae.models.ZOO`, or the mask network or the LSTM of :mod:`dynvae.baselines`.
        directory: made where it is missing.
        card: what people should know: ``license``, ``tags``, ``datasets``, ``metrics`` (names with figures), and
            anything else, such as ``title``, ``description`` or ``attribution``; see `dynvae.pretrained.card`.

    Returns:
        The folder.

    Raises:
        CheckpointError: the folder could not be written (no space, no permission); what was there before is whole.
        ConfigError: the class is not in the registry, or its arguments or the card do not fit into JSON.

    Example:
        >>> import tempfile, dynvae
        >>> from dynvae.models import VAE
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = dynvae.save(VAE(x_dim=5, z_dim=2), folder, card={"license": "mit"})
        ...     dynvae.load(folder).z_dim
        2
    """
    directory = Path(directory)
    kinds = {**ZOO, "lstm": AutoregressiveLSTM, "mask": MaskNetwork}
    names = [name for name, kind in kinds.items() if kind is type(model)]
    if not names:
        raise ConfigError(f"a {type(model).__name__} cannot be saved: it is not in dynvae.models.ZOO")
    weights, digest = packed_weights(model)
    front_end = None if model.front_end is None else model.front_end.to_dict()
    values = (FORMAT_VERSION, dynvae.__version__, names[0], model.config, front_end, digest, card or {})
    try:
        config = json.dumps(dict(zip(_KEYS, values, strict=True)), indent=2, allow_nan=False, ensure_ascii=False)
        text = model_card(model, names[0], card or {}, digest)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{directory}: the model's arguments and card must fit into JSON ({error})") from error
    if len(config.encode()) > _LARGEST_CONFIG:
        raise ConfigError(f"{directory}: the model's arguments and card take more than {_LARGEST_CONFIG} bytes")
    pending = _pending(directory, digest)
    try:
        with atomic_write(pending) as temp:
            temp.write_bytes(weights)
        with atomic_write(directory / CONFIG) as temp:
            temp.write_text(config + "\n", encoding="utf-8")
        pending.replace(directory / WEIGHTS)
        with atomic_write(directory / CARD) as temp:
            temp.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{directory}: the model could not be written ({error.strerror or error}); what was there before is whole"
        ) from error
    for left in directory.iterdir():  # by writers that were killed
        if _LEFT.fullmatch(left.name):
            left.unlink(missing_ok=True)
    return directory


def packed_weights(model: DVAE | MaskNetwork) -> tuple[bytes, str]:
    """The content of a model's ``model.safetensors``, and its SHA-256."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    weights = safetensors.torch.save(state, metadata={"format": "pt"})
    return weights, hashlib.sha256(weights).hexdigest()


def read(
    directory: str | os.PathLike[str], device: str | torch.device = "cpu", *, kinds: Mapping[str, Any] = ZOO
) -> DVAE:
    """Read the model of a folder, in evaluation mode.

    Args:
        directory: the folder.
        device: where to put the model.
        kinds: the classes that are taken, by name.

    Raises:
        CheckpointError: something is missing, damaged, foreign or too new; the text says which and what to do.
    """
    directory = Path(directory)
    config = _read_config(directory)
    weights = _read_weights(directory, config["sha256"])
    if weights is None:  # perhaps another process has saved a new model since
        config = _read_config(directory)
        weights = _read_weights(directory, config["sha256"])
    if weights is None:
        raise _mismatch(directory, config["sha256"])
    try:
        state = safetensors.torch.load(weights)
    except Exception as error:  # safetensors' own, and whatever a crafted header may cause
        raise CheckpointError(
            f"{directory / WEIGHTS} is no safetensors file ({_line(error)}); fetch or save it anew"
        ) from error
    for version in range(config["format_version"], FORMAT_VERSION):
        MIGRATIONS[version](config, state)
    with _blame(directory / CONFIG):
        model = construct(config["model"], config["arguments"], kinds)
        if config["front_end"] is not None:
            kinds_of_data: dict[Any, Any] = {"skeleton": Skeleton, "boxes": BoxView, "talking": TalkingView}
            kind = kinds_of_data.get(config["front_end"].get("kind"), FrontEnd)
            model.front_end = kind.from_dict(config["front_end"])
    fill(model, state, directory / WEIGHTS)
    return model.to(device).eval()


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_CONFIG + 1)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); a saved model is a folder with {CONFIG} and {WEIGHTS}"
        ) from error
    if len(text) > _LARGEST_CONFIG:
        raise CheckpointError(f"{path} is larger than {_LARGEST_CONFIG} bytes: this is not a model's configuration")
    try:
        config = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {_line(error)}; fetch or save the model anew") from error
    if not isinstance(config, dict) or not _is_whole(config.get("format_version")):
        raise CheckpointError(f"{path} has no format_version: it was not written by dynvae")
    version = config["format_version"]
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this dynvae {dynvae.__version__} reads up to {FORMAT_VERSION}; "
            "update with: pip install -U dynvae"
        )
    if version < FORMAT_VERSION and any(step not in MIGRATIONS for step in range(version, FORMAT_VERSION)):
        raise CheckpointError(f"{path} has format version {version}, which no dynvae has written")
    if version == FORMAT_VERSION:
        _check_keys(path, config)
    digest = config.get("sha256")
    if not (isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
        raise CheckpointError(f"{path}: sha256 must be 64 hexadecimal digits; fetch or save the model anew")
    return config


def _check_keys(path: Path, config: dict[str, Any]) -> None:
    unknown = sorted(set(config) - set(_KEYS))
    if unknown:
        near = get_close_matches(unknown[0], _KEYS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(_KEYS)}"
        raise CheckpointError(f"{path}: unknown key '{unknown[0][:80]}'; {hint}")
    kinds = {"model": str, "arguments": dict, "front_end": (dict, type(None)), "sha256": str}
    for key, kind in kinds.items():
        if not isinstance(config.get(key, ...), kind):  # type: ignore[arg-type]
            raise CheckpointError(f"{path}: '{key}' is missing or of the wrong kind; fetch or save the model anew")


def _read_weights(directory: Path, digest: str) -> bytes | None:
    """The bytes that have this SHA-256; None if there are others or none."""
    for path in (directory / WEIGHTS, _pending(directory, digest), directory / WEIGHTS):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() == digest:
            return content
    return None


def _mismatch(directory: Path, expected: str) -> CheckpointError:
    path = directory / WEIGHTS
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return CheckpointError(f"{path} is missing; fetch or save the model anew")
    return CheckpointError(
        f"{path} is damaged or belongs to another model: its SHA-256 should be {expected} and is {found}; "
        "fetch or save the model anew"
    )


def _pending(directory: Path, digest: str) -> Path:
    return directory / f"model-{digest[:16]}.safetensors"


@contextlib.contextmanager
def _blame(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a configuration's content into one line that names the file."""
    try:
        yield
    except DynvaeError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:
        raise CheckpointError(f"{path}: the arguments do not make a model ({_line(error)})") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
