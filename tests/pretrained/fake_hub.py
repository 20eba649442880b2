"""A small hub on this machine: what huggingface_hub asks of the real one to publish and fetch models, and no more."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_owner"


@dataclass
class Repository:
    """Commits are folders of files; branches and tags are names of commits."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str) -> str:
        """Put files on top of a branch."""
        tree = {**self.commits.get(self.branches.get(branch, ""), {}), **files}
        content = json.dumps([len(self.commits), sorted((name, _digest(data)) for name, data in tree.items())])
        oid = hashlib.sha1(content.encode()).hexdigest()
        self.commits[oid] = tree
        self.branches[branch] = oid
        return oid

    def find(self, revision: str) -> str | None:
        """The commit of a branch, a tag or a commit's own name."""
        names = {**self.tags, **self.branches, **{oid: oid for oid in self.commits}}
        return names.get(revision)


class Hub(ThreadingHTTPServer):
    """The server; ``asked`` are the methods and paths of all requests so far."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that runs within a block."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for pattern, method in _ROUTES:
            if found := re.fullmatch(pattern, path):
                return method(self, body, *found.groups())
        return self._error(404, "EntryNotFound", f"nothing at {path}")

    # ---- publishing ----------------------------------------------------------------------------------------------

    def _create(self, body: bytes) -> None:
        if not self._owner():
            return self._error(401, "", "Invalid username or password.")
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "somebody-else":
            return self._error(403, "", "You don't have the rights to create a model under this namespace")
        if name in self.server.repositories:
            return self._json({"url": f"{self.server.url}/{name}"}, 409)
        repository = self.server.repositories[name] = Repository(asked.get("visibility") == "private")
        repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "main")
        return self._json({"url": f"{self.server.url}/{name}", "name": name})

    def _branch(self, body: bytes, name: str, branch: str) -> None:
        repository = self._open(name, write=True)
        if repository is None:
            return None
        if branch in repository.branches:
            return self._error(409, "", "Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        return self._json({})

    def _preupload(self, body: bytes, name: str, revision: str) -> None:
        if self._open(name, write=True) is None:
            return None
        files = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith("safetensors") else "regular",
             "shouldIgnore": False}
            for file in json.loads(body)["files"]
        ]  # fmt: skip
        return self._json({"files": files})

    def _card(self, body: bytes) -> None:
        """The hub looks at a card's front matter before it takes a commit."""
        asked = json.loads(body)
        parts = asked["content"].split("---\n")
        header = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
        errors = [] if isinstance(header.get("license", ""), str) else ["license is a text"]
        for index in header.get("model-index", []):
            for result in index["results"]:
                if not result["task"]["type"] or not {"type", "name"} <= set(result["dataset"]):
                    errors.append("a result has a task and a dataset")
                errors += [
                    "a metric has type and value" for one in result["metrics"] if not {"type", "value"} <= set(one)
                ]
        return self._json({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)

    def _batch(self, body: bytes, name: str) -> None:
        if self._open(name, write=True) is None:
            return None
        wanted = json.loads(body)["objects"]
        actions = [{**one, "actions": {"upload": {"href": f"{self.server.url}/store/{one['oid']}"}}} for one in wanted]
        return self._json({"transfer": "basic", "objects": actions})

    def _store(self, body: bytes, oid: str) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        if _digest(body) != oid:
            return self._error(400, "", "another content")
        self.server.stored[oid] = body
        return self._json({})

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _commit(self, body: bytes, name: str, revision: str) -> None:
        repository = self._open(name, write=True)
        if repository is None:
            return None
        if revision not in repository.branches:
            return self._error(404, "RevisionNotFound", "no such branch")
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
        oid = repository.commit(files, revision)
        return self._json({"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid})

    # ---- fetching ------------------------------------------------------------------------------------------------

    def _info(self, body: bytes, name: str, revision: str | None = None) -> None:
        repository = self._open(name)
        if repository is None:
            return None
        oid = repository.find(revision or "main")
        if oid is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        siblings = [{"rfilename": file} for file in sorted(repository.commits[oid])]
        return self._json({"id": name, "sha": oid, "private": repository.private, "siblings": siblings, "tags": []})

    def _tree(self, body: bytes, name: str, revision: str) -> None:
        repository = self._open(name)
        if repository is None:
            return None
        oid = repository.find(revision)
        if oid is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        rows = [
            {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for file, data in sorted(repository.commits[oid].items())
        ]
        return self._json(rows)

    def _resolve(self, body: bytes, name: str, revision: str, file: str) -> None:
        repository = self._open(name)
        if repository is None:
            return None
        oid = repository.find(revision)
        if oid is None:
            return self._error(404, "RevisionNotFound", "Invalid rev id")
        if file not in repository.commits[oid]:
            return self._error(404, "EntryNotFound", "Entry not found")
        data = repository.commits[oid][file]
        return self._send(data, 200, {"ETag": f'"{_digest(data)}"', "X-Repo-Commit": oid})

    # ---- answers -------------------------------------------------------------------------------------------------

    def _owner(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _open(self, name: str, write: bool = False) -> Repository | None:
        """The repository, or None when the answer has been that there is none, or none for the one who asks."""
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not self._owner()):
            return self._error(401 if not self._owner() else 404, "RepoNotFound", "Repository not found")
        if write and not self._owner():
            return self._error(401, "", "Invalid username or password.")
        return repository

    def _error(self, status: int, code: str, text: str) -> None:
        headers = {"X-Error-Message": text} | ({"X-Error-Code": code} if code else {})
        self._send(json.dumps({"error": text}).encode(), status, headers)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


_NAME = r"([\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[str, Any]] = [
    (r"/api/repos/create", _Handler._create),
    (r"/api/validate-yaml", _Handler._card),
    (rf"/api/models/{_NAME}/branch/(.+)", _Handler._branch),
    (rf"/api/models/{_NAME}/preupload/(.+)", _Handler._preupload),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler._batch),
    (r"/store/(\w+)", _Handler._store),
    (rf"/api/models/{_NAME}/commit/(.+)", _Handler._commit),
    (rf"/api/models/{_NAME}/revision/(.+)", _Handler._info),
    (rf"/api/models/{_NAME}/tree/([^/]+)", _Handler._tree),
    (rf"/api/models/{_NAME}", _Handler._info),
    (rf"/{_NAME}/resolve/([^/]+)/(.+)", _Handler._resolve),
]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
