"""Sound: files, the STFT front end, preparation of an utterance, and phases for a spectrogram that has none."""

from __future__ import annotations

from dynvae.audio.files import AUDIO_SUFFIXES, AudioInfo, audio_info, read_audio, resample, write_audio
from dynvae.audio.griffin_lim import griffin_lim
from dynvae.audio.mixing import mix
from dynvae.audio.preparation import Preparation, prepare, trim_bounds
from dynvae.audio.stft import FRONT_ENDS, FrontEnd

__all__ = [
    "AUDIO_SUFFIXES",
    "FRONT_ENDS",
    "AudioInfo",
    "FrontEnd",
    "Preparation",
    "audio_info",
    "griffin_lim",
    "mix",
    "prepare",
    "read_audio",
    "resample",
    "trim_bounds",
    "write_audio",
]
