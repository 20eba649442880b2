"""The share of frames that is asked for is spoilt, in stretches, by the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynvae.errors import ConfigError
from dynvae.video import Lips, corrupted, pieces


@given(st.integers(1, 200), st.floats(0, 1), st.integers(1, 30), st.integers(0, 100))
def test_as_many_frames_as_asked_for(frames: int, share: float, length: int, seed: int) -> None:
    spoilt = pieces(frames, share, length, np.random.default_rng(seed))
    assert spoilt.shape == (frames,)
    assert spoilt.sum() == round(share * frames)
    starts = int(np.diff(spoilt.astype(int), prepend=0).clip(0).sum())
    wanted = -(-round(share * frames) // length)
    assert starts <= wanted
    if frames - round(share * frames) >= wanted:
        assert starts == wanted


def lips(count: int = 75, fill: int = 100) -> Lips:
    return Lips.at_rate(np.full((count, 16), fill, np.uint8), 25)


def test_kinds() -> None:
    clip = lips()
    for kind in ("noise", "other", "black", "absent"):
        changed, spoilt = corrupted(clip, kind, seed=3, other=lips(30, 7))  # type: ignore[arg-type]
        assert spoilt.sum() == 25
        assert np.array_equal(changed.values[~spoilt], clip.values[~spoilt])
        assert np.array_equal(changed.present, ~spoilt if kind == "absent" else clip.present)
        where = changed.values[spoilt]
        if kind == "noise":
            assert 110 < where.mean() < 145
        else:
            assert (where == (7 if kind == "other" else 0)).all()
    assert (clip.values == 100).all()


def test_the_seed_decides() -> None:
    one, two, three = (corrupted(lips(), seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(one[0].values, two[0].values)
    assert not np.array_equal(one[1], three[1])


def test_wrong_wishes() -> None:
    with pytest.raises(ConfigError, match="there is no corruption 'fog'"):
        corrupted(lips(), "fog")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="another clip"):
        corrupted(lips(), "other")
    with pytest.raises(ConfigError, match="share"):
        corrupted(lips(), share=2)
