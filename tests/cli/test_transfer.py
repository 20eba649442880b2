"""dynvae transfer and interpolate write clips that can be read again, and refuse what makes no sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dynvae.audio import write_audio
from dynvae.cli import main
from dynvae.models import MultimodalDVAE, build
from dynvae.pretrained import load, save
from dynvae.video import Lips, TalkingView, read_frames, read_soundtrack, video_info

pytest.importorskip("av")
pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and two clips of a second: sound and lips."""
    place = tmp_path_factory.mktemp("talking")
    view = TalkingView(side=8)
    torch.manual_seed(0)
    model = build(
        "mdvae", x_dim=view.sizes, z_dim=3, w_dim=2, private_dim=2, x_hidden=(8,), w_rnn=4, prior_rnn=4,
        encoder_hidden=(8,), decoder_hidden=(8,), likelihood=["complex_gaussian", "fixed_gaussian"],
        input_transform=["log", "raw"],
    )  # fmt: skip
    model.front_end = view
    save(model, place / "model")
    random = np.random.default_rng(0)
    for name, seconds in (("a", 1.0), ("b", 0.8)):
        sound = 0.3 * np.sin(np.arange(int(16000 * seconds)) * (0.1 if name == "a" else 0.2))
        write_audio(place / f"{name}.wav", sound.astype(np.float32), 16000)
        pixels = random.integers(0, 256, (int(25 * seconds), 67 * 67), dtype=np.uint8)
        Lips.at_rate(pixels, 25).save(place / f"{name}.npz")
    write_audio(place / "c.wav", np.full(8000, 0.1, np.float32), 16000)  # nobody is seen to say it
    return place


def clip(folder: Path, name: str) -> str:
    return f"{folder / name}.wav,{folder / name}.npz"


def test_the_view_comes_back_with_the_model(folder: Path) -> None:
    model = load(folder / "model")
    assert model.front_end == TalkingView(side=8)
    assert "pictures of 8 × 8 pixels, 25 frames a second" in (folder / "model" / "README.md").read_text("utf-8")


def test_swapping(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["transfer", str(folder / "model"), clip(folder, "a"), clip(folder, "b"), "--swap", "w,shared"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    result = tmp_path / "a-w+shared-of-b.mp4"
    assert str(result) in capsys.readouterr().out
    info = video_info(result)
    assert (info.width, info.height, info.rate, info.sound_rate) == (32, 32, 25, 16000)
    assert len(list(read_frames(result))) == 20  # the shorter clip's
    sound, _ = read_soundtrack(result)
    assert len(sound) / 16000 == pytest.approx(0.8, abs=0.1)
    assert {path.name for path in tmp_path.iterdir()} >= {"b-w+shared-of-a.mp4", "b-w+shared-of-a.wav", "strip.png"}


@pytest.mark.parametrize("given", ["a.wav", "a.npz"])
def test_what_is_missing_is_made(folder: Path, tmp_path: Path, given: str) -> None:
    assert main(["transfer", str(folder / "model"), str(folder / given), "--out", str(tmp_path)]) == 0
    assert video_info(tmp_path / "a.mp4").sounds
    assert len(list(read_frames(tmp_path / "a.mp4"))) >= 25


def test_hidden_seconds(folder: Path, tmp_path: Path) -> None:
    words = ["transfer", str(folder / "model"), clip(folder, "a"), "--hide", "video:0.2-0.6", "--out", str(tmp_path)]
    assert main(words) == 0
    assert (tmp_path / "a.mp4").is_file()


def test_interpolation(folder: Path, tmp_path: Path) -> None:
    words = ["interpolate", str(folder / "model"), clip(folder, "a"), clip(folder, "b"), "--what", "w,video"]
    assert main([*words, "--steps", "3", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "00.mp4", "00.wav", "01.mp4", "01.wav", "02.mp4", "02.wav", "strip.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--swap", "w"], "give two clips to swap"),
        (["--hide", "smell"], "the modalities are audio, video"),
        (["--hide", "video:soon"], "write e.g. video:0.5-1.2"),
    ],
)
def test_nonsense_is_told(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    assert main(["transfer", str(folder / "model"), clip(folder, "a"), *words]) == 2
    assert problem in capsys.readouterr().err


def test_other_models_are_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["transfer", "vae-speech", clip(folder, "a")]) == 2
    assert "this takes an MDVAE of sound and lips" in capsys.readouterr().err


def test_training_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    """Made-up pairs, and sound with lips beside it, of which one file has none."""
    small = ["--model.z_dim", "2", "--model.w_dim", "2", "--model.x_hidden", "[4]", "--model.w_rnn", "4"]
    short = ["--train.max_steps", "2", "--train.frames", "10", "--train.batch_size", "4"]
    words = ["train", "mdvae", "--data", "two-modalities", "--count", "20", *small, *short]
    assert main([*words, "--out", str(tmp_path / "pairs")]) == 0
    assert load(tmp_path / "pairs" / "model").x_dim == 44
    rows = ["path,lips,split", "a.wav,a.npz,train", "c.wav,,train", "b.wav,,valid"]  # b.npz lies beside b.wav
    manifest = folder / "clips.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = ["train", "mdvae", "--data", str(manifest), "--side", "8", *small, *short, "--train.begin_at_mean", "true"]
    assert main([*words, "--out", str(tmp_path / "clips")]) == 0
    model = load(tmp_path / "clips" / "model")
    assert model.front_end == TalkingView(side=8)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_two_stages_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codecs of sound and lips, a model on their features, and a clip through all three."""
    rows = ["path,lips,split", "a.wav,a.npz,train", "c.wav,,train", "b.wav,,valid"]
    manifest = folder / "both.csv"
    manifest.write_text("\n".join(rows) + "\n", encoding="utf-8")
    data = ["--data", str(manifest), "--side", "8", "--train.max_steps", "2", "--train.frames", "10"]
    codec = ["train", "vq-vae", *data, "--model.hidden", "4", "--model.z_dim", "2"]
    sound, lips = str(tmp_path / "sound"), str(tmp_path / "lips")
    assert main([*codec, "--modality", "audio", "--model.input_transform", "log", "--out", sound]) == 0
    assert main([*codec, "--modality", "video", "--model.image", "[1,8,8]", "--out", lips]) == 0
    assert load(sound).front_end == TalkingView(side=8).audio
    small = ["--model.z_dim", "2", "--model.w_dim", "2", "--model.x_hidden", "[4]", "--model.w_rnn", "4"]
    words = ["train", "mdvae", *data, *small, "--out", str(tmp_path / "run"), "--codecs.audio", sound]
    assert main([*words, "--codecs.video", lips]) == 0
    model = load(tmp_path / "run")
    assert isinstance(model, MultimodalDVAE)
    for name, path in (("audio", sound), ("video", lips)):
        trained = load(path).state_dict()
        assert all(torch.equal(value, trained[key]) for key, value in model.codecs[name].state_dict().items())
    transfer = ["transfer", str(tmp_path / "run"), clip(folder, "a"), clip(folder, "b"), "--swap", "w"]
    assert main([*transfer, "--hide", "video:0.2-0.4", "--out", str(tmp_path / "swapped")]) == 0
    assert (tmp_path / "swapped" / "a-w-of-b.mp4").is_file()
    capsys.readouterr()
    assert main([*words, "--codecs.video", sound]) == 2
    assert "is no VQ-VAE of video" in capsys.readouterr().err
    assert main([*words]) == 2
    assert "give a codec for each of audio, video" in capsys.readouterr().err
