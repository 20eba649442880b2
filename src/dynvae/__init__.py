"""dynvae: dynamical variational autoencoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynvae.pretrained import load as load
    from dynvae.pretrained import save as save
    from dynvae.testtime import enhance as enhance

__all__ = ["__version__", "enhance", "load", "save"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch when it is first asked for, so that ``import dynvae`` costs nothing."""
    if name in ("load", "save"):
        from dynvae import pretrained

        return getattr(pretrained, name)
    if name == "enhance":
        from dynvae import testtime

        return testtime.enhance
    raise AttributeError(f"module 'dynvae' has no attribute '{name}'")
