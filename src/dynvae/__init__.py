"""dynvae: dynamical variational autoencoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynvae.pretrained import load as load
    from dynvae.pretrained import save as save

__all__ = ["__version__", "load", "save"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch when it is first asked for, so that ``import dynvae`` costs nothing."""
    if name in ("load", "save"):
        from dynvae import pretrained

        return getattr(pretrained, name)
    raise AttributeError(f"module 'dynvae' has no attribute '{name}'")
