"""Pictures of the demo for the documentation: ``python tools/screenshots.py [FOLDER]``, docs/images/demo by default.

All that they show is made up on the spot. They need Chromium and its driver; look at them before they are committed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.app.browser import Page, opened, served  # noqa: E402


def enhance(page: Page) -> None:
    """A voice in the rain, enhanced."""
    page.tab("Enhance")
    page.press("enhance-example")
    page.wait(lambda: page.source("enhance-in"), "the example")
    page.press("enhance-go")
    page.heard("enhance-after")


def explore(page: Page) -> None:
    """A voice with the latents of another."""
    page.tab("Resynthesise & explore")
    page.press("explore-example")
    page.wait(lambda: page.source("explore-in") and page.source("explore-second"), "the example")
    page.choose("explore-kind", "swap")
    page.press("explore-go")
    page.heard("explore-after")


def generate(page: Page) -> None:
    """Two drawn clips."""
    page.tab("Generate")
    page.press("generate-go")
    page.heard("generate-out-2")


def family(page: Page) -> None:
    """The SRNN."""
    page.tab("The family")
    page.wait(lambda: page.all("#family-story .katex"), "formulas")


def separate(page: Page) -> None:
    """A flute and a voice."""
    page.tab("Separate")
    page.press("separate-example")
    page.wait(lambda: page.source("separate-in"), "the example")
    page.press("separate-go")
    page.heard("separate-out-2")


def track(page: Page) -> None:
    """Six walkers."""
    page.tab("Track")
    page.press("track-example")
    page.wait(lambda: page.all("#track-truth .file-preview"), "the example")
    page.press("track-go")
    page.wait(lambda: page.all("#track-scores table"), "the scores")


def lips(page: Page) -> None:
    """A drawn face."""
    page.tab("Lips")
    page.press("lips-example")
    page.wait(lambda: page.source("lips-in"), "the example")
    page.press("lips-go")
    page.wait(lambda: page.all("#lips-strip img"), "the strip")


TABS: dict[str, Callable[[Page], None]] = {
    each.__name__: each for each in (enhance, explore, generate, family, separate, track, lips)
}


def take(address: str, folder: Path, *names: str) -> None:
    """Take the pictures of some tabs; or of all, of one in the dark and of one on a narrow page.

    Args:
        address: of the server.
        folder: where they are written.
        names: of the tabs.
    """
    with opened(address, (1180, 800)) as page:
        for name in names or TABS:
            page.resize(1180, 800)
            TABS[name](page)
            time.sleep(1)
            page.photograph(folder / f"{name}.png")
    if not names:
        for name, size, dark in (("dark", (1180, 800), True), ("narrow", (420, 800), False)):
            with opened(address, size, dark=dark) as page:
                enhance(page)
                time.sleep(1)
                page.photograph(folder / f"{name}.png")


if __name__ == "__main__":
    with served() as address:
        take(address, Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "demo", *sys.argv[2:])
