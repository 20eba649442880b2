"""A first click on every tab, with its example: what a visitor does who has brought nothing."""

from __future__ import annotations

from collections.abc import Callable

from tests.app.browser import Page


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
