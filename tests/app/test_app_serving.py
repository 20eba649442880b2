"""The server is started with what it needs, or not at all, and goes without a trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dynvae.app.serving import Serving, _own_folder, _signals, serve
from dynvae.cli import main
from dynvae.errors import MissingExtraError


def test_a_port_that_is_taken_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        port = door.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"dynvae serve: 127.0.0.1, port {port}, cannot be listened on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["--host", "192.0.2.1", "--port", "0"], "cannot be listened on"), (["--port", "99999"], "cannot be listened on"),
     (["--jobs", "0"], "the limit of jobs is positive"), (["--max-seconds", "-1"], "the limit of seconds is positive"),
     (["--max-channel", "2"], "did you mean '--max-channels'")],
)  # fmt: skip
def test_settings_that_cannot_be(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words]) == 2
    assert complaint in capsys.readouterr().err


def test_without_gradio_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingExtraError, match=r"gradio is not installed; get it with: pip install 'dynvae\[demo\]'"):
        serve(Serving(port=0))
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_the_folder_and_the_environment_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    with _own_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        (folder / "a").mkdir()
        (folder / "a" / "b").write_text("kept by nobody")
    assert not folder.exists()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "True"
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_signals_tell_which_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as error, _signals():
        signal.raise_signal(signal.SIGTERM)
    assert error.value.signum == signal.SIGTERM  # type: ignore[attr-defined]
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_left_alone_in_other_threads() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with _signals():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_the_rooms_of_the_demo_bring_no_gradio(tmp_path: Path) -> None:
    code = """import sys, dynvae.app, dynvae.app.page, dynvae.cli.serve
assert not {"gradio", "matplotlib", "av", "cv2"} & set(sys.modules), sorted(sys.modules)"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert not list(tmp_path.iterdir())
