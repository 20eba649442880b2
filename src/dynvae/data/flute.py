"""A flute that plays what comes to its mind: sound of a known kind, for mixtures, without a corpus."""

from __future__ import annotations

__all__ = ["flute"]

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import ConfigError

_LOWEST, _HIGHEST = 69, 88  # MIDI numbers: 440 to 1319 Hz, two thirds of a bamboo flute's range
_SCALE = (0, 2, 4, 7, 9)  # pentatonic
_HARMONICS = 9


def flute(seconds: float, sample_rate: int = 16000, *, seed: int = 0) -> NDArray[np.float32]:
    r"""A melody of a flute-like instrument.

    Notes of a pentatonic scale between 440 and 1319 Hz, 0.4 to 1.5 s each, glide into one another within 20 ms. A note
    of frequency f is

    .. math::
        a(t) (1 + 0.2\, g(t)) \sum_{h=1}^{9} 10^{-d_h / 20} \sin\Big(2 \pi h \int_0^t f(t') (1 + 0.007\, g(t'))\,
        dt'\Big), \qquad g(t) = e(t) \sin 2 \pi r t

    with harmonics that fall by 7.5 dB each, give or take (:math:`d_h \sim \mathcal N(7.5 (h - 1), 2^2)`, drawn for
    each flute), a vibrato and tremolo of r = 4 to 6 Hz that comes with the note (e), an attack of 40 ms, noise of
    breath some 50 dB below the tone, and that of the room some 60 dB below. The sound begins within a note.

    Args:
        seconds: of the sound.
        sample_rate: in hertz.
        seed: of melody and instrument.

    Returns:
        ``(samples,)``, of peak one.

    Raises:
        ConfigError: there is no sample.

    Example:
        >>> flute(0.5, seed=1).shape
        (8000,)
    """
    samples = round(seconds * sample_rate)
    if samples < 1:
        raise ConfigError(f"a sound of {seconds} s at {sample_rate} Hz has no sample")
    random = np.random.default_rng(seed)
    ladder = [note for note in range(_LOWEST, _HIGHEST + 1) if note % 12 in _SCALE]
    rate, turn = random.uniform(4, 6), random.uniform(0, 2 * np.pi)
    pitch, loudness, comes = np.zeros(samples), np.zeros(samples), np.zeros(samples)
    step, begin = int(random.integers(len(ladder))), 0
    while begin < samples:
        size = round(random.uniform(0.4, 1.5) * sample_rate)
        skipped = 0 if begin else round(random.uniform(0, 0.8) * size)
        end = min(begin + size - skipped, samples)
        since = (np.arange(end - begin) + skipped) / sample_rate
        left = size / sample_rate - since
        pitch[begin:end] = ladder[step]
        loudness[begin:end] = random.uniform(0.6, 1) * np.minimum(1, since / 0.04) * np.minimum(1, left / 0.05)
        comes[begin:end] = np.clip((since - 0.1) / 0.2, 0, 1)
        step = int(np.clip(step + random.integers(-3, 4), 0, len(ladder) - 1))
        begin = end
    glide = max(1, round(0.02 * sample_rate))
    pitch = np.convolve(np.pad(pitch, glide, mode="edge"), np.full(glide, 1 / glide), "same")[glide:-glide]
    wave = comes * np.sin(2 * np.pi * rate * np.arange(samples) / sample_rate + turn)
    frequency = 440 * 2 ** ((pitch - 69) / 12) * (1 + 0.007 * wave)
    phase = 2 * np.pi * np.cumsum(frequency) / sample_rate
    sound = np.zeros(samples)
    for harmonic in range(1, _HARMONICS + 1):
        strength = 10 ** ((-7.5 * (harmonic - 1) + random.normal(0, 2)) / 20)
        below = np.clip((0.45 * sample_rate - harmonic * frequency) / 500, 0, 1)  # none is folded back
        sound += strength * below * np.sin(harmonic * phase + random.uniform(0, 2 * np.pi))
    breath, room = 0.002 * random.standard_normal(samples), 0.0005 * random.standard_normal(samples)
    sound = loudness * (1 + 0.2 * wave) * (sound / np.abs(sound).max() + breath) + room
    return (sound / np.abs(sound).max()).astype(np.float32)
