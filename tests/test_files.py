"""Files are written whole or not at all, and paths stay inside."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynvae.errors import DataError
from dynvae.files import atomic_write, inside, sha256_file


def test_a_new_content_replaces_the_old_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ä b.txt"
    for content in ("one", "two"):
        with atomic_write(path) as temp:
            assert temp.parent == path.parent
            assert temp.suffix == ".txt"
            temp.write_text(content)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == content
    assert [file.name for file in path.parent.iterdir()] == ["ä b.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temp:  # noqa: PT012
        temp.write_text("half")
        raise error
    with pytest.raises(FileNotFoundError), atomic_write(path):
        pass
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="no RLIMIT_FSIZE there")
def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    script = f"""
import resource, signal, sys
import numpy as np
from dynvae.audio import write_audio
write_audio({str(path)!r}, np.full(1000, 0.5), 16000)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_audio({str(path)!r}, np.zeros(100000), 16000)
except Exception as error:
    sys.exit(f"{{type(error).__name__}}: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("AudioError: ")
    assert str(path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert path.stat().st_size == 2044
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


def test_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100000).hexdigest()


@given(st.text() | st.lists(st.sampled_from(["..", ".", "a", "b ", "ü", ""])).map("/".join))
def test_a_path_is_inside_or_refused(text: str) -> None:
    root = Path("/some/root")
    try:
        path = inside(root, text)
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert path.is_relative_to(root)
        assert ".." not in path.parts


def test_loops_of_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="not a path below"):
        inside(tmp_path, "a/x")
