"""Pieces of an HTML page that needs nothing but itself: images and sound are inside it, and it fetches nothing."""

from __future__ import annotations

__all__ = ["audio", "definitions", "details", "figure_of", "image", "page", "section", "table"]

import base64
import io
import os
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dynvae.files import atomic_write
from dynvae.report.style import png

_STYLE = """
:root { color-scheme: light dark; --ink: #23272e; --soft: #5d6673; --paper: #ffffff; --line: #d9dde3; --tint: #f3f5f8;
  --mark: #1d5fae; }
@media (prefers-color-scheme: dark) { :root { --ink: #d7dbe2; --soft: #9aa3b0; --paper: #16191f; --line: #3a404b;
  --tint: #1f242c; --mark: #7fb2f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.2rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; } p { max-width: 48rem; margin: .4rem 0; } a { color: var(--mark); }
.soft, figcaption, caption, small { color: var(--soft); } .wide { overflow-x: auto; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; }
th, td { padding: .34rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { vertical-align: bottom; white-space: normal; border-bottom-width: 2px; }
th[scope=row], thead th:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
tbody tr:hover, tbody tr:hover th { background: var(--tint); }
td strong { color: var(--mark); }
figure { margin: .6rem 0; } figure img { max-width: 100%; height: auto; display: block; border-radius: 6px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: .6rem 1.2rem; }
.pictures { grid-template-columns: repeat(auto-fill, minmax(min(34rem, 100%), 1fr)); }
.sounds { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .5rem 1.2rem; }
.sounds label, .sounds span { display: block; font-size: .88rem; } audio { width: 100%; height: 2.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--mark); }
pre { background: var(--tint); padding: .7rem; overflow-x: auto; font-size: .85rem; border-radius: 6px; }
.problem { border-left: 4px solid #c94f4f; padding: .2rem .8rem; }
"""


def page(title: str, body: str, *, lead: str = "") -> str:
    """A whole page.

    Args:
        title: in the window and on top.
        body: its content, HTML.
        lead: a line under the title, text.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1>\n<p class="soft">{escape(lead)}</p></header>\n<main>\n{body}\n</main>\n'
        "</body>\n</html>\n"
    )


def section(anchor: str, title: str, *parts: str) -> str:
    """A section with a heading that the page's contents can lead to."""
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{escape(anchor)}" aria-labelledby="{escape(anchor)}-title">\n' \
           f'<h2 id="{escape(anchor)}-title">{escape(title)}</h2>\n{inside}\n</section>'  # fmt: skip


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def image(content: bytes, alt: str, *, dark: bytes | None = None) -> str:
    """A PNG inside the page, in another version for dark pages if there is one.

    Args:
        content: of the PNG file.
        alt: what it shows, for those who do not see it.
        dark: of the version for dark pages.
    """
    source = ""
    if dark is not None:
        source = f'<source media="(prefers-color-scheme: dark)" srcset="{_data(dark, "image/png")}">'
    return f'<picture>{source}<img src="{_data(content, "image/png")}" alt="{escape(alt)}"></picture>'


def figure_of(drawing: Any, alt: str, caption: str = "", *, file: str | os.PathLike[str] | None = None) -> str:
    """A drawn figure, light and dark, with a caption.

    Args:
        drawing: a figure of matplotlib.
        alt: what it shows, for those who do not see it.
        caption: text below it.
        file: where to write the light version as well.
    """
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    light = png(drawing)
    if file is not None:
        with atomic_write(file) as temp:
            temp.write_bytes(light)
    return f"<figure>{image(light, alt, dark=png(drawing, dark=True))}{below}</figure>"


def audio(waveform: ArrayLike, sample_rate: int, label: str) -> str:
    """A player for a waveform, which is inside the page as 16-bit WAV; what is beyond full scale is clipped.

    Args:
        waveform: ``(samples,)``.
        sample_rate: in Hz.
        label: what is heard.
    """
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(np.asarray(waveform), -1, 1), sample_rate, subtype="PCM_16", format="WAV")
    source = _data(buffer.getvalue(), "audio/wav")
    return f'<div><span>{escape(label)}</span><audio controls preload="none" aria-label="{escape(label)}" ' \
           f'src="{source}"></audio></div>'  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A plain table of text; the first cell of a row is its heading."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{title}<thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they mean."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in pairs)}</dl>"


def details(summary: str, inside: str) -> str:
    """Something that opens when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>\n{inside}\n</details>"
