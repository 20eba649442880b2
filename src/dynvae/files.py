"""Files, handled with care: written whole or not at all, kept inside their folder, known by their hash."""

from __future__ import annotations

__all__ = ["atomic_write", "inside", "sha256_file"]

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from dynvae.errors import DataError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file so that a reader sees the old one or the complete new one, and never a part.

    The temporary file has the suffix of the final one, and lies in the same folder, so that the renaming is atomic.
    Its content is on the disk before it takes the name. When the block fails, it is removed and the old file stays.

    Args:
        path: the file to write. Its folder is made where it is missing.

    Yields:
        The path of the temporary file, which the block creates and fills.

    Raises:
        FileNotFoundError: the block did not write the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "notes.txt") as temp:
        ...         _ = temp.write_text("all of it")
        ...     sorted(file.name for file in Path(folder).iterdir())
        ['notes.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temp
        with temp.open("rb+") as file:
            os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the new name itself on the disk; systems that cannot open a folder (Windows) do it on their own."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def inside(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """The path below a root, refused where it leads outside: by ``..``, by an absolute path or by a symbolic link.

    Args:
        root: the folder that must hold the result.
        path: a path relative to it, as a manifest, a config or an archive gives it.

    Returns:
        The resolved absolute path. It need not exist.

    Raises:
        DataError: the path is empty, absolute or leads out of the root.

    Example:
        >>> inside("corpus", "../secret.wav")
        Traceback (most recent call last):
            ...
        dynvae.errors.DataError: '../secret.wav' leads out of corpus; paths must stay inside that folder
    """
    text = os.fspath(path)
    # Backslashes and drive letters are paths on one system and names on another; they are judged alike on all.
    foreign = text.replace("\\", "/")
    if not text or "\0" in text:
        raise DataError(f"{text!r} is not a path below {os.fspath(root)}")
    base = Path(root).resolve()
    try:
        os.fsencode(text)
        target = (base / text).resolve()
    except (OSError, RuntimeError, UnicodeEncodeError) as error:  # a loop of links, or half a character
        raise DataError(f"{text!r} is not a path below {os.fspath(root)} ({error})") from None
    absolute = foreign.startswith("/") or foreign[1:3] == ":/" or Path(text).is_absolute()
    if absolute or ".." in foreign.split("/") or not target.is_relative_to(base):
        raise DataError(f"{text!r} leads out of {os.fspath(root)}; paths must stay inside that folder")
    return target


def sha256_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's content, in hexadecimal; the memory it takes does not grow with the file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
