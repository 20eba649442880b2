"""The library is compiled once, kept, and done without where it cannot be made."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynvae.native import build

needs_compiler = pytest.mark.skipif(build.library() is None, reason="the compiled kernels are not available")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing is loaded yet, the cache is empty, and the sources are one small file."""
    sources = tmp_path / "sources"
    sources.mkdir()
    for name in ("about.c", "vector.h"):
        (sources / name).write_bytes((build._SOURCES / name).read_bytes())
    monkeypatch.setattr(build, "_SOURCES", sources)
    monkeypatch.setenv("DYNVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DYNVAE_NATIVE", raising=False)
    build._load_once.cache_clear()
    yield sources
    build._load_once.cache_clear()


def libraries(sources: Path) -> list[Path]:
    return sorted((sources.parent / "cache" / "native").iterdir())


@needs_compiler
def test_compiled_once_and_kept(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.status()
    assert first.available
    assert first.lanes in (4, 8, 16)
    assert first.isa in str(first)
    assert [str(path) for path in libraries(fresh)] == [first.path]
    build._load_once.cache_clear()
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled again"))
    assert build.status() == first


@needs_compiler
def test_other_sources_or_options_are_another_library(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build.status().path
    build._load_once.cache_clear()
    (fresh / "about.c").write_text((fresh / "about.c").read_text() + "\n")
    second = build.status().path
    build._load_once.cache_clear()
    monkeypatch.setattr(build, "_FLAGS", (*build._FLAGS, "-DUNUSED"))
    assert len({first, second, build.status().path}) == 3


@needs_compiler
def test_damaged_library_is_made_anew(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path(build.status().path).name
    build._load_once.cache_clear()
    damaged = fresh.parent / "other" / "native" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no library")
    monkeypatch.setenv("DYNVAE_CACHE", str(fresh.parent / "other"))
    assert build.status().path == str(damaged)
    assert damaged.stat().st_size > 1000


def test_no_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(fresh))
    assert build.library() is None
    assert build.library() is None
    assert build.status().reason == "there is no C compiler (cc, gcc or clang)"
    assert str(build.status()) == "off (there is no C compiler (cc, gcc or clang))"
    assert len(caplog.records) == 1
    assert "no C compiler" in caplog.text


def test_compiler_of_the_environment(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/no/such/compiler -m64")
    assert build.status().reason == "there is no C compiler (/no/such/compiler)"


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the compiler")
def test_failed_compilation(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    script = fresh / "compiler"
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit\necho "x.c: error: no" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    assert build.library() is None
    assert [record.levelname for record in caplog.records if record.levelname != "INFO"] == ["WARNING"]
    assert "error: no" in build.status().reason


def test_switched_off(fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("DYNVAE_NATIVE", "0")
    assert build.library() is None
    assert str(build.status()) == "off (DYNVAE_NATIVE=0)"
    assert not caplog.records


@needs_compiler
def test_without_openmp_it_runs_on_one_thread(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_VARIANTS", (("-march=of-the-future",), *build._VARIANTS[1:]))
    assert build.status().available
    assert not build.status().threads


@needs_compiler
def test_unforeseen_errors_do_not_spread(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def surprise() -> str:
        raise RuntimeError("a surprise")

    monkeypatch.setattr(build, "_processor", surprise)
    assert build.library() is None
    assert build.status().reason == "RuntimeError: a surprise"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@needs_compiler
def test_two_processes_at_once(fresh: Path) -> None:
    code = (
        "import sys, pathlib, dynvae.native.build as build\n"
        "build._SOURCES = pathlib.Path(sys.argv[1])\n"
        "sys.stdin.read(1)\n"  # both are at this line before either goes on
        "print(build.status().path)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(fresh)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    paths = {process.communicate(b"go")[0].strip() for process in processes}
    assert len(paths) == 1
    assert [str(path).encode() for path in libraries(fresh)] == list(paths)


def test_importing_compiles_nothing(tmp_path: Path) -> None:
    code = "import dynvae.native.ops, dynvae.native.build as build; assert build._load_once.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "DYNVAE_CACHE": str(tmp_path)})
    assert not list(tmp_path.iterdir())
