"""Markdown files that live elsewhere in the repository and are pages here too, under ``repository/``.

Their relative links, and those of other pages to them, are written for a reader of the repository. They are turned, as
a page is read, into links within the documentation; a file that is no page becomes a download. So the same links hold
in both places.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

PATTERNS = ("recipes/*/*.md", "benchmarks/*.md", "benchmarks/results/**/*.md", "[CS]*.md")
FOLDER = "repository"
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_CODE = re.compile(r"(^```.*?^```[ ]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+)(?= )", re.MULTILINE)


def guests(root: Path) -> dict[str, Path]:
    """The names of the pages, and the files that they are."""
    found = sorted({path for pattern in PATTERNS for path in root.glob(pattern)})
    return {f"{FOLDER}/{path.relative_to(root).with_suffix('').as_posix()}": path for path in found}


def write_if_new(path: Path, text: str) -> None:
    """Write a page only where it says something new, for Sphinx reads again what has changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def invite(app: Any, config: Any) -> None:
    """Copy the files in, and drop those that are gone."""
    docs = Path(app.srcdir)
    pages = guests(docs.parent)
    for name, path in pages.items():
        write_if_new(docs / f"{name}.md", path.read_text(encoding="utf-8"))
    for old in (docs / FOLDER).rglob("*.md"):
        if old.relative_to(docs).with_suffix("").as_posix() not in pages:
            old.unlink()


def translate(app: Any, name: str, source: list[str]) -> None:
    """Turn the links of a page."""
    docs = Path(app.srcdir)
    root = docs.parent
    pages = guests(root)
    here = pages.get(name, docs / f"{name}.md").parent
    names = {path: f"/{guest}.md" for guest, path in pages.items()} | {root / "README.md": "/index.md"}

    def turn(match: re.Match[str]) -> str:
        before, link, anchor, after = match[1], match[2], match[3] or "", match[4]
        if ":" in link or link.startswith("/"):
            return match[0]
        target = Path(os.path.normpath(here / link))
        if target in names:
            link = names[target]
        elif target.is_relative_to(docs) and target.exists():
            link = f"/{target.relative_to(docs).as_posix()}"
        elif target.is_file():
            link = Path(os.path.relpath(target, (docs / name).parent)).as_posix()
        return f"{before}{link}{anchor}{after}"

    parts = _CODE.split(source[0])
    source[0] = "".join(part if at % 2 else _LINK.sub(turn, part) for at, part in enumerate(parts))
    if name in pages:
        source[0] = in_order(source[0].replace("```csv", "```text"), here.name, pages[name].stem)


def in_order(text: str, folder: str, stem: str) -> str:
    """The text with a title, and with headings that leave no level out."""
    above: list[int] = []

    def level(heading: re.Match[str]) -> str:
        while above and above[-1] >= len(heading[1]):
            above.pop()
        above.append(len(heading[1]))
        return "#" * len(above)

    parts = _CODE.split(text if text.startswith("# ") else f"# {folder}: {stem}\n\n{text}")
    return "".join(part if at % 2 else _HEADING.sub(level, part) for at, part in enumerate(parts))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("config-inited", invite)
    app.connect("source-read", translate)
    return {"parallel_read_safe": True}
