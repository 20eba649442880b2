"""Pictures of the demo for the documentation: ``python tools/screenshots.py [--models A,B] [--out FOLDER] [TAB ...]``.

All that they show is made up on the spot. They need Chromium and its driver; look at them before they are committed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.app.browser import opened, served  # noqa: E402
from tests.app.visits import TABS, enhance  # noqa: E402


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
    parser = argparse.ArgumentParser(description="Pictures of the demo for the documentation.")
    parser.add_argument("tabs", nargs="*", help=f"{', '.join(TABS)}; all, and two more pictures, by default")
    parser.add_argument("--models", help="as of dynvae serve")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "demo", help="where they are written")
    words = parser.parse_args()
    with served(*(["--models", words.models] if words.models else [])) as place:
        take(place, words.out, *words.tabs)
