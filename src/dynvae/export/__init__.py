"""Models for runtimes without PyTorch: ONNX graphs of encoder, decoder and the steps of streams, and their parity."""

from __future__ import annotations

__all__ = ["PARTS", "Exported", "export"]

from dynvae.export.graphs import PARTS, Exported, export
