"""What a benchmark ran on."""

from __future__ import annotations

__all__ = ["machine"]

import dataclasses
import os
from typing import Any

import torch

from dynvae.native import status
from dynvae.report.environment import environment


def machine(executors: list[str]) -> dict[str, Any]:
    """Facts for the report: processor and its instruction sets, versions, executors."""
    facts = environment()
    del facts["extras"]
    cpu = {"avx512_bf16": torch.cpu._is_avx512_bf16_supported(), "amx": torch.cpu._is_amx_tile_supported()}
    native = {name: value for name, value in dataclasses.asdict(status()).items() if name != "path"}
    return facts | {"cpu": facts["cpu"] | cpu, "executors": executors, "native": native}


def load() -> float | None:
    """How many processes want to run, over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
