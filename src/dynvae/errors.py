"""The errors that a user can cause and can mend: one clear line each, no traceback on the command line."""

from __future__ import annotations

__all__ = ["AudioError", "CheckpointError", "ConfigError", "DataError", "DynvaeError", "MissingExtraError", "require"]

import importlib
from types import ModuleType


class DynvaeError(Exception):
    """Base of every error that dynvae raises on purpose; its text names the place, the problem and the way out."""


class AudioError(DynvaeError):
    """An audio file or signal that cannot be used as it is."""


class DataError(DynvaeError):
    """A corpus, manifest or data folder that cannot be used as it is."""


class ConfigError(DynvaeError):
    """A setting that is unknown or out of range."""


class CheckpointError(DynvaeError):
    """Weights or a training state that are damaged, foreign or too new."""


class MissingExtraError(DynvaeError, ImportError):
    """An optional package is not installed; the text gives the pip line."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra of dynvae brings it.

    Args:
        module: name of the module, e.g. ``"matplotlib.pyplot"``.
        extra: the extra of dynvae that installs it, e.g. ``"report"``.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module.partition('.')[0]} is not installed; get it with: pip install 'dynvae[{extra}]'"
        ) from error
