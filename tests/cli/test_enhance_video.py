"""``dynvae enhance`` with a speaker in sight: from file to file, with lips of every kind, or with one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from sound_toys import saved_model, speech_like
from tests.video.video_toys import write_video

import dynvae
from dynvae.audio import FrontEnd
from dynvae.cli import main
from dynvae.models import build
from dynvae.video import LIP_PIXELS, Lips

pytest.importorskip("av")
pytest.importorskip("cv2")


def seeing_model(folder: Path, lips: int = 25) -> Path:
    """An untrained model of sound and lips, of pictures of 5 × 5."""
    torch.manual_seed(0)
    model = build("av-cvae", x_dim=129, z_dim=4, v_dim=lips, v_hidden=[8], hidden=[16], input_transform="log")
    model.front_end = FrontEnd(window_length=256, hop_length=128)
    model.begin_at(torch.full((129,), 30.0), torch.ones(129))  # otherwise it would claim no speech at all
    dynvae.save(model, folder)
    return folder


@pytest.fixture
def enhance(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the verb with few iterations; what it gives, prints, and complains of."""
    seeing_model(tmp_path / "model")

    def call(*words: object, out: str = "out", code: int = 0, prior: str = "model") -> SimpleNamespace:
        folder = tmp_path / out
        arguments = ["enhance", "--prior", str(tmp_path / prior), "--out", str(folder), *map(str, words)]
        arguments += [] if "--stream" in words else ["--iterations", "2"]
        assert main(arguments) == code, capsys.readouterr().err
        told = capsys.readouterr()
        return SimpleNamespace(out=told.out, err=told.err, folder=folder)

    return call


def clip(folder: Path, name: str = "clip", seconds: float = 0.8) -> Path:
    """Speech-like sound, and lips of noise beside it."""
    soundfile.write(folder / f"{name}.wav", speech_like(seconds), 16000)
    pictures = np.random.default_rng(0).integers(0, 256, (round(25 * seconds), LIP_PIXELS), np.uint8)
    Lips.at_rate(pictures, 25).save(folder / f"{name}.npz")
    return folder / f"{name}.wav"


def sound_of(folder: Path, name: str = "clip.wav") -> np.ndarray:
    return soundfile.read(folder / name)[0]


def test_lips_beside_the_sound_or_by_option_make_a_difference(enhance, tmp_path: Path) -> None:
    sound = clip(tmp_path)
    by_name = enhance(sound, "--json")
    file = json.loads(by_name.out)["files"][0]
    assert file["lips"] == str(tmp_path / "clip.npz")
    assert file["frames_with_lips"] == 1.0
    by_option = enhance(sound, "--video", tmp_path / "clip.npz", out="b")
    assert np.array_equal(sound_of(by_name.folder), sound_of(by_option.folder))
    Lips.at_rate(np.zeros((20, LIP_PIXELS), np.uint8), 25).save(tmp_path / "black.npz")
    other = enhance(sound, "--video", tmp_path / "black.npz", out="c")
    assert not np.allclose(sound_of(by_name.folder), sound_of(other.folder), atol=1e-4)
    late = enhance(sound, "--video", tmp_path / "clip.npz", "--video-offset", "0.2", out="d")
    assert not np.allclose(sound_of(by_name.folder), sound_of(late.folder), atol=1e-4)


def test_a_video_is_its_own_sound_and_has_no_face(enhance, tmp_path: Path) -> None:
    """Faceless frames are absent: told, and enhanced by sound."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 96), np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    write_video(folder / "a.avi", noise, sound=speech_like(0.8).astype(np.float32))
    told = enhance(folder)
    info = soundfile.info(told.folder / "a.wav")
    assert (info.samplerate, info.frames, info.subtype) == (16000, 12800, "PCM_16")
    assert "no lips in 100 % of the frames, which are enhanced by sound" in told.err
    shutil.copy(folder / "a.avi", tmp_path / "a.avi")
    saved_model(tmp_path / "hearing", "vae")
    assert (enhance(tmp_path / "a.avi", prior="hearing", out="b").folder / "a.wav").is_file()


def test_a_mixture_of_a_model_that_hears_and_one_that_sees(enhance, tmp_path: Path) -> None:
    sound = clip(tmp_path)
    seeing_model(tmp_path / "other", lips=36)
    saved_model(tmp_path / "hearing", "vae")
    both = f"{tmp_path / 'hearing'},{tmp_path / 'model'}"
    for kind in ("vae-mm", "sw-vae"):
        told = enhance("--prior", f"{kind}:{both}", sound, "--json", out=kind)
        assert json.loads(told.out)["files"][0]["frames_with_lips"] == 1.0
    wrong = f"vae-mm:{tmp_path / 'model'},{tmp_path / 'other'}"
    assert "see lips of different sizes" in enhance("--prior", wrong, sound, out="b", code=2).err
    assert "two models or more" in enhance("--prior", "sw-vae:one", sound, out="c", code=2).err


def test_folders_of_sound_and_of_lips(enhance, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        for each in ("one", "two"):
            path = clip(tmp_path / name, each)
            (path if name == "y" else path.with_suffix(".npz")).unlink()
    told = enhance(tmp_path / "x", "--video", tmp_path / "y", "--json")
    assert [Path(file["lips"]).name for file in json.loads(told.out)["files"]] == ["one.npz", "two.npz"]
    assert "give a folder" in enhance(tmp_path / "x", "--video", tmp_path / "y/one.npz", code=2).err
    (tmp_path / "y" / "two.npz").unlink()
    assert "the files of --video have the names of the inputs" in enhance(
        tmp_path / "x", "--video", tmp_path / "y", code=2
    ).err  # fmt: skip


def test_one_line_for_what_cannot_be(enhance, tmp_path: Path) -> None:
    sound = clip(tmp_path)
    lips = tmp_path / "clip.npz"
    saved_model(tmp_path / "hearing", "vae")
    told = enhance(sound, "--video", lips, prior="hearing", code=2).err
    assert "hears only: leave --video away, or give a prior that sees lips" in told
    assert "a stream has no lips yet" in enhance(sound, "--stream", code=2).err
    np.save(tmp_path / "bad.npy", np.zeros((7, LIP_PIXELS), np.float32))
    assert "bad.npy: (7, 4489) is the wrong way round" in enhance(sound, "--video", tmp_path / "bad.npy", code=2).err
    np.save(tmp_path / "vf.npy", np.zeros((512, 7), np.float32))
    assert "vf.npy: frames of 512 numbers cannot be given as 25" in enhance(
        sound, "--video", tmp_path / "vf.npy", out="other", code=2
    ).err  # fmt: skip
    lips.unlink()
    assert "sees lips, and there are none: give them with --video" in enhance(sound, code=2).err
    silent = write_video(tmp_path / "mute.mp4", np.zeros((5, 64, 96), np.uint8))
    assert "mute.mp4: this video has no sound track" in enhance(silent, out="mute", code=2).err


def test_a_longer_recording_passes_in_chunks_with_its_lips(enhance, tmp_path: Path) -> None:
    sound = clip(tmp_path, seconds=2.4)
    told = enhance(sound, "--chunk", "1", "--overlap", "0.2", "--json")
    assert json.loads(told.out)["files"][0]["chunks"] == 3
    Lips.at_rate(np.zeros((60, LIP_PIXELS), np.uint8), 25).save(tmp_path / "black.npz")
    other = enhance(sound, "--chunk", "1", "--overlap", "0.2", "--video", tmp_path / "black.npz", out="b")
    difference = np.abs(sound_of(told.folder) - sound_of(other.folder))
    assert all(part.max() > 1e-4 for part in np.split(difference, 3))


@pytest.mark.shared
def test_raw_clips_from_file_to_file(enhance, shared: Path, tmp_path: Path) -> None:
    """The video with its own sound track, and sound of its own with the video."""
    video = shared / "data/av/raw_video/s1_srih3a.mpg"
    told = enhance(video, "--plots", "--json")
    file = json.loads(told.out)["files"][0]
    assert file["frames_with_lips"] == 1.0
    assert abs(file["seconds"] - 2.98) < 0.01
    assert soundfile.info(told.folder / "s1_srih3a.wav").samplerate == 44100
    assert (told.folder / "s1_srih3a.wav.lips.png").is_file()
    sound = shared / "data/av/grid/s1/srih3a.flac"
    told = enhance(sound, "--video", video, "--json", out="b")
    assert json.loads(told.out)["files"][0]["frames_with_lips"] == 1.0
    assert soundfile.info(told.folder / "srih3a.flac").frames == soundfile.info(sound).frames


def test_lips_are_cut_out_of_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 96), np.uint8)
    write_video(tmp_path / "a.avi", noise, sound=speech_like(0.24).astype(np.float32))
    write_video(tmp_path / "mute.mp4", noise)
    assert main(["data", "lips", str(tmp_path), "--out", str(tmp_path / "cut"), "--plots"]) == 1
    told = capsys.readouterr()
    assert "lips of 1 of 2 videos; a face in 0.0 % of the frames" in told.out
    assert "mute.mp4: this video has no sound track" in told.err
    assert "a.avi: no face is seen anywhere" in told.err
    assert {"a.npz", "a.wav", "a.lips.png"} <= {path.name for path in (tmp_path / "cut").iterdir()}
    assert main(["data", "lips", str(tmp_path / "cut")]) == 2
    assert "no videos in this folder" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "a.avi"), "--json"]) == 1
    assert [finding["kind"] for finding in json.loads(capsys.readouterr().out)["problems"]] == ["faceless"]
