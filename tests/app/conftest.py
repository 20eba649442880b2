"""One server for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.app.browser import served


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that takes 5 s and 1 MB, and lets two wait. When it ends, nothing of it is left."""
    folder = tmp_path_factory.mktemp("served")
    with served("--max-seconds", "5", "--max-megabytes", "1", "--waiting", "2", TMPDIR=str(folder)) as place:
        assert len(list(folder.glob("dynvae-serve-*"))) == 1
        yield place
    assert not list(folder.glob("dynvae-*"))
