"""Archives from the net: fetched with resume, believed by their checksum, unpacked inside one folder."""

from __future__ import annotations

__all__ = ["Archive", "download", "unpack"]

import hashlib
import http.client
import logging
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dynvae.errors import DataError
from dynvae.files import inside

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_ATTEMPTS = 5
_TIMEOUT = 60.0  # seconds without a byte
_GROWTH = 200  # an archive that unpacks to more than this many times its size is a trap
_MEMBERS_AT_MOST = 2_000_000


@dataclass(frozen=True)
class Archive:
    """A file of the net: where it is, and the digest of its content as its publisher or many users tell it."""

    name: str
    urls: tuple[str, ...]  # the first that answers is used
    digest: str  # "sha256:..." or "md5:..."


def download(
    archive: Archive, folder: Path, progress: Callable[[int, int | None], None] | None = None, pause: float = 1.0
) -> Path:
    """Fetch an archive into a folder; what an earlier try has left is kept and continued.

    The file appears under its name when it is whole and its digest is right. Until then it ends in ``.part``.

    Args:
        archive: what to fetch.
        folder: where to.
        progress: called with the bytes that are there and the bytes of all (if the server tells).
        pause: seconds before the second attempt, doubled before each further one.

    Returns:
        The path of the file.

    Raises:
        DataError: no address answers, the connection breaks again and again, the disk is too small, or the content is
            not what it should be.
    """
    path = folder / archive.name
    if path.is_file() and _digest(path, archive.digest) == archive.digest:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    reason = ""
    for url in archive.urls:
        for attempt in range(_ATTEMPTS):
            try:
                _fetch(url, part, progress)
            except urllib.error.HTTPError as error:
                reason = f"{url} answers {error.code} {error.reason}"
                if error.code < 500:
                    break  # the next address may know better
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
                reason = f"{url}: {getattr(error, 'reason', None) or error}"
            except OSError as error:
                raise DataError(f"{part}: cannot be written ({error.strerror})") from error
            else:
                return _accept(part, path, archive)
            logger.info("%s; attempt %d of %d", reason, attempt + 1, _ATTEMPTS)
            time.sleep(pause * 2**attempt)
    kept = f"; {part.stat().st_size} bytes are kept, the same command goes on from there" if part.exists() else ""
    raise DataError(f"{archive.name} cannot be downloaded ({reason}){kept}")


def _accept(part: Path, path: Path, archive: Archive) -> Path:
    found = _digest(part, archive.digest)
    if found != archive.digest:
        part.unlink()
        raise DataError(f"{archive.name}: the content is not what it should be (expected {archive.digest}, "
                        f"found {found}); it was removed, try again")  # fmt: skip
    part.replace(path)
    return path


def _digest(path: Path, like: str) -> str:
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()}"


def _fetch(url: str, part: Path, progress: Callable[[int, int | None], None] | None) -> None:
    """Append to a part what is missing of it; an incomplete answer is a ConnectionError."""
    if not url.startswith(("https://", "http://")):
        raise DataError(f"{url}: only http and https addresses are fetched")
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "dynvae"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # The part is as long as the file, or longer: the digest will tell, once the size is known to be right.
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(done):
            return
        part.unlink()
        raise ConnectionError("the part does not belong to the file any more, it is fetched anew") from error
    with response, part.open("ab") as file:
        if done and response.status != 206:  # the server sends all of it
            file.truncate(0)
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        if total is not None and shutil.disk_usage(part.parent).free < total - done:
            raise DataError(f"{part.parent}: {(total - done) / 1e9:.1f} GB are to come and the disk is too small")
        while block := response.read(_CHUNK):
            file.write(block)
            done += len(block)
            if progress:
                progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke after {done} of {total} bytes")


def unpack(archive: Path, folder: Path, progress: Callable[[int], None] | None = None) -> int:
    """Unpack a tar or zip archive into a folder. Links, devices and paths that lead outside are refused.

    Args:
        archive: ``.tar``, ``.tar.gz``, ``.zip``, ... by content.
        folder: where to; files of the same name are replaced.
        progress: called with the number of files done.

    Returns:
        The number of files.

    Raises:
        DataError: the archive is damaged, leads outside, or is a trap.
    """
    folder.mkdir(parents=True, exist_ok=True)
    room = _GROWTH * archive.stat().st_size + _CHUNK
    count = 0
    try:
        for name, source in _members(archive):
            with source:
                room -= _save(source, inside(folder, name), room)
            count += 1
            if room < 0 or count > _MEMBERS_AT_MOST:
                raise DataError(f"{archive}: unpacks to more than any corpus would; it was not made for use")
            if progress:
                progress(count)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive}: damaged, or no tar or zip archive ({error})") from error
    except OSError as error:
        raise DataError(f"{archive}: cannot be unpacked into {folder} ({error.strerror or error})") from error
    return count


def _save(source: IO[bytes], target: Path, room: int) -> int:
    """Write a member under its name when it is whole; stop soon after the room is used up. Returns its bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = target.with_name(f"{target.name}.part")
    size = 0
    try:
        with temp.open("wb") as file:
            while size <= room and (block := source.read(_CHUNK)):
                file.write(block)
                size += len(block)
        if size <= room:
            temp.replace(target)
    finally:
        temp.unlink(missing_ok=True)
    return size


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Names and contents of the regular files of an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if (info.external_attr >> 16) & 0o170000 == 0o120000:
                    raise DataError(f"{archive}: {info.filename!r} is a link; an archive of sounds needs none")
                if not info.is_dir():
                    yield info.filename, zipped.open(info)
        return
    with tarfile.open(archive, "r:*") as packed:
        for member in packed:
            content = packed.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content
            elif not member.isdir():
                raise DataError(f"{archive}: {member.name!r} is a link or a device; an archive of sounds needs none")
        while packed.fileobj is not None and packed.fileobj.read(_CHUNK):
            pass  # the checksum of a compressed file comes behind its end
