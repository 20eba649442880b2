"""The page in a browser without a screen: every tab is visited, used, and listened to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.app import visits
from tests.app.browser import Page, absent, missing, opened, strangers

LACKING = missing() or absent("gradio", "selenium", "av", "cv2", "espeakng_loader", "scipy")
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with opened(address) as shown:
        yield shown


@pytest.fixture(autouse=True)
def _at_home(request: pytest.FixtureRequest, page: Page, address: str) -> Iterator[None]:
    """Nothing is asked of other hosts, and the console complains of nothing, unless it should."""
    yield
    page.dismiss()
    assert not strangers(page.requests(), address)
    assert not page.errors() or "wrong" in request.node.name


def audible(found: tuple[np.ndarray, int], seconds: float) -> bool:
    """Whether there is sound of that length, finite and not silent."""
    samples, rate = found
    return abs(len(samples) / rate - seconds) < 0.05 and bool(np.isfinite(samples).all()) and samples.std() > 1e-3


def test_noise_is_removed_from_the_example(page: Page) -> None:
    visits.enhance(page)
    before, after = page.heard("enhance-before"), page.heard("enhance-after")
    assert audible(before, 3.2)
    assert audible(after, 3.2)
    assert after[0].std() < before[0].std()
    assert "of real time" in page.text("enhance-said")
    assert len(page.all("img.picture")) == 2  # spectrograms and objective, each in one of its two colourings


def test_an_upload_is_enhanced(page: Page, tmp_path: Path) -> None:
    page.tab("Enhance")
    path = tmp_path / "my recording.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, (8000, 2)), 16000)
    old, given = page.source("enhance-after"), page.source("enhance-in")
    page.clear("enhance-in")
    page.give("enhance-in", path)
    page.wait(lambda: page.source("enhance-in") not in ("", given), "the upload")
    page.press("enhance-go")
    samples, rate = page.heard("enhance-after", old)
    assert (samples.shape, rate) == ((8000, 2), 16000)


def test_latents_are_swapped(page: Page) -> None:
    visits.explore(page)
    assert audible(page.heard("explore-after"), 3.2)
    assert "latent dimensions are in use" in page.text("explore-said")


def test_clips_are_drawn(page: Page) -> None:
    visits.generate(page)
    assert all(audible(page.heard(f"generate-out-{place}"), 3.0) for place in (1, 2))


def test_members_are_shown_with_formulas_and_graphs(page: Page) -> None:
    visits.family(page)
    assert "Fraccaro" in page.text("family-story")
    assert "8.01 ± 0.28" in page.text("family-scores")
    page.pick("family-name", "rvae: Recurrent variational autoencoder")
    page.wait(lambda: "Leglaive" in page.text("family-story"), "the RVAE")
    assert page.all("#family-graphs img")


def test_a_mixture_is_parted(page: Page) -> None:
    visits.separate(page)
    assert all(audible(page.heard(f"separate-out-{place}"), 2.4) for place in (1, 2))


def test_walkers_are_followed(page: Page) -> None:
    visits.track(page)
    assert "MOTA" in page.text("track-scores")
    assert "tracks in 120 frames" in page.text("track-said")
    assert page.all("#track-strip img")


def test_lips_are_found(page: Page) -> None:
    visits.lips(page)
    assert "a mouth in 84 % of them" in page.text("lips-said")
    assert audible(page.heard("lips-before"), 3.2)


def test_page_fits_a_telephone_and_the_dark(page: Page) -> None:
    page.resize(390, 800)
    for name in ("Enhance", "The family", "Track"):
        page.tab(name)
        page.wait(lambda: page.width() <= 390, f"{name} to fit")
    page.resize(1280, 900)
    page.driver.execute_script("document.body.classList.add('dark')")
    page.tab("The family")
    shown = page.all("#family-graphs img")
    assert [image.get_attribute("class") for image in shown] == ["picture on-dark"]
    page.driver.execute_script("document.body.classList.remove('dark')")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [("notes.wav", b"no sound at all", "the recording: not a sound file"), ("empty.wav", b"", "the recording"),
     ("huge.wav", bytes(1_200_000), "")],
)  # fmt: skip
def test_a_visitor_reads_what_is_wrong(page: Page, tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    page.tab("Enhance")
    (tmp_path / name).write_bytes(content)
    page.clear("enhance-in")
    page.give("enhance-in", tmp_path / name)
    if complaint:
        page.wait(lambda: page.source("enhance-in"), "the upload")
        page.press("enhance-go")
    told = page.wait(page.complaints, "a complaint", complaints=True)
    assert any(complaint in each for each in told), told
