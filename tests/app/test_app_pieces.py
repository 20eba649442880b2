"""What the tabs do, apart from the page: made-up examples, edited latents, drawn clips, scores and pictures."""

from __future__ import annotations

import base64
import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dynvae.app import examples, explore, family, lips, track
from dynvae.app.desk import OUR_FAULT, polite
from dynvae.app.enhance import clean, curve, remarks
from dynvae.app.explore import Edit, edited
from dynvae.app.generate import draw
from dynvae.app.limits import Limits, Sound
from dynvae.app.pictures import picture, played, spectra
from dynvae.app.separate import part
from dynvae.app.serving import sweep
from dynvae.app.shelf import Shelf
from dynvae.audio import FrontEnd
from dynvae.errors import AudioError, CheckpointError, ConfigError, DataError
from dynvae.metrics.waveform import si_sdr
from dynvae.models import DSAE, PRESETS, SRNN, VAE, Latents, build
from dynvae.pretrained import save
from dynvae.report.measured import COLUMNS, measured
from dynvae.report.style import figure
from dynvae.video import LIP_PIXELS, Lips

ROOT = Path(__file__).resolve().parents[2]
SMALL = FrontEnd(window_length=64, hop_length=16)


def small(model: torch.nn.Module) -> torch.nn.Module:
    """The model with a front end of 33 bins."""
    model.front_end = SMALL
    return model.eval()


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def noise() -> Sound:
    return Sound(np.random.default_rng(0).normal(0, 0.1, (2, 2000)).astype(np.float32), 16000)


# ---- examples --------------------------------------------------------------------------------------------------------


def test_example_of_noisy_speech_is_noisy_and_gets_better(shelf: Shelf) -> None:
    pytest.importorskip("espeakng_loader")
    noisy, speech = examples.noisy_speech(), examples.clean_speech()
    before = _distance(speech, noisy)
    after = _distance(speech, clean(noisy, shelf["rvae-speech"], "fast").sound)
    assert before == pytest.approx(0.0, abs=0.3)
    assert after > before + 4
    assert examples.noisy_speech(1).waveform.shape != noisy.waveform.shape


def _distance(speech: Sound, other: Sound) -> float:
    return float(si_sdr(torch.from_numpy(speech.waveform[0]), torch.from_numpy(other.waveform[0])))


def test_walkers_can_be_followed(shelf: Shelf) -> None:
    detections, truth, scene = examples.walkers(people=2, frames=40)
    assert truth.tracks == 2
    assert scene.frames == 40
    assert (detections.id == -1).all()
    mixture = track.follow(detections, truth, shelf["srnn-boxes"])
    sort = track.follow(detections, truth, None)
    assert mixture.scores is not None
    assert sort.scores is not None
    assert mixture.scores.mota > 0.8
    assert "MOTA" in track.scores_table(mixture.scores)
    assert track.scores_table(None) == ""
    content = track.strip(mixture.tracks, mixture.scene, detections)
    assert content.startswith(b"\x89PNG")


def test_a_film_without_boxes_is_refused() -> None:
    nothing = examples.walkers(people=2, frames=40)[0].where(np.zeros(0, int))
    with pytest.raises(ConfigError, match="there is not one box"):
        track.follow(nothing, None, None)
    assert track.room(None, nothing).frames == 0


def test_drawn_face_is_seen_and_turns_away(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("cv2")
    examples.talking_head(tmp_path / "face.mp4")
    found, sound = lips.seen(str(tmp_path / "face.mp4"), Limits())
    assert 0.6 < found.present.mean() < 0.95
    assert sound is not None
    assert found.pictures[found.present].std() > 10


def test_a_model_that_sees_lips_hears_with_them(noise: Sound) -> None:
    pictures = np.random.default_rng(2).integers(0, 255, (4, LIP_PIXELS), np.uint8)
    seen = Lips.at_rate(pictures, 25.0)
    model = small(build("av-cvae", x_dim=33, z_dim=2, v_dim=16))
    found = lips.helped(noise, seen, model)
    assert found.sound.waveform.shape == noise.waveform.shape
    alone = clean(noise, model)
    assert not np.array_equal(found.sound.waveform, alone.sound.waveform)
    with pytest.raises(ConfigError, match="sees no lips"):
        lips.helped(noise, seen, small(VAE(x_dim=33, z_dim=2)))


# ---- latents ---------------------------------------------------------------------------------------------------------


def test_edits_of_latents() -> None:
    z = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    latents, w = Latents(z, torch.ones(1, 2)), torch.zeros(1, 2)
    assert edited(latents, Edit()) is latents
    held = edited(latents, Edit("mean", 1)).z
    assert torch.allclose(held[..., 1], z[..., 1].mean().expand(6))
    assert torch.equal(held[..., [0, 2]], z[..., [0, 2]])
    assert torch.allclose(edited(latents, Edit("scale", factor=1.0)).z, z)
    assert torch.allclose(edited(latents, Edit("scale", factor=0.0)).z, edited(latents, Edit("mean")).z)
    other = Latents(torch.arange(3.0).reshape(1, 3, 1).expand(1, 3, 3), w)
    swapped = edited(latents, Edit("swap"), other)
    assert torch.allclose(swapped.z[0, :, 0], torch.linspace(0, 2, 6))
    assert swapped.w is w
    assert edited(latents, Edit("swap", 0), other).w is latents.w


@pytest.mark.parametrize(
    ("edit", "complaint"), [(Edit("scale", 3), "there is no number 4"), (Edit("swap"), "a second recording is needed")]
)
def test_edits_that_cannot_be_made(edit: Edit, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        edited(Latents(torch.zeros(1, 2, 3)), edit)


def test_an_edit_of_no_kind() -> None:
    with pytest.raises(ConfigError, match="not 'erase'"):
        Edit("erase")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [VAE, SRNN, DSAE])
def test_recordings_pass_and_changed_latents_are_heard(kind: type, noise: Sound) -> None:
    model = small(kind(x_dim=33, z_dim=3))
    plain = explore.explore(noise, model)
    assert plain.sound.waveform.shape == (1, 2000)
    assert np.isfinite(plain.sound.waveform).all()
    assert plain.sound.waveform.any()
    assert torch.equal(plain.mean, plain.changed)
    other = Sound(noise.waveform[:, :900][:, ::-1].copy(), 8000)
    changed = explore.explore(noise, model, Edit("swap"), other)
    assert changed.mean.shape == plain.mean.shape
    assert not np.allclose(changed.sound.waveform, plain.sound.waveform)
    assert explore.trajectories(changed, 0.001, Edit("swap")) is not None
    assert "latent dimensions" in explore.remarks(model, plain)


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 100])
def test_the_shortest_recordings_pass(samples: int) -> None:
    sound = Sound(np.random.default_rng(1).normal(size=(1, samples)).astype(np.float32), 16000)
    model = small(VAE(x_dim=33, z_dim=2))
    if samples == 1:
        with pytest.raises(AudioError, match="is silent"):
            explore.explore(sound, model)
    else:
        assert explore.explore(sound, model).sound.waveform.shape == (1, samples)
    assert clean(sound, model, iterations=2).sound.waveform.shape == (1, samples)


# ---- the other tabs -------------------------------------------------------------------------------------------------


def test_enhancement_tells_how_it_went(noise: Sound) -> None:
    told: list[float] = []
    found = clean(noise, small(VAE(x_dim=33, z_dim=2)), "fast", 12, lambda share, text: told.append(share))
    assert found.sound.waveform.shape == noise.waveform.shape
    assert told[-1] == 1.0
    assert "of real time" in remarks(noise, found)
    assert "<img" in curve(found.found)


def test_silence_stays_silence() -> None:
    silence = Sound(np.zeros((1, 500), np.float32), 16000)
    found = clean(silence, small(VAE(x_dim=33, z_dim=2)))
    assert not found.sound.waveform.any()
    assert "stay silent" in remarks(silence, found)
    assert curve(found.found) == ""


@pytest.mark.parametrize("count", [0, 301, float("nan"), "x"])
def test_iterations_have_a_range(noise: Sound, count: object) -> None:
    with pytest.raises(ConfigError, match="iterations: a number from 1 to 300"):
        clean(noise, small(VAE(x_dim=33, z_dim=2)), "default", count)  # type: ignore[arg-type]


def test_clips_are_drawn_again_by_their_seed() -> None:
    model = small(SRNN(x_dim=33, z_dim=2))
    one, again = (draw(model, Limits(), 0.3, 2, 7) for _ in range(2))
    assert [sound.waveform.shape for sound in one] == [(1, 4800)] * 2
    assert all(np.array_equal(a.waveform, b.waveform) for a, b in zip(one, again, strict=True))
    for wrong in ((31, 1, 0), (1, 5, 0), (1, 1, -1), (None, 1, 0)):
        with pytest.raises(ConfigError, match="a number from"):
            draw(model, Limits(), *wrong)


def test_parts_add_up_to_the_mixture(noise: Sound) -> None:
    model = small(VAE(x_dim=33, z_dim=2))
    centred = Sound(noise.waveform - noise.waveform.mean(1, keepdims=True), noise.rate)
    parts = part(centred, [model, small(VAE(x_dim=33, z_dim=2))], 2)
    assert np.allclose(sum(each.waveform for each in parts), centred.waveform, atol=1e-4)
    with pytest.raises(ConfigError, match="choose two or three"):
        part(noise, [model])


@pytest.mark.parametrize("name", PRESETS)
def test_every_member_has_its_story(name: str) -> None:
    story = family.story(name)
    assert story.count("$$") == 4
    assert "**autoregressive**" in story
    assert "nan" not in family.benchmark(name)


def test_graphs_are_drawn_for_light_and_dark() -> None:
    drawn = family.graphs("dsae")
    assert drawn.count("<img") == 2
    assert "on-dark" in drawn


def test_measured_rows_are_those_of_the_recipe() -> None:
    text = (ROOT / "recipes" / "librispeech-excerpts" / "README.md").read_text(encoding="utf-8")
    rows = _rows(text, tuple(COLUMNS.values()))
    assert len(rows) == len(measured())
    for row in measured():
        title = f"{row.title} ({row.mode})" if row.mode else row.title
        told = {label: " ± ".join(row.scores[key]) for key, label in COLUMNS.items()}
        assert rows[title] == told
    assert {row.model for row in measured()} <= {*PRESETS, "srnn-ss"}


def _rows(text: str, columns: tuple[str, ...]) -> dict[str, dict[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    found: dict[str, dict[str, str]] = {}
    head: list[str] = []
    for line in lines:
        cells = [cell.strip().replace("**", "").replace("−", "-") for cell in line.strip("| ").split(" | ")]
        if cells[0] == "Model" and set(columns) <= set(cells):
            head = cells
        elif head and len(cells) == len(head) and "±" in line:
            found.setdefault(cells[0], {name: cells[head.index(name)] for name in columns})
    return found


def test_pictures_are_there_twice_and_share_a_scale(noise: Sound) -> None:
    drawing = spectra({"a": noise, "b": Sound(noise.waveform / 10, 8000)}, SMALL, columns=2)
    images = [ax.images[0] for ax in drawing.axes if ax.images]
    assert images[0].get_clim() == images[1].get_clim()
    shown = picture(figure(2, 1), 'a "picture"')
    assert "&quot;picture&quot;" in shown
    image = pytest.importorskip("PIL.Image")
    contents = [part.split('"')[0] for part in shown.split("base64,")[1:]]
    light, dark = (image.open(io.BytesIO(base64.b64decode(each))).convert("L") for each in contents)
    assert np.asarray(light).mean() > 250
    assert np.asarray(dark).mean() < 50


def test_players_get_whole_numbers() -> None:
    rate, samples = played(Sound(np.array([[0.0, 1.0, -2.0]], np.float32), 8000))
    assert rate == 8000
    assert samples.tolist() == [0, 32767, -32767]
    assert played(Sound(np.zeros((2, 5), np.float32), 8000))[1].shape == (5, 2)


# ---- shelf, desk and folder -----------------------------------------------------------------------------------------


def test_shelf_knows_what_models_are_for(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(small(VAE(x_dim=33, z_dim=2)), tmp_path / name / "same" / "model")
    shelf = Shelf([tmp_path / "one" / "same", tmp_path / "two" / "same" / "model"])
    assert shelf.sound[-2:] == ["same", "same-2"]
    assert shelf.boxes == ["srnn-boxes"]
    assert shelf.lips == []
    assert shelf["same-2"].z_dim == 2
    for wrong in ("nobody", None, ["same"], str(tmp_path / "one")):
        with pytest.raises(ConfigError, match="there is no such model here"):
            shelf[wrong]


def test_models_that_are_not_there_or_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model or folder"):
        Shelf(["nobody"])
    save(VAE(x_dim=3, z_dim=2), tmp_path / "plain")
    with pytest.raises(ConfigError, match="the demo has no use"):
        Shelf([tmp_path / "plain"])


def test_failures_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    class RefusedError(Exception):
        pass

    def work(error: Exception) -> None:
        raise error

    with pytest.raises(RefusedError, match=r"^a b$"):
        polite(work, RefusedError)(DataError("a\nb"))
    with pytest.raises(RefusedError, match=OUR_FAULT[:20]):
        polite(work, RefusedError)(KeyError("secret"))
    assert "secret" in caplog.text
    with pytest.raises(RefusedError) as error:
        polite(work, RefusedError)(DataError("x" * 10_000))
    assert len(str(error.value)) < 500


def test_what_is_old_is_swept(tmp_path: Path) -> None:
    old, new = tmp_path / "a" / "old.wav", tmp_path / "b" / "new.wav"
    for path in (old, new):
        path.parent.mkdir()
        path.write_bytes(b"x")
    now = time.time()
    os.utime(old, (now - 100, now - 100))
    sweep(tmp_path, 1000)
    assert old.exists()
    assert new.exists()
    sweep(tmp_path, -1)
    assert not list(tmp_path.iterdir())
