"""Downloads from a server on this machine that is sometimes rude, and archives that are not what they seem."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from dynvae.data.download import Archive, download, unpack
from dynvae.data.known import DOWNLOADS
from dynvae.errors import DataError

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every address; the path tells how."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []  # path and Range
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        if self.path == "/gone":
            self.send_error(404)
            return
        if self.path == "/ill" and len(self.server.requests) == 1:
            self.send_error(503)
            return
        start = 0
        if wanted and self.path != "/no-ranges":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if self.path != "/no-length":
            self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        # A broken line: a million bytes an answer and no more, though all were promised.
        end = start + 1_000_000 if self.path == "/broken" else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def archive(*urls: str, digest: str | None = None) -> Archive:
    return Archive("corpus.bin", urls, digest or f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")


@pytest.mark.parametrize("way", ["/plain", "/broken", "/no-length", "/ill"])
def test_the_file_arrives_whole(server: Server, tmp_path: Path, way: str) -> None:
    told: list[tuple[int, int | None]] = []
    path = download(archive(server.url + way), tmp_path / "new", lambda done, of: told.append((done, of)), pause=0.01)
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["corpus.bin"]
    assert told[-1][0] == len(CONTENT)
    if way == "/broken":
        assert [wanted for _, wanted in server.requests] == [None, "bytes=1000000-", "bytes=2000000-"]
    count = len(server.requests)
    assert download(archive(server.url + way), tmp_path / "new") == path
    assert len(server.requests) == count  # what is there and right is not fetched again


@pytest.mark.parametrize("way", ["/plain", "/no-ranges"])
def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path, way: str) -> None:
    def interrupt(done: int, _: int | None) -> None:
        if done > 1_500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(archive(server.url + way), tmp_path, interrupt)
    assert not (tmp_path / "corpus.bin").exists()
    kept = (tmp_path / "corpus.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert download(archive(server.url + way), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={kept}-"


def test_a_whole_part_is_taken_and_a_foreign_one_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus.bin.part").write_bytes(CONTENT)
    assert download(archive(server.url), tmp_path).read_bytes() == CONTENT
    (tmp_path / "corpus.bin").unlink()
    (tmp_path / "corpus.bin.part").write_bytes(CONTENT + b"more")
    assert download(archive(server.url), tmp_path, pause=0.01).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not what it should be \(expected md5:0+, found md5:"):
        download(archive(server.url, digest="md5:" + "0" * 32), tmp_path)
    assert not list(tmp_path.iterdir())


def test_addresses_are_tried_in_turn(server: Server, tmp_path: Path) -> None:
    path = download(archive(f"{server.url}/gone", f"{server.url}/plain"), tmp_path)
    assert path.read_bytes() == CONTENT
    with pytest.raises(DataError, match="404") as error:
        download(archive(f"{server.url}/gone"), tmp_path / "other")
    assert "\n" not in str(error.value)
    server.server_close()
    with pytest.raises(DataError, match="cannot be downloaded"):
        download(archive("http://127.0.0.1:1/x"), tmp_path / "other", pause=0.001)
    with pytest.raises(DataError, match="only http"):
        download(archive("file:///etc/passwd"), tmp_path / "other")


def test_the_table_of_downloads_is_sound() -> None:
    for archives in DOWNLOADS.values():
        for item in archives:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", item.digest)
            assert all(url.startswith("https://") for url in item.urls)
            assert item.name == Path(item.name).name


def packed(path: Path, members: dict[str, bytes | str]) -> Path:
    """A tar.gz or zip; a text is the target of a link."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in members.items():
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                if isinstance(content, str):
                    info.create_system, info.external_attr = 3, 0o120777 << 16
                zipped.writestr(info, content)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                if isinstance(content, str):
                    member.type, member.linkname = tarfile.SYMTYPE, content
                    tar.addfile(member)
                else:
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.zip"])
def test_archives_are_unpacked(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path / kind, {"x/a b.wav": b"one", "x/y/ü.wav": b"two", "top.txt": b""})
    done: list[int] = []
    assert unpack(path, tmp_path / "out", done.append) == 3
    assert done == [1, 2, 3]
    found = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")}
    assert found == {"x/a b.wav": b"one", "x/y/ü.wav": b"two", "top.txt": b""}


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize("name", ["../evil.wav", "/tmp/dynvae-evil.wav", "x/../../evil.wav", "..\\evil.wav"])
def test_nothing_is_unpacked_outside(tmp_path: Path, kind: str, name: str) -> None:
    path = packed(tmp_path / kind, {name: b"evil"})
    with pytest.raises(DataError, match="leads out"):
        unpack(path, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/tmp/dynvae-evil.wav").exists()


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.zip"])
def test_links_are_refused(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path / kind, {"link": "/etc", "link/passwd": b"evil"})
    with pytest.raises(DataError, match="is a link"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["a.tar.gz", "a.zip"])
def test_damaged_archives_and_traps(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path / kind, {"a.wav": CONTENT[:200_000], "b.wav": CONTENT[:200_000]})
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="damaged"):
        unpack(path, tmp_path / "out")
    data[100_000:100_100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.part"))
    (tmp_path / kind).write_bytes(b"no archive")
    with pytest.raises(DataError, match="no tar or zip"):
        unpack(tmp_path / kind, tmp_path / "out")
    trap = packed(tmp_path / f"trap-{kind}", {"zeros.wav": bytes(60_000_000)})
    with pytest.raises(DataError, match="not made for use"):
        unpack(trap, tmp_path / "out")
    assert not (tmp_path / "out" / "zeros.wav").exists()
