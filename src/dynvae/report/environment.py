"""What this installation is made of: versions, processors, devices, and which extras are there."""

from __future__ import annotations

__all__ = ["Extra", "describe", "environment", "extras"]

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dynvae import __version__, native

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?([^;]*);.*extra\s*==\s*['\"](\w+)['\"]")
_NOT_FOR_USERS = {"all", "dev"}


class Extra(NamedTuple):
    """An optional part of dynvae: the versions of its packages, None for one that is missing."""

    packages: dict[str, str | None]

    @property
    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name, version in self.packages.items() if version is None]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def extras() -> dict[str, Extra]:
    """The extras that dynvae's own metadata declare; empty where dynvae is not installed but only on the path."""
    try:
        requirements = importlib.metadata.requires("dynvae") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match[3] not in _NOT_FOR_USERS:
            found.setdefault(match[3], {})[match[1]] = _version(match[1])
    return {name: Extra(packages) for name, packages in found.items()}


def environment() -> dict[str, Any]:
    """Everything about this machine and installation that decides numbers or times, ready for JSON."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    base = ("torch", "numpy", "soundfile", "soxr", "safetensors", "networkx", "jsonargparse")
    return {
        "dynvae": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": {name: _version(name) for name in base},
        "cpu": {
            "name": _cpu_name(),
            "cores": os.cpu_count(),
            "usable": usable,
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        },
        "kernels": str(native.status()),
        "memory_gib": _memory(),
        "devices": devices,
        "variables": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY") if name in os.environ},
        "extras": {
            name: {"packages": extra.packages, "missing": extra.missing, "pip": f"pip install 'dynvae[{name}]'"}
            for name, extra in extras().items()
        },
    }


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def describe(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts of :func:`environment` as lines for people: a name and a text."""
    cpu = facts["cpu"]
    lines = [
        ("dynvae", facts["dynvae"]),
        ("python", facts["python"]),
        *((name, version or "missing") for name, version in facts["packages"].items()),
        ("system", facts["platform"]),
        ("processor", f"{cpu['name']}, {cpu['usable']} of {cpu['cores']} cores usable, {cpu['capability']}"),
        ("threads", ", ".join([str(cpu["threads"]), *(f"{k}={v}" for k, v in facts["variables"].items())])),
        ("executor", f"{'compiled' if native.library() else 'plain; compiled kernels'}: {facts['kernels']}"),
        ("memory", "unknown" if facts["memory_gib"] is None else f"{facts['memory_gib']} GiB"),
        ("devices", ", ".join(["cpu", *facts["devices"]])),
    ]
    for name, extra in facts["extras"].items():
        there = ", ".join(f"{package} {version}" for package, version in extra["packages"].items() if version)
        gone = f"missing: {', '.join(extra['missing'])}; {extra['pip']}" if extra["missing"] else ""
        lines.append((f"[{name}]", "; ".join(part for part in (there, gone) if part)))
    return lines
