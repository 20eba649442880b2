"""The demo in a browser without a screen: what its tests and the script that takes its screenshots share."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

BROWSER, DRIVER = "chromium", "chromedriver"
_SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1")  # fmt: skip
_PATIENCE = 90.0  # seconds; machines are shared


def missing() -> str:
    """What is not installed that a browser test needs; empty if all is there."""
    found = [name for name in (BROWSER, DRIVER) if shutil.which(name) is None]
    return f"{' and '.join(found)} not installed" if found else ""


def absent(*modules: str) -> str:
    """Which of these are not installed, without importing one; empty if all are."""
    found = [name for name in modules if importlib.util.find_spec(name) is None]
    return f"{', '.join(found)} not installed" if found else ""


@contextlib.contextmanager
def served(*options: str, **environment: str) -> Iterator[str]:
    """``dynvae serve`` in a process of its own, with these options and variables, and its address."""
    command = [sys.executable, "-m", "dynvae", "serve", "--port", "0", *options]
    own = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http" in line, f"the server did not start: {line!r}, exit code {process.poll()}"
        yield next(word for word in line.split() if word.startswith("http"))
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def fetch(address: str) -> bytes:
    """What an address of the server gives."""
    with urllib.request.urlopen(address, timeout=60) as answer:
        return bytes(answer.read())


class Page:
    """The demo's page in a browser.

    Args:
        address: of the server.
        size: of the window.
        dark: show it dark.
    """

    def __init__(self, address: str, size: tuple[int, int] = (1280, 900), *, dark: bool = False) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self.address, self.folder = address, tempfile.mkdtemp(prefix="dynvae-browser-")
        options = webdriver.ChromeOptions()
        for switch in (*_SWITCHES, f"--user-data-dir={self.folder}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(switch)
        options.binary_location = shutil.which(BROWSER) or BROWSER
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which(DRIVER)))
        # Headless windows have a least width; this one does not.
        self.resize(*size)
        self.driver.get(f"{address}?__theme={'dark' if dark else 'light'}")
        self.wait(lambda: self.all("button[role=tab]"), "the tabs")

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def all(self, selector: str) -> list[Any]:
        """The elements of a CSS selector that are shown."""
        return [element for element in self.driver.find_elements("css selector", selector) if element.is_displayed()]

    def wait(self, done: Callable[[], Any], what: str, *, complaints: bool = False) -> Any:
        """Wait until something is true, and return it; unless they are welcome, the page's complaints end it, too."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(StaleElementReferenceException):
                if found := done():
                    return found
                assert complaints or not (told := self.complaints()), f"no {what}; the page complains: {told}"
            time.sleep(0.1)
        raise AssertionError(f"waited {_PATIENCE:g} s in vain for {what}")

    def tab(self, name: str) -> None:
        """Open a tab."""
        script = """for (const each of document.querySelectorAll('button[role=tab], .overflow-dropdown button'))
            if (each.textContent.trim() === arguments[0]) { each.click(); return; }"""
        self.driver.execute_script(script, name)
        chosen = "button[role=tab][aria-selected=true]"
        self.wait(lambda: name in [button.text.strip() for button in self.all(chosen)], f"the tab {name}")

    def press(self, identity: str) -> None:
        """Press the button of an id."""
        button = self.wait(lambda: self.all(f"button#{identity}, #{identity} button"), f"the button {identity}")[0]
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()

    def choose(self, identity: str, value: str) -> None:
        """Choose an option of a group of radio buttons."""
        button = self.driver.find_element("css selector", f"#{identity} input[value='{value}']")
        self.driver.execute_script("arguments[0].click()", button)

    def pick(self, identity: str, text: str) -> None:
        """Pick a choice of a list that unfolds."""
        from selenium.webdriver.common.keys import Keys

        field = self.driver.find_element("css selector", f"#{identity} input")
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)

    def clear(self, identity: str) -> None:
        """Take away what a component holds, if anything."""
        for button in self.all(f"#{identity} button[aria-label=Clear]"):
            button.click()
            self.wait(lambda: not self.source(identity), f"{identity} to be empty")

    def give(self, identity: str, path: Path) -> None:
        """Upload a file to the component of an id."""
        fields = self.driver.find_elements("css selector", f"#{identity} input[type=file]")
        assert fields, f"{identity} takes no file"
        fields[0].send_keys(str(path))

    def width(self) -> int:
        """How wide the page is; more than the window where something sticks out."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth"))

    def text(self, identity: str) -> str:
        """The text of the component of an id; empty if it is not there."""
        found = self.driver.find_elements("css selector", f"#{identity}")
        return found[0].text if found else ""

    def complaints(self) -> list[str]:
        """The messages that the page shows in its corner."""
        found = self.driver.find_elements("css selector", ".toast-message-text")
        return [(toast.get_attribute("textContent") or "").strip() for toast in found]

    def dismiss(self) -> None:
        """Close these messages."""
        for button in self.driver.find_elements("css selector", ".toast-close"):
            self.driver.execute_script("arguments[0].click()", button)
        self.wait(lambda: not self.complaints(), "the messages to go", complaints=True)

    def source(self, identity: str) -> str:
        """The address of what a player plays; empty as long as it has nothing."""
        script = """const root = document.querySelector('#' + arguments[0]); if (!root) return '';
            const link = root.querySelector('a[download]'), tag = root.querySelector('audio[src], video[src]');
            return (link && link.href) || (tag && tag.src) || '';"""
        return str(self.driver.execute_script(script, identity) or "")

    def heard(self, identity: str, before: str = "") -> tuple[NDArray[np.float32], int]:
        """What a player plays: samples ``(samples, channels)`` and rate.

        Args:
            identity: of the player.
            before: the address of what it played until now, which is over.
        """

        def done() -> str:
            now = self.source(identity)
            return now if now != before else ""

        address = self.wait(done, f"sound in {identity}")
        return soundfile.read(io.BytesIO(fetch(address)), dtype="float32", always_2d=True)

    def requests(self) -> set[str]:
        """The addresses that the page has asked for since the last call."""
        import json

        messages = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return {each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"}

    def errors(self) -> list[str]:
        """What the browser's console has complained of since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def photograph(self, path: Path, *, colours: int = 256) -> None:
        """Take a picture of the whole page, with few colours, so that the file is small."""
        from PIL import Image

        height = self.driver.execute_script("return document.querySelector('.gradio-container').scrollHeight")
        width = self.driver.execute_script("return window.innerWidth")
        self.resize(width, int(height))
        time.sleep(0.6)
        picture = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)


@contextlib.contextmanager
def opened(address: str, size: tuple[int, int] = (1280, 900), *, dark: bool = False) -> Iterator[Page]:
    """The page, as long as it is needed."""
    page = Page(address, size, dark=dark)
    try:
        yield page
    finally:
        page.close()


def strangers(addresses: Sequence[str] | set[str], home: str) -> list[str]:
    """Those addresses that lie on other hosts."""
    return sorted(each for each in addresses if not each.startswith((home, "data:", "blob:", "about:", "chrome")))
