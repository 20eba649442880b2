"""Kernels in C for the parts of training and inference that take the time, compiled at their first use.

They need a C compiler (gcc or clang). Without one, or with the variable ``DYNVAE_NATIVE=0``, everything runs on
PyTorch's own kernels, with the same results to rounding. :func:`status` says which it is.
"""

from __future__ import annotations

from dynvae.native.build import Status, library, status

__all__ = ["Status", "library", "status"]
