"""Clips of real and of drawn sound, their features, and the distances between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from evaluation_toys import small_model, speech_like
from torch import Tensor

from dynvae.errors import ConfigError, DataError
from dynvae.evaluation import (
    Drawing,
    RealSound,
    clip_features,
    draw_clips,
    find_clips,
    generate,
    model_features,
    speech_distances,
    write_clips,
)
from dynvae.metrics import LogMel


class Moments:
    """Features of no depth, but of clips of any length."""

    name, sample_rate = "moments", 16000

    def __call__(self, waves: Tensor) -> Tensor:
        waves = waves.double()
        return torch.stack([waves.mean(-1), waves.std(-1), waves[:, 0], waves.diff(dim=-1).std(-1)], -1)


def sound(folder: Path, *seconds: float, rate: int = 16000) -> list[Path]:
    """Files of these lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index}.wav" for index in range(len(seconds))]
    for index, (path, length) in enumerate(zip(paths, seconds, strict=True)):
        soundfile.write(path, speech_like(length, index)[: round(length * rate)], rate, subtype="FLOAT")
    return paths


def test_clips_lie_side_by_side_and_each_file_has_its_turn(tmp_path: Path) -> None:
    files = sound(tmp_path, 1.0, 0.35, 0.2, 0.65)
    pieces = find_clips(files, 0.3, 16000)
    assert sorted(pieces) == [(files[0], 0), (files[0], 4800), (files[0], 9600), (files[1], 0), (files[3], 0),
                              (files[3], 4800)]  # fmt: skip
    assert {piece.path for piece in pieces[:3]} == {files[0], files[1], files[3]}
    assert [piece.start for piece in pieces] == [0, 0, 0, 4800, 4800, 9600]
    orders = {tuple(piece.path for piece in find_clips(files, 0.3, 16000, seed=seed)[:3]) for seed in range(10)}
    assert len(orders) > 1
    with pytest.raises(ConfigError, match="must be positive"):
        find_clips(files, 0.0, 16000)


def test_quiet_ends_are_cut_and_rates_follow(tmp_path: Path) -> None:
    wave = np.concatenate([np.zeros(8000), speech_like(1.0, 0), np.zeros(8000)])
    soundfile.write(tmp_path / "padded.wav", wave, 16000)
    assert find_clips([tmp_path / "padded.wav"], 0.9, 16000)[0].start == 0
    trimmed = find_clips([tmp_path / "padded.wav"], 0.9, 16000, trim_db=30)
    assert len(trimmed) == 1
    assert 6500 < trimmed[0].start < 9000
    assert len(find_clips([tmp_path / "padded.wav"], 0.9, 8000)) == 2


def test_features_come_in_the_order_of_the_clips(tmp_path: Path) -> None:
    files = sound(tmp_path, 1.0, 0.7, 0.4)
    pieces = find_clips(files, 0.2, 16000)
    told: list[tuple[int, int]] = []
    features = clip_features(pieces, 0.2, Moments(), report=lambda *done: told.append(done))
    waves = [soundfile.read(path)[0][start : start + 3200] for path, start in pieces]
    assert torch.allclose(features, Moments()(torch.from_numpy(np.stack(waves))), atol=1e-6)
    assert told == [(10, 10)]


def test_a_model_has_the_features_of_its_files(tmp_path: Path) -> None:
    model, drawing = small_model(), Drawing(0.2, seed=3, iterations=2, batch=4)
    assert write_clips(model, 6, tmp_path, drawing) == 6
    files = sorted(tmp_path.glob("*.wav"))
    from_files = clip_features(sorted(find_clips(files, 0.2, 16000)), 0.2, Moments())
    assert torch.equal(model_features(model, 6, drawing, Moments()), from_files)


@pytest.mark.parametrize("name", ["srnn", "rvae", "light"])
def test_a_clip_is_decided_by_its_number(name: str) -> None:
    model, drawing = small_model(name), Drawing(0.2, iterations=2, batch=4)
    every = {clip.number: clip for clip in draw_clips(model, range(10), drawing)}
    some = list(draw_clips(model, [9, 2, 5], drawing))
    assert [clip.number for clip in some] == [2, 5, 9]
    for clip in some:
        assert torch.equal(clip.waveform, every[clip.number].waveform)
        assert torch.equal(clip.power, every[clip.number].power)
    assert len({clip.waveform.numpy().tobytes() for clip in every.values()}) == 10
    assert torch.equal(generate(model, 3, 0.2, iterations=2, batch=4)[0][2], every[2].waveform)


def test_drawing_leaves_the_model_as_it_was() -> None:
    model = small_model().train()
    clips = draw_clips(model, range(2), Drawing(0.2, iterations=1, batch=1))
    next(clips)
    assert model.training
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("seconds", "together"), [(0.1, 64), (1.6, 64), (3.0, 34), (30.0, 3), (1000.0, 1)])
def test_long_clips_are_drawn_fewer_at_a_time(seconds: float, together: int) -> None:
    assert Drawing(seconds).together == together


def test_real_sound_is_split_by_files(tmp_path: Path) -> None:
    files = sound(tmp_path, *[1.0] * 8)
    real = RealSound.of(files, None, Moments(), seconds=0.3, splits=2, trim_db=None)
    assert real.reference.shape == real.floor.shape == (12, 4)
    # The first samples tell clips apart: none is on both sides.
    assert not set(real.reference[:, 2].tolist()) & set(real.floor[:, 2].tolist())
    assert len(RealSound.of(files, None, Moments(), seconds=0.3, at_most=7, splits=2, trim_db=None).floor) == 6
    assert len(RealSound.of(files, 4, Moments(), seconds=0.3, splits=2, trim_db=None).reference) == 4
    given = RealSound.of(files[:2], None, Moments(), seconds=0.3, splits=2, floor=files[2:], trim_db=None)
    assert len(given.reference) == len(given.floor) == 6


def test_too_few_clips_are_refused(tmp_path: Path) -> None:
    files = sound(tmp_path, *[1.0] * 4)
    with pytest.raises(DataError, match=r"half of the real sound \(the other is the floor\) gives 6 clips of 0.3 s"):
        RealSound.of(files, 8, Moments(), seconds=0.3, splits=2, trim_db=None)
    with pytest.raises(DataError, match=r"the reference or the floor gives 3 clips of 0.3 s, where 8 are needed"):
        RealSound.of(files, 8, Moments(), seconds=0.3, splits=2, floor=files[:1], trim_db=None)
    with pytest.raises(DataError, match="gives 0 clips of 2 s, where 10 are needed"):
        RealSound.of(files, None, Moments(), seconds=2.0)
    with pytest.raises(ConfigError, match="7 clips cannot be split into 2"):
        RealSound.of(files, 7, Moments(), splits=2)


def test_the_distances_of_a_model(tmp_path: Path) -> None:
    files = sound(tmp_path, *[2.0] * 6)
    told: list[tuple[int, int]] = []
    found = speech_distances(small_model(), files, 4, seconds=0.3, splits=2, extractor=Moments(),
                             report=lambda *done: told.append(done))  # fmt: skip
    assert (found.n, found.d, found.splits) == (4, 4, 2)
    assert found.frechet.mean > found.frechet_floor.mean
    assert told == [(4, 12), (8, 12), (12, 12)]
    again = speech_distances(small_model(), files, 4, seconds=0.3, splits=2, extractor=Moments())
    assert again == found


def test_log_mel_tells_models_from_speech(shared: Path) -> None:
    """Real speech is nearer to other real speech than what an untrained model draws."""
    files = sorted((shared / "data" / "speech" / "cmu_arctic").rglob("*.flac"))
    real = RealSound.of(files, None, LogMel(), splits=1)
    model = small_model("vae")
    generated = model_features(model, len(real.reference), Drawing(1.6, iterations=2), LogMel())
    found = real.distances(generated, splits=1)
    assert found.frechet.mean > 3 * found.frechet_floor.mean
