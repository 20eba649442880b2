"""What stands before gradio: the few routes that the page needs, uploads by names of the server's own, no way out."""

from __future__ import annotations

__all__ = ["Gate", "opens", "remote_file", "renamed"]

import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import PurePosixPath
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_API = "/gradio_api"
_UPLOAD = f"{_API}/upload"
_READ = (
    re.compile(r"/|/(config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt)"),
    re.compile(r"/(assets|static|svelte)/.*"),
    re.compile(rf"{_API}/(info|app_id|theme\.css|startup-events|upload_progress|queue/data)/?"),
    re.compile(rf"{_API}/(heartbeat|call)/.*"),
    re.compile(rf"{_API}/file=(?!\s*https?:).*", re.IGNORECASE),
)
_WRITE = (re.compile(rf"{_API}/(upload|queue/join|cancel|reset)/?"), re.compile(rf"{_API}/call/.*"))
_LARGEST_MESSAGE = 1 << 18
_LONGEST_HEAD = 1 << 14
_SPARE = 1 << 16  # bytes of an upload that are not the file's
_FILENAME = re.compile(rb'filename\*?="?((?:\\.|[^"\\\r\n])*)"?', re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")
_HEADERS = [
    # A browser that is told so fetches nothing from anywhere else, whatever the page's scripts want.
    (b"content-security-policy", b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; "
     b"base-uri 'self'; form-action 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]  # fmt: skip


def opens(method: str, path: str) -> bool:
    """Whether the page needs this route. gradio has others, which fetch from other hosts or tell of the server.

    Example:
        >>> opens("GET", "/gradio_api/file=/tmp/a.wav"), opens("GET", "/gradio_api/file=https://example.org")
        (True, False)
    """
    routes = {"GET": _READ, "HEAD": _READ, "POST": _WRITE}.get(method, ())
    return any(route.fullmatch(path) for route in routes)


def remote_file(message: Any) -> bool:
    """Whether a message of an event names a file on another host, which gradio would fetch."""
    todo = [message]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and "://" in path:
                return True
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return False


def renamed(head: bytes, name: str) -> bytes:
    """The head of an uploaded file with a name of ours; of the visitor's own only a plain suffix is kept.

    Example:
        >>> renamed(b'Content-Disposition: form-data; name="files"; filename="../../My voice.wav"', "a1")
        b'Content-Disposition: form-data; name="files"; filename="a1.wav"'
    """
    found = _FILENAME.search(head)
    if found is None:
        return head
    suffix = PurePosixPath(found[1].decode("utf-8", "replace").replace("\\", "/")).suffix
    suffix = suffix.lower() if _SUFFIX.fullmatch(suffix) else ""
    rest = _FILENAME.sub(b"", head[found.end() :])  # a second name would win
    return head[: found.start()] + f'filename="{name}{suffix}"'.encode() + rest


class Gate:
    """An ASGI application around another one.

    Args:
        app: the other one.
        megabytes: of an upload.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], megabytes: float) -> None:
        self.app, self.bytes = app, int(megabytes * 1e6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
        if not opens(scope["method"], path):
            await _refuse(send, 404, "there is nothing here")
            return
        if scope["method"] == "POST":
            upload = path.rstrip("/") == _UPLOAD
            most = self.bytes + _SPARE if upload else _LARGEST_MESSAGE
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if not length.isdigit() or int(length) > most:
                await _refuse(send, 413, f"at most {self.bytes / 1e6:g} MB are taken")
                return
            if upload:
                receive = _Upload(receive, most)
            else:
                body = await _whole(receive, most)
                try:
                    message = None if body is None else json.loads(body or b"null")
                except (ValueError, RecursionError):
                    body = None
                if body is None or remote_file(message):
                    await _refuse(send, 400, "this message cannot be used")
                    return
                receive = _replayed(body, receive)

        async def dressed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self.app(scope, receive, dressed)


class _Upload:
    """The body of an upload, its first file renamed, cut off where it becomes too large."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive, self.left = receive, most
        self.head: bytes | None = b""

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self.receive()
        if message["type"] != "http.request":
            return message
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            return {"type": "http.disconnect"}
        if self.head is None:
            return message
        self.head += message.get("body", b"")
        more = message.get("more_body", False)
        head, blank, rest = self.head.partition(b"\r\n\r\n")
        if not blank and more and len(self.head) < _LONGEST_HEAD:
            return {"type": "http.request", "body": b"", "more_body": True}
        self.head = None
        return {"type": "http.request", "body": renamed(head, secrets.token_hex(12)) + blank + rest, "more_body": more}


async def _whole(receive: Receive, most: int) -> bytes | None:
    """A whole body; None if it is too large or breaks off."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if message["type"] != "http.request" or len(body) > most:
            return None
    return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, and then whatever comes."""
    given = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
