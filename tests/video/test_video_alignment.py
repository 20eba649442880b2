"""Each frame of the transform gets the picture that was on the screen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynvae.audio import FrontEnd
from dynvae.errors import ConfigError
from dynvae.video import Alignment, Lips, aligned

FRONT_END = FrontEnd()  # 62.5 frames a second


def numbered(count: int, rate: float = 25.0, **changes: np.ndarray) -> Lips:
    lips = Lips.at_rate(np.arange(count, dtype=np.float32)[:, None], rate)
    return Lips(lips.values, changes.get("present", lips.present), changes.get("times", lips.times))


def test_the_picture_on_the_screen_is_taken_and_time_does_not_drift() -> None:
    """A minute: the index is the floor of time times rate, to the last frame."""
    frames = 3750
    features, present = aligned(numbered(1500), frames, FRONT_END)
    assert present.all()
    assert np.array_equal(features[:, 0], np.arange(frames) * 2 // 5)


def test_the_rate_of_the_first_papers_needs_no_interpolation() -> None:
    """Hop 533 at 16 kHz: 30.02 frames a second against 29.97."""
    features, _ = aligned(numbered(157, 30000 / 1001), 158, FrontEnd(hop_length=511, window_length=1024))
    assert (features[1:, 0].diff() >= 0).all()
    assert abs(float(features[-1, 0]) - 157 * 511 / 16000 * 30000 / 1001) < 1


@pytest.mark.parametrize("offset", [-0.08, 0.0, 0.04])
@pytest.mark.parametrize("start", [0.0, 0.2])
def test_offset_and_start_move_the_pictures(offset: float, start: float) -> None:
    features, _ = aligned(numbered(200), 200, FRONT_END, start=start, offset=offset)
    moments = start + np.arange(200) * 0.016 + offset
    middle = slice(50, 150)
    assert np.abs(features[middle, 0].numpy() + 0.5 - 25 * moments[middle]).max() <= 0.5 + 1e-6


def test_lines_between_pictures() -> None:
    """Pictures that grow evenly grow evenly in between; a picture stands for its middle."""
    features, present = aligned(numbered(50), 100, FRONT_END, interpolation="linear")
    assert present.all()
    expected = np.arange(100) * 0.016 * 25 - 0.5
    assert np.allclose(features[2:, 0], expected[2:], atol=1e-4)


def test_absent_pictures_are_zero_and_never_mixed() -> None:
    present = np.ones(50, bool)
    present[20:30] = False
    for interpolation in ("nearest", "linear"):
        lips = numbered(50, present=present)
        lips.values[20:30] = np.nan
        features, there = aligned(lips, 100, FRONT_END, interpolation=interpolation)  # type: ignore[arg-type]
        moments = np.arange(100) * 0.016
        assert np.array_equal(there.numpy(), (moments < 0.8 - 1e-9) | (moments > 1.2 - 1e-9))
        assert features.isfinite().all()
        assert (features[~there] == 0).all()


def test_sound_that_outlasts_the_video_has_no_lips_there() -> None:
    """The last picture is held for a tenth of a second and a frame after its middle."""
    _, present = aligned(numbered(25), 100, FRONT_END)
    assert int(present.sum()) == round((0.98 + 0.14) / 0.016) + 1
    _, present = aligned(numbered(25), 10, FRONT_END, start=5.0)
    assert not present.any()


def test_uneven_times() -> None:
    """A phone's video: each frame has its own time."""
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.05, 100))
    features, present = aligned(numbered(100, times=times), 150, FRONT_END)
    shown = np.searchsorted(times, np.arange(150) * 0.016, side="right") - 1
    assert present.all()
    assert np.abs(features[:, 0].numpy() - shown).max() <= 1


def test_parts_are_parts() -> None:
    lips = numbered(40)
    whole = Alignment.of(lips, 90, FRONT_END, interpolation="linear")
    assert np.array_equal(whole[10:30].features(lips), whole.features(lips)[10:30])
    assert len(whole[10:30]) == 20
    features, _ = aligned(lips, 90, FRONT_END, interpolation="linear")
    assert torch.equal(features, torch.from_numpy(whole.features(lips)))


def test_unknown_interpolation() -> None:
    with pytest.raises(ConfigError, match="nearest or linear, not cubic"):
        aligned(numbered(4), 4, FRONT_END, interpolation="cubic")  # type: ignore[arg-type]
