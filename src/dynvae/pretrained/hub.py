"""The Hugging Face hub: models fetched from it, of any revision and out of the cache, and published on it.

Three files make a model there as on disk. No other file of a repository is fetched, and none of them can run code.
"""

from __future__ import annotations

__all__ = ["FILES", "Published", "address", "check_repository", "fetch", "publish", "push"]

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dynvae.errors import CheckpointError, ConfigError, MissingExtraError, require
from dynvae.models import DVAE
from dynvae.pretrained.storage import CARD, CONFIG, WEIGHTS, read, save

FILES = (CONFIG, WEIGHTS, CARD)
_ADDRESS = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([A-Za-z0-9][\w./-]{0,199}))?")
_LOG_IN = "set HF_TOKEN, or log in with: hf auth login"


class Published(NamedTuple):
    """What has been published.

    Attributes:
        url: of the repository.
        revision: the branch.
        commit: of the three files.
    """

    url: str
    revision: str
    commit: str


def address(text: str) -> tuple[str, str | None] | None:
    """Repository and revision of ``organisation/name`` or ``organisation/name@revision``; None for any other text.

    Example:
        >>> address("some-one/srnn@v2")
        ('some-one/srnn', 'v2')
    """
    found = _ADDRESS.fullmatch(text)
    return None if found is None or ".." in text else (found[1], found[2])


def fetch(name: str, revision: str | None = None, *, local_files_only: bool = False, token: str | None = None) -> Path:
    """The folder of a repository's model in the cache, to which it is fetched if it is not there yet.

    Without a network, or with ``HF_HUB_OFFLINE=1``, what is in the cache is taken.

    Args:
        name: ``organisation/name``.
        revision: branch, tag or commit; the main branch by default.
        local_files_only: do not ask the hub.
        token: for private repositories; by default ``HF_TOKEN``, or that of ``hf auth login``.

    Raises:
        CheckpointError: it could not be fetched; the text says why, and what to do.
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    try:
        hub = require("huggingface_hub", extra="hub")
    except MissingExtraError as error:
        raise MissingExtraError(f"there is no folder '{name}'; if it is a name on the hub: {error}") from error
    try:
        with _bars_on_terminals():
            found = hub.snapshot_download(
                name, revision=revision, allow_patterns=list(FILES), local_files_only=local_files_only, token=token
            )
    except Exception as error:  # the hub's, the network's and the disk's
        raise CheckpointError(_why_not(error, name, revision, local_files_only)) from error
    folder = Path(found)
    missing = [file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()]
    if missing:
        raise CheckpointError(f"'{name}' on the hub is no dynvae model: it has no {missing[0]}")
    return folder


def push(
    model: DVAE,
    name: str,
    *,
    card: Mapping[str, Any] | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> Published:
    """Publish a model: see :meth:`dynvae.models.DVAE.push_to_hub`."""
    check_repository(name)
    with tempfile.TemporaryDirectory() as folder:
        save(model, folder, {**(card or {}), "repository": name})
        return publish(folder, name, private=private, revision=revision, message=message, token=token)


def publish(
    folder: str | os.PathLike[str],
    name: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> Published:
    """Publish a saved model as it is, all three files in one commit; other files of the repository are left alone.

    Args:
        folder: of `dynvae.pretrained.save`; a damaged one is refused.
        name: ``organisation/name``; made where it is missing.
        private: whether a repository that is made is for those only who may see it.
        revision: the branch; made where it is missing. The main one by default.
        message: of the commit.
        token: one that may write; by default ``HF_TOKEN``, or that of ``hf auth login``.

    Raises:
        CheckpointError: the model is damaged, or the hub has refused; the text says why.
        ConfigError: that is no name for a repository.
        MissingExtraError: ``huggingface_hub`` is not installed.
    """
    check_repository(name)
    hub = require("huggingface_hub", extra="hub")
    folder = Path(folder)
    model = read(folder)
    api = hub.HfApi(token=token, library_name="dynvae")
    with _said(name), _bars_on_terminals():
        url = api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.create_commit(
            name,
            [hub.CommitOperationAdd(path_in_repo=file, path_or_fileobj=folder / file) for file in FILES],
            commit_message=message or f"{type(model).__name__} by dynvae",
            revision=revision,
        )
    return Published(str(url), revision or "main", commit.oid)


def check_repository(name: str) -> None:
    """Refuse what is no name for a repository.

    Raises:
        ConfigError: it is not ``organisation/name``.
    """
    found = address(name)
    if found is None or found[1] is not None:
        raise ConfigError(f"a repository of the hub is called organisation/name, not '{name[:200]}'")


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Keep the hub's progress bars from what is no terminal."""
    from huggingface_hub import utils

    quiet = not sys.stderr.isatty() and not utils.are_progress_bars_disabled()
    if quiet:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if quiet:
            utils.enable_progress_bars()


@contextmanager
def _said(name: str) -> Iterator[None]:
    """Turn what the hub refuses into one line."""
    try:
        yield
    except Exception as error:  # the hub's, the network's and the disk's
        response = getattr(error, "response", None)
        match getattr(response, "status_code", None):
            case 401:
                reason = f"the hub does not know who asks: {_LOG_IN}"
            case 403:
                reason = "the token may not write there; take one that may, or another name"
            case _ if _offline():
                reason = "HF_HUB_OFFLINE says not to ask the hub"
            case _:
                reason = _line(error)
        raise CheckpointError(f"'{name}' could not be published: {reason}") from error


def _why_not(error: Exception, name: str, revision: str | None, local: bool) -> str:
    """Why a model could not be fetched, in one line."""
    from huggingface_hub import errors

    known, begin = errors, f"'{name}' is no folder here and could not be fetched from the hub"
    at = "" if revision is None else f" at revision '{revision}'"
    match error:
        case known.GatedRepoError():
            return f"{begin}: its owner wants to be asked first; do so on its page, then {_LOG_IN}"
        case known.RevisionNotFoundError():
            return f"'{name}' on the hub has no revision '{revision}'; take a branch, a tag or a commit of it"
        case known.RepositoryNotFoundError():
            return f"{begin}: there is no such repository, or it is private; check the name, or {_LOG_IN}"
    if local or _offline():
        return (
            f"'{name}'{at} is no folder here and not in the cache, and could not be fetched from the hub, which is not "
            "to be asked (offline); fetch it once with a network, or give the path of a folder that holds the model"
        )
    return f"{begin} ({_line(error)}); check the name, or give the path of a folder that holds the model"


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
