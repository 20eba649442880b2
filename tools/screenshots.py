"""Pictures of the demo for the documentation: ``python tools/screenshots.py [FOLDER]``, docs/images/demo by default.

All that they show is made up on the spot. They need Chromium and its driver; look at them before they are committed.
"""

from __future__ import annotations

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
    with served() as address:
        take(address, Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "demo", *sys.argv[2:])
