"""Pages hold all they need, and nothing that is not escaped."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from dynvae.report import html, plots

VOID = {"meta", "img", "source", "br", "link"}


class Balance(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(text: str) -> None:
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    for source in re.findall(r'(?:src|srcset|href)="([^"]*)"', text):
        assert source.startswith(("data:", "#")), source
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", text))


def test_a_page_needs_nothing_but_itself() -> None:
    parts = [
        html.figure_of(plots.kl_bars([1.0]).figure, "KL of <each> dimension", "A & B"),
        html.audio(np.zeros(160), 16000, "silence"),
        html.table(["Run", "Time"], [["vae-seed0", "3 s"]], "Times"),
        html.definitions([("torch", "<2>")]),
        html.details("more", "<p>text</p>"),
    ]
    text = html.page("A < B", html.section("all", "All & more", *parts), lead="one & two")
    check_page(text)
    assert "<title>A &lt; B</title>" in text
    assert "one &amp; two" in text
    assert "prefers-color-scheme: dark" in text
    assert 'lang="en"' in text
    assert "<dd>&lt;2&gt;</dd>" in text


def test_figures_have_a_version_for_dark_pages() -> None:
    text = html.figure_of(plots.kl_bars([1.0]).figure, "bars")
    light, dark = re.findall(r"base64,([A-Za-z0-9+/=]+)", text)[::-1]
    assert light != dark
    assert base64.b64decode(light).startswith(b"\x89PNG")


def test_sound_is_in_the_page_and_clipped_not_wrapped() -> None:
    text = html.audio(np.array([0.0, 0.5, 2.0, -2.0]), 16000, 'say "hello"')
    content = base64.b64decode(re.findall(r"base64,([A-Za-z0-9+/=]+)", text)[0])
    waveform, rate = soundfile.read(io.BytesIO(content))
    assert rate == 16000
    assert waveform == pytest.approx([0.0, 0.5, 1.0, -1.0], abs=1e-4)
    assert "say &quot;hello&quot;" in text
