"""Pages that the code writes about itself, in ``reference/generated/``: verbs, settings, models, the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import api_pages
import setting_pages
import zoo_pages
from guests import write_if_new

FOLDER = Path("reference/generated")


def generate(app: Any, config: Any) -> None:
    """Write all pages, and drop those of what is gone."""
    folder = Path(app.srcdir) / FOLDER
    pages = {**setting_pages.pages(), **zoo_pages.pages(folder), **api_pages.pages()}
    for name, text in pages.items():
        write_if_new(folder / f"{name}.md", text)
    for old in folder.rglob("*.md"):
        if old.relative_to(folder).with_suffix("").as_posix() not in pages:
            old.unlink()


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", generate)
    return {"parallel_read_safe": True}
