"""The server of the demo: started, kept to itself, and gone without a trace."""

from __future__ import annotations

__all__ = ["Serving", "serve", "sweep"]

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynvae.app.gate import Gate
from dynvae.app.limits import Limits
from dynvae.app.shelf import Shelf
from dynvae.errors import ConfigError, require

_ROUND = 30.0  # seconds between two looks at what is old


@dataclass(frozen=True)
class Serving:
    """How the demo is served.

    Args:
        host: address that it listens on; the default answers this machine alone.
        port: 0 takes one that is free.
        models: beside the bundled ones: folders of models or runs, names on the hub.
        device: where models run.
        limits: of what visitors may ask for.
        root_path: where a reverse proxy shows the page, e.g. ``/dynvae``.
        browser: open the page in a browser.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    models: tuple[str, ...] = ()
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    root_path: str = ""
    browser: bool = False


def serve(way: Serving, ready: Callable[[str], None] = print) -> None:
    """Serve the demo until SIGINT or SIGTERM.

    Uploads and results lie in a folder of their own below the system's temporary one, which goes with the server.
    gradio's telemetry, its public tunnel and its routes to other hosts are off.

    Args:
        way: how.
        ready: told the address, once the page can be seen.

    Raises:
        MissingExtraError: gradio is not installed.
        ConfigError: the port is taken or the address not of this machine.
        CheckpointError: a model cannot be loaded.
        KeyboardInterrupt: at the end, with the signal as ``signum``.
    """
    port = _checked_port(way.host, way.port)
    with _signals(), _own_folder() as folder:
        gradio = require("gradio", "demo")
        for extra, module in {"report": "matplotlib.figure", "video": "av", "tracking": "scipy.optimize"}.items():
            require(module, extra)  # before somebody clicks, not then
        from dynvae.app.page import STYLE, build, theme

        shelf = Shelf(way.models, way.device)
        page = build(gradio, shelf, way.limits, folder)
        page.queue(max_size=way.limits.waiting, api_open=False)
        middleware = require("starlette.middleware", "demo").Middleware(Gate, megabytes=way.limits.megabytes)
        _, address, _ = page.launch(
            server_name=way.host, server_port=port, root_path=way.root_path or None, share=False, quiet=True,
            inbrowser=way.browser, prevent_thread_lock=True, allowed_paths=[], footer_links=[], run_history=False,
            enable_monitoring=False, ssr_mode=False, mcp_server=False, pwa=False, strict_cors=True,
            max_file_size=int(way.limits.megabytes * 1e6), state_session_capacity=200, theme=theme(gradio),
            css=STYLE, app_kwargs={"middleware": [middleware]},
        )  # fmt: skip
        ready(address)
        try:
            while True:
                time.sleep(_ROUND)
                sweep(folder, 60 * way.limits.minutes)
        finally:
            with contextlib.redirect_stdout(None):
                page.close(verbose=False)


def sweep(folder: Path, seconds: float) -> None:
    """Delete what lies in a folder and is older: uploads, whole or broken off, and results.

    Args:
        folder: of the server.
        seconds: age from which on a file is deleted.
    """
    now = time.time()
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
        with contextlib.suppress(OSError):
            status = path.lstat()
            if now - max(status.st_mtime, status.st_ctime) > seconds:
                path.rmdir() if path.is_dir() else path.unlink()


def _checked_port(host: str, port: int) -> int:
    """A port that can be listened on, before a page is built for nothing; 0 finds one."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as door:
            if os.name != "nt":  # where it would let two servers listen at once
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((host, port))
            return int(door.getsockname()[1])
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{host}, port {port}, cannot be listened on ({reason}); choose others by --host and --port"
        ) from error


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for gradio's files, and an environment in which it is silent; both are undone."""
    folder = Path(tempfile.mkdtemp(prefix="dynvae-serve-"))
    own = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield folder
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends the server as SIGINT does, so that its folder goes with it."""

    def stop(signum: int, frame: Any) -> None:
        error = KeyboardInterrupt("stopped")
        error.signum = signum  # type: ignore[attr-defined]
        raise error

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
