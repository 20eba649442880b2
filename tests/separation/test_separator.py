"""From one recording to several that add up to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import separation_toys as toys

from dynvae.audio import FrontEnd
from dynvae.data.flute import flute
from dynvae.errors import AudioError, ConfigError
from dynvae.separation import Separator, separate_in_chunks
from dynvae.separation.scores import best_order, source_scores
from dynvae.testtime import Chunks


@pytest.mark.parametrize("rate", [8000, 11025])
@pytest.mark.parametrize("shape", [(900,), (2, 900), (3, 1), (1, 40)])
def test_any_rate_length_and_number_of_channels(shape: tuple[int, ...], rate: int) -> None:
    separator = Separator([toys.model(0), toys.model(1), toys.model(0)], iterations=2, every=2)
    mixture = 0.1 + np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = separator(mixture, rate)
    assert found.waveforms.shape == (3, *shape)
    assert np.isfinite(found.waveforms).all()
    if rate == toys.RATE and shape[-1] > 1:
        offset = mixture.mean(-1, keepdims=True)
        np.testing.assert_allclose(found.waveforms.sum(0), mixture - offset, atol=1e-4)
        np.testing.assert_allclose(found.energy.sum(0), 1, atol=1e-6)


def test_silence_stays_silence() -> None:
    separator = Separator([toys.model(0), toys.model(1)], iterations=2, every=1)
    found = separator(np.stack([np.zeros(500, np.float32), toys.sound(0.0625)[0]]), toys.RATE)
    assert found.silent.tolist() == [True, False]
    assert not found.waveforms[:, 0].any()
    assert found.waveforms[:, 1].any()
    assert np.isnan(found.objective[:, 0]).all()
    assert np.isfinite(found.objective[:, 1]).all()
    assert not separator(np.zeros(500, np.float32), toys.RATE).waveforms.any()


def test_a_pause_of_exact_zeros() -> None:
    mixture = toys.sound(0.5)
    mixture[:, 1000:3000] = 0
    found = Separator([toys.model(0), toys.model(1)], iterations=5)(mixture, toys.RATE)
    assert np.isfinite(found.waveforms).all()


def test_the_seed_decides_between_sources_of_one_model() -> None:
    one = toys.model(0)
    separator = Separator([one, one], iterations=3, floor=0.0)
    first, again = separator(toys.sound(0.2), toys.RATE), separator(toys.sound(0.2), toys.RATE)
    np.testing.assert_array_equal(first.waveforms, again.waveforms)
    assert not np.allclose(first.waveforms[0], first.waveforms[1])
    assert separator.twins == [[0, 1], [0, 1]]


def test_chunks_add_up_and_one_chunk_is_the_whole() -> None:
    separator = Separator([toys.model(0), toys.model(1)], iterations=2)
    mixture = toys.sound(1.0, channels=2)
    blocks = lambda: iter(np.split(mixture, 8, axis=1))  # noqa: E731
    whole = np.concatenate(list(separate_in_chunks(separator, blocks(), toys.RATE, mixture.shape[1])), 2)
    np.testing.assert_array_equal(whole, separator(mixture, toys.RATE).waveforms)
    told: list[tuple[int, int]] = []
    cut = np.concatenate(
        list(
            separate_in_chunks(
                separator, blocks(), toys.RATE, mixture.shape[1], chunks=Chunks(0.3, 0.05),
                told=lambda number, count, _: told.append((number, count)),
            )
        ),
        2,
    )  # fmt: skip
    assert cut.shape == whole.shape
    assert told[-1][0] == told[-1][1] == len(told) > 2
    np.testing.assert_allclose(cut.sum(0), mixture, atol=0.2)  # but for the offset of a chunk


def test_sources_keep_their_places_from_chunk_to_chunk() -> None:
    one = toys.model(0)
    separator = Separator([one, toys.model(1), one], iterations=1)
    parts = np.stack([toys.sound(0.1, seed=seed)[0] for seed in range(3)])
    assert separator.order_like(parts, parts[[2, 1, 0]]) == [2, 1, 0]
    assert separator.order_like(parts, parts) == [0, 1, 2]


def test_scores_take_the_best_order_of_twins_alone() -> None:
    sounds = [toys.sound(0.1, seed=seed)[0] for seed in range(3)]
    swapped = [sounds[1], sounds[0], sounds[2]]
    assert best_order(sounds, swapped, [[0, 1], [0, 1], [2]]) == [1, 0, 2]
    assert best_order(sounds, swapped, [[0], [1], [2]]) == [0, 1, 2]
    scores = source_scores(sounds, swapped, [[0, 1], [0, 1], [2]], toys.RATE, ["si_sdr"])
    assert all(score["si_sdr"].value > 100 for score in scores)


@pytest.mark.parametrize(
    ("models", "settings", "complaint"),
    [
        ([0], {}, "two sources"),
        ([0, 1], {"estimate": "mask"}, "estimate"),
        ([0, 1], {"ratio": 0.0}, "ratio"),
        ([0, 1], {"iterations": 0}, "iteration"),
    ],
)
def test_settings_are_checked(models: list[int], settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Separator([toys.model(seed) for seed in models], **settings)


def test_models_must_hear_alike() -> None:
    other = toys.model(1)
    other.front_end = FrontEnd(16000, 64, 16)
    with pytest.raises(ConfigError, match="front end"):
        Separator([toys.model(0), other])
    other.front_end = FrontEnd(toys.RATE, 64, 16, trim_db=None)  # of training alone
    Separator([toys.model(0), other])


def test_what_is_no_sound_is_refused() -> None:
    separator = Separator([toys.model(0), toys.model(1)])
    with pytest.raises(AudioError, match="NaN"):
        separator(np.full(100, np.nan, np.float32), toys.RATE)
    with pytest.raises(AudioError, match="no samples"):
        separator(np.zeros(0, np.float32), toys.RATE)


def test_the_flute_repeats_and_is_heard() -> None:
    one = flute(1.0, seed=3)
    np.testing.assert_array_equal(one, flute(1.0, seed=3))
    assert np.abs(one).max() == 1
    assert not np.array_equal(one, flute(1.0, seed=4))
    with pytest.raises(ConfigError, match="no sample"):
        flute(0)
