"""The C sources become a shared library: compiled at first use for this processor, kept in the cache, loaded once.

The library takes part in PyTorch's own pool of OpenMP threads: it is linked without an OpenMP runtime, so that its
calls go to the one that PyTorch has loaded. Two runtimes in one process would be two pools that fight for the cores.
"""

from __future__ import annotations

__all__ = ["Status", "library", "status"]

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from dynvae.files import atomic_write

logger = logging.getLogger("dynvae")

_SOURCES = Path(__file__).parent
_PATIENCE = 300.0  # seconds for one compilation

# Strict float arithmetic otherwise: -ffast-math would break the rounding in vf_exp and the limits at infinity.
_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_WIDE = ("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()

# From the fastest to the plainest; the first that compiles and loads is taken.
_VARIANTS = (
    ("-march=native", *_WIDE, "-fopenmp"),
    ("-march=native", *_WIDE),
    ("-mcpu=native",),
    (),
)


@dataclass(frozen=True)
class Status:
    """Whether the compiled kernels are in use, and what they were made with."""

    available: bool
    reason: str = ""
    """Why they are not available; empty where they are."""
    compiler: str = ""
    """The compiler's own first line about itself."""
    flags: tuple[str, ...] = ()
    isa: str = ""
    """The instruction set, such as ``"AVX-512"``."""
    lanes: int = 0
    """How many float32 numbers one instruction takes."""
    threads: bool = False
    """Whether they run on several threads (PyTorch's own)."""
    path: str = ""
    """The compiled library."""

    def __str__(self) -> str:
        if not self.available:
            return f"off ({self.reason})"
        threads = "on PyTorch's threads" if self.threads else "on one thread"
        return f"{self.isa}, {self.lanes} lanes, {threads}, by {self.compiler}"


def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none; the first call may compile, which takes some seconds.

    It never raises. Why there is no library is logged once, and is in :func:`status`.
    """
    return _load()[0]


def status() -> Status:
    """What became of the compiled kernels; like :func:`library`, it compiles them if nothing has yet."""
    return _load()[1]


_lock = threading.Lock()


def _load() -> tuple[ctypes.CDLL | None, Status]:
    with _lock:  # a cache alone would let two threads compile at the same time
        return _load_once()


@functools.cache
def _load_once() -> tuple[ctypes.CDLL | None, Status]:
    if os.environ.get("DYNVAE_NATIVE", "1") == "0":
        return None, Status(False, "DYNVAE_NATIVE=0")
    try:
        return _make()
    except _NoLibraryError as error:
        reason = str(error)
    except Exception as error:  # whatever a foreign machine may come up with, PyTorch's kernels are still there
        reason = f"{type(error).__name__}: {error}"
    logger.warning("The compiled kernels are off, and PyTorch's own, which are slower, are used: %s", reason)
    return None, Status(False, reason)


class _NoLibraryError(Exception):
    """No library, for a reason that the user may want to know."""


def _make() -> tuple[ctypes.CDLL, Status]:
    command = _compiler()
    version = _run([*command, "--version"]).splitlines()[0]
    problem = ""
    for flags in _VARIANTS:
        path = _cache() / f"kernels-{_fingerprint(command, version, flags)}.so"
        try:
            loaded = _open_or_make(path, command, flags)
        except (_NoLibraryError, OSError) as error:
            problem = problem or str(error)
            continue
        loaded.about_isa.restype = ctypes.c_char_p
        return loaded, Status(
            True,
            compiler=version,
            flags=(*_FLAGS, *flags),
            isa=loaded.about_isa().decode(),
            lanes=loaded.about_lanes(),
            threads=bool(loaded.about_threads()),
            path=str(path),
        )
    raise _NoLibraryError(problem)


def _open_or_make(path: Path, command: list[str], flags: tuple[str, ...]) -> ctypes.CDLL:
    if path.is_file():
        with contextlib.suppress(OSError):  # a damaged file is made anew
            return _open(path)
    _compile(command, flags, path)
    return _open(path)


def _compiler() -> list[str]:
    """The compiler of ``$CC``, which may come with options, else the first that is installed."""
    if os.name == "nt":
        raise _NoLibraryError("they are not made for Windows")
    chosen = shlex.split(os.environ.get("CC", ""))
    for command in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return command
    raise _NoLibraryError(f"there is no C compiler ({chosen[0] if chosen else 'cc, gcc or clang'})")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _NoLibraryError(f"{command[0]}: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise _NoLibraryError(f"{command[0]} failed: {lines[0] if lines else done.returncode}")
    return done.stdout


def _cache() -> Path:
    from dynvae.data.builtin import cache_folder

    return cache_folder() / "native"


def _sources() -> Iterator[Path]:
    return (path for path in sorted(_SOURCES.iterdir()) if path.suffix in (".c", ".h"))


def _fingerprint(command: list[str], version: str, flags: tuple[str, ...]) -> str:
    """Everything that the library depends on, the processor included: a home folder may serve many machines."""
    digest = hashlib.sha256(repr((command, version, _FLAGS, flags, _processor())).encode())
    for path in _sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"{platform.platform()} {platform.processor()}"
    facts = ("model name", "cpu family", "model", "flags", "CPU part", "Features")
    first = text.split("\n\n", 1)[0].splitlines()
    return platform.machine() + "".join(line for line in first if line.partition(":")[0].strip() in facts)


def _compile(command: list[str], flags: tuple[str, ...], path: Path) -> None:
    """One compiler for each source, side by side; the library takes its name only when it is whole."""
    logger.info("Compiling the kernels, once for this machine")
    with tempfile.TemporaryDirectory() as folder:
        sources = [source for source in _sources() if source.suffix == ".c"]
        objects = [str(Path(folder) / f"{source.stem}.o") for source in sources]
        jobs = [
            [*command, *_FLAGS, *flags, "-c", str(source), "-o", object_]
            for source, object_ in zip(sources, objects, strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, jobs))
        with atomic_write(path) as temp:
            # No -fopenmp here: it would link a runtime of the compiler's own.
            _run([*command, "-shared", *objects, "-lm", "-o", str(temp)])


def _open(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        # PyTorch's OpenMP runtime is loaded, but where only PyTorch sees it.
        for runtime in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
            ctypes.CDLL(str(runtime), ctypes.RTLD_GLOBAL)
        return ctypes.CDLL(str(path))
