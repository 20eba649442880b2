"""Lips that are spoilt on purpose, as in the evaluations of the literature: some stretches of the video, by a seed."""

from __future__ import annotations

__all__ = ["CORRUPTIONS", "Corruption", "corrupted", "pieces"]

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import ConfigError
from dynvae.video.lips import Lips

Corruption = Literal["noise", "other", "black", "absent"]
CORRUPTIONS: tuple[str, ...] = get_args(Corruption)
"""Pixels of noise; the lips of another clip; black pictures; no lips at all, the one kind of which the mask tells."""


def pieces(frames: int, share: float, length: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which frames are spoilt: stretches of one length (the last one shorter) at random places, apart where they fit.

    Args:
        frames: of the video.
        share: of them that is spoilt; the number of frames is this, rounded.
        length: of a stretch.
        random: where chance comes from.

    Example:
        >>> spoilt = pieces(75, 1 / 3, 10, np.random.default_rng(0))
        >>> int(spoilt.sum()), int(np.diff(spoilt.astype(int)).clip(0).sum()) + int(spoilt[0])
        (25, 3)
    """
    if not 0 <= share <= 1 or length < 1:
        raise ConfigError(f"a share lies from 0 to 1 and a stretch has frames, not {share} and {length}")
    wanted = round(share * frames)
    lengths = [min(length, wanted - done) for done in range(0, wanted, length)]
    lengths = [lengths[place] for place in random.permutation(len(lengths))]
    room = frames - wanted
    apart = room >= len(lengths)  # a whole frame between any two
    cuts = np.sort(random.choice(room + 1, len(lengths), replace=not apart)).tolist()
    spoilt, done = np.zeros(frames, bool), 0
    for cut, size in zip(cuts, lengths, strict=True):
        spoilt[cut + done : cut + done + size] = True
        done += size
    return spoilt


def corrupted(
    lips: Lips,
    kind: Corruption = "noise",
    *,
    share: float = 1 / 3,
    seconds: float = 0.4,
    seed: int | tuple[int, ...] = 0,
    other: Lips | None = None,
) -> tuple[Lips, NDArray[np.bool_]]:
    """Spoil a share of the frames, in stretches.

    Args:
        lips: those of a clip.
        kind: ``noise`` (uniform, each pixel and frame its own), ``other`` (the frames of another clip at the same
            places, from its beginning again where it is shorter), ``black``, or ``absent``.
        share: of the frames.
        seconds: of a stretch.
        seed: of all chance.
        other: the other clip.

    Returns:
        The spoilt lips, and which frames are spoilt, ``(time,)``.

    Raises:
        ConfigError: the kind is unknown, or there is no other clip, or it has frames of another size.
    """
    if kind not in CORRUPTIONS:
        raise ConfigError(f"there is no corruption '{kind}'; there are {', '.join(CORRUPTIONS)}")
    random = np.random.default_rng(seed)
    spoilt = pieces(len(lips), share, max(1, round(seconds / lips.period)), random)
    values, present = lips.values.copy(), lips.present.copy()
    if kind == "absent":
        values[spoilt], present[spoilt] = 0, False
    elif kind == "black":
        values[spoilt] = 0
    elif kind == "noise" and values.dtype == np.uint8:
        values[spoilt] = random.integers(0, 256, (int(spoilt.sum()), lips.size), np.uint8)
    elif kind == "noise":  # features of no fixed range: the spread of the clip's own
        values[spoilt] = values.mean() + values.std() * random.standard_normal((int(spoilt.sum()), lips.size))
    else:
        if other is None or other.size != lips.size or other.values.dtype != lips.values.dtype:
            raise ConfigError("the corruption 'other' needs another clip with frames of the same kind")
        values[spoilt] = other.values[np.flatnonzero(spoilt) % len(other)]
    return Lips(values, present, lips.times), spoilt
