"""``dynvae resynthesize MODEL INPUT... --out DIR``: pass sound files through a model."""

from __future__ import annotations

__all__ = ["run"]

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dynvae.audio import AUDIO_SUFFIXES, audio_info, read_audio, write_audio
from dynvae.cli.parsing import make_parser
from dynvae.errors import AudioError, ConfigError, DataError, require
from dynvae.evaluation import resynthesize_waveform, save_spectrograms, speech_front_end
from dynvae.models import DVAE
from dynvae.pretrained import load

DESCRIPTION = """Pass sound files through a model, with their own phase. The results are WAV files of the same rate,
length, channels and level: each channel passes on its own, resampled to the model's rate and back, without offset.
Folders are searched for sound; below --out their structure is kept."""

KEPT_SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")


def run(arguments: list[str]) -> int:
    """Pass every input; return 0, or 2 if some could not be passed, which does not keep the others from it.

    Raises:
        DynvaeError: the model, an option or the choice of inputs cannot be used.
    """
    parser = make_parser("resynthesize", DESCRIPTION)
    add: Any = parser.add_argument
    add("model", type=str, help="a bundled name, a model's or a run's folder, or a name on the hub")
    add("inputs", type=str, nargs="+", help="sound files, and folders of them")
    add("--out", type=str, default="resynthesized", help="folder of the results")
    add("--mode", type=Literal["teacher-forced", "generation"], default="teacher-forced",
        help="what an autoregressive model sees as past: the true frames, or its own")  # fmt: skip
    add("--latents", type=Literal["sample", "mean"], default="sample", help="of the posterior")
    add("--seed", type=int, default=0, help="of the latents' noise")
    add("--plot", action="store_true", help="also draw both spectrograms of the first channel, as PNG")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    settings = parser.parse_args(arguments)
    if settings.plot:
        require("matplotlib", "report")  # before the work, not after it
    jobs = _jobs([Path(text) for text in settings.inputs], Path(settings.out))
    model = load(settings.model, device=settings.device)
    speech_front_end(model)
    failed = 0
    for target, (source, name) in jobs.items():
        try:
            _pass(model, source, name, target, settings)
        except AudioError as error:
            failed += 1
            print(f"dynvae resynthesize: {error}", file=sys.stderr)
        else:
            print(target)
    if failed:
        print(f"dynvae resynthesize: {failed} of {len(jobs)} files could not be passed", file=sys.stderr)
    return 2 if failed else 0


def _jobs(inputs: list[Path], out: Path) -> dict[Path, tuple[Path, str]]:
    """What to write from what: by target, the source and its name, which decides its noise.

    Raises:
        AudioError: an input does not exist.
        DataError: a folder holds no sound.
        ConfigError: two inputs have one target, or a target is an input.
    """
    jobs: dict[Path, tuple[Path, str]] = {}
    for given in inputs:
        if given.is_dir():
            sources = sorted(
                path for path in given.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
            )
            if not sources:
                raise DataError(f"{given}: there are no sound files in this folder")
        elif given.exists():
            sources = [given]
        else:
            raise AudioError(f"{given}: no such file or folder")
        for source in sources:
            name = source.relative_to(given) if given.is_dir() else Path(source.name)
            target = out / name.with_suffix(".wav")
            if target in jobs:
                raise ConfigError(
                    f"{jobs[target][0]} and {source} would both become {target}; pass them in two calls, or their "
                    "common folder"
                )
            jobs[target] = (source, name.as_posix())
    sources_all = {source.resolve() for source, _ in jobs.values()}
    for target in jobs:
        if target.resolve() in sources_all:
            raise ConfigError(f"{target} is one of the inputs and would be overwritten; choose another --out")
    return jobs


def _pass(model: DVAE, source: Path, name: str, target: Path, settings: Any) -> None:
    info = audio_info(source)
    waveform, rate = read_audio(source, mono=False)
    front_end = speech_front_end(model)
    if rate != front_end.sample_rate:
        _notice(f"{source}: {rate} Hz, resampled to the model's {front_end.sample_rate} Hz and back")
    silent = [index for index, channel in enumerate(waveform) if not np.any(np.diff(channel))]
    if silent:
        which = "the file" if len(silent) == len(waveform) else f"channel {', '.join(str(i + 1) for i in silent)}"
        _notice(f"{source}: {which} is silent, and stays so")
    passed = resynthesize_waveform(
        model, waveform, rate, name=name, mode=settings.mode, latents=settings.latents, seed=settings.seed
    )
    subtype = info.subtype if info.subtype in KEPT_SUBTYPES else "PCM_16"
    if subtype != "FLOAT" and np.abs(passed.waveform).max(initial=0) > 1:
        _notice(f"{target}: beyond full scale, written as 32-bit float so that nothing is clipped")
        subtype = "FLOAT"
    write_audio(target, passed.waveform, rate, subtype=subtype)
    if settings.plot:
        powers, titles = [passed.before, passed.after], [source.name, f"resynthesized ({settings.mode})"]
        save_spectrograms(target.with_suffix(".png"), powers, titles, front_end, columns=2)


def _notice(text: str) -> None:
    print(f"dynvae resynthesize: {text}", file=sys.stderr)
