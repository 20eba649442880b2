"""The gate before gradio: routes, sizes, names and messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynvae.app.gate import Gate, opens, remote_file, renamed

API = "/gradio_api"


class Inside:
    """An application that remembers what came to it."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.broken = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            self.broken = self.broken or message["type"] == "http.disconnect"
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.body = body
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"ok"})


def ask(
    method: str, path: str, body: bytes = b"", pieces: int = 1, length: int | None = None, megabytes: float = 0.2
) -> tuple[int, dict[bytes, bytes], Inside]:
    """Send a request through the gate: status, headers, and what was inside."""
    inside, sent = Inside(), list[Any]()
    size = max(1, -(-len(body) // pieces))
    parts: Iterator[bytes] = iter([body[at : at + size] for at in range(0, len(body), size)] or [b""])
    left = [len(body)]

    async def receive() -> dict[str, Any]:
        part = next(parts, b"")
        left[0] -= len(part)
        return {"type": "http.request", "body": part, "more_body": left[0] > 0}

    async def send(message: Any) -> None:
        sent.append(message)

    told = len(body) if length is None else length
    scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-length", str(told).encode())]}
    asyncio.run(Gate(inside, megabytes)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), inside


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/theme.css", "/assets/index.js", "/static/img/logo.svg", f"{API}/file=/tmp/x/a.wav",
     f"{API}/heartbeat/abc", f"{API}/queue/data", f"{API}/upload_progress"],
)  # fmt: skip
def test_what_the_page_needs_is_open(path: str) -> None:
    assert opens("GET", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"{API}/file=https://example.org/a.wav"), ("GET", f"{API}/file=HTTP://example.org"),
     ("GET", f"{API}/proxy=https://example.org"), ("GET", "/llms.txt"), ("GET", f"{API}/runs"), ("GET", "/monitoring"),
     ("GET", f"{API}/openapi.json"), ("POST", f"{API}/run/enhance"), ("POST", f"{API}/api/enhance"),
     ("POST", f"{API}/component_server"), ("POST", f"{API}/vibe-edit"), ("POST", f"{API}/process_recording"),
     ("GET", f"{API}/file/etc/passwd"), ("GET", f"{API}/custom_component/1/client/component/x.js"),
     ("GET", f"{API}/dev/reload"), ("GET", f"{API}/deep_link"), ("DELETE", "/"), ("PUT", f"{API}/upload"),
     ("GET", "/assetsx"), ("GET", "/login")],
)  # fmt: skip
def test_everything_else_is_shut(method: str, path: str) -> None:
    assert not opens(method, path)
    status, _, inside = ask(method, path)
    assert status == 404
    assert inside.body is None


def test_answers_tell_the_browser_to_stay_at_home() -> None:
    status, headers, _ = ask("GET", "/")
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    "message",
    [{"data": [{"path": "http://example.org/a.wav"}]}, {"data": [[{"x": {"path": "https://example.org"}}]]},
     {"path": "file:///etc/passwd"}, {"path": "ftp://example.org/"}],
)  # fmt: skip
def test_files_of_other_hosts_are_not_fetched(message: Any) -> None:
    assert remote_file(message)
    assert ask("POST", f"{API}/queue/join", json.dumps(message).encode())[0] == 400


def test_messages_pass_as_they_are() -> None:
    body = json.dumps({"data": [{"path": "/tmp/a.wav", "url": "http://127.0.0.1/gradio_api/file=/tmp/a.wav"}, 3]})
    status, _, inside = ask("POST", f"{API}/queue/join", body.encode(), pieces=5)
    assert status == 200
    assert inside.body == body.encode()


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"\xff\xfe", b"nonsense"])
def test_messages_that_are_none_are_refused(body: bytes) -> None:
    assert ask("POST", f"{API}/queue/join", body)[0] == 400


def test_large_messages_are_refused_whatever_they_say_of_themselves() -> None:
    body = b"[" + b"1," * 200_000 + b"1]"
    assert ask("POST", f"{API}/queue/join", body)[0] == 413
    assert ask("POST", f"{API}/queue/join", body, pieces=50, length=10)[0] == 400


def upload(name: str, content: bytes) -> bytes:
    """The body of an upload."""
    head = f'--xyz\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: a/b\r\n\r\n'
    return head.encode() + content + b"\r\n--xyz--\r\n"


@pytest.mark.parametrize("pieces", [1, 7, 400])
@pytest.mark.parametrize("name", ["../../etc/passwd.wav", "a" * 5000 + ".wav", "träumerei\t\\x.WAV", "C:\\boot.wav"])
def test_uploads_get_a_name_of_ours(name: str, pieces: int) -> None:
    content = bytes(range(256)) * 4
    status, _, inside = ask("POST", f"{API}/upload", upload(name, content), pieces)
    assert status == 200
    head, _, rest = (inside.body or b"").partition(b"\r\n\r\n")
    given = head.split(b'filename="')[1].split(b'"')[0]
    assert given.endswith(b".wav")
    assert len(given) == 28
    assert rest == content + b"\r\n--xyz--\r\n"


def test_two_uploads_of_one_name_get_two() -> None:
    bodies = {ask("POST", f"{API}/upload", upload("a.wav", b"x"))[2].body for _ in range(2)}
    assert len(bodies) == 2


def test_a_second_name_does_not_win() -> None:
    head = b'Content-Disposition: form-data; name="files"; filename="a.wav"; filename*=UTF-8\'\'..%2Fevil.html'
    assert b"evil" not in renamed(head, "b2")


@pytest.mark.parametrize("name", ["a.wav.", "a", ".bashrc", "a.w?v", "a.toolong", "..", "a. wav", "a.<b>"])
def test_odd_suffixes_are_dropped(name: str) -> None:
    head = f'Content-Disposition: form-data; name="files"; filename="{name}"'.encode()
    assert renamed(head, "b2").endswith(b'filename="b2"')


def test_large_uploads_are_refused_or_broken_off() -> None:
    body = upload("a.wav", bytes(400_000))
    assert ask("POST", f"{API}/upload", body)[0] == 413
    _, _, inside = ask("POST", f"{API}/upload", body, pieces=100, length=100)
    assert inside.broken
    assert len(inside.body or b"") < 300_000


def test_suffixes_lead_nowhere() -> None:
    assert Path(renamed(b'filename="../x.wav"', "q").decode().split('"')[1]).name == "q.wav"
