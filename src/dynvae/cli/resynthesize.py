"""``dynvae resynthesize MODEL INPUT... --out DIR``: pass sound files through a model."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dynvae.audio import audio_info, read_audio, write_audio
from dynvae.cli.inputs import sound_inputs, sound_targets
from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.pipe import piped
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import count, notice, tell, writes
from dynvae.errors import AudioError, ConfigError, require
from dynvae.evaluation import resynthesize_waveform, save_spectrograms, speech_front_end
from dynvae.models import DVAE
from dynvae.pretrained import load

DESCRIPTION = """Pass sound files through a model, with their own phase. The results are WAV files of the same rate,
length, channels and level: each channel passes on its own, resampled to the model's rate and back, without offset.
Inputs are sound files, folders, whose structure is kept below --out, manifests (.csv, .jsonl), or - for a WAV file on
standard input, whose result goes to standard output."""

KEPT_SUBTYPES = ("PCM_16", "PCM_24", "FLOAT")
EXAMPLES = (
    "dynvae resynthesize srnn-speech speech.wav --out out --plot",
    "dynvae resynthesize srnn-speech recordings --mode generation   # a folder of sound files",
    "dynvae resynthesize vae-speech - < in.wav > out.wav",
)


def run(arguments: list[str]) -> int:
    """Pass every input; return 0, or 2 if some could not be passed, which does not keep the others from it.

    Raises:
        DynvaeError: the model, an option or the choice of inputs cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.plot:
        require("matplotlib", "report")  # before the work, not after it
    model = load(settings.model, device=settings.device)
    speech_front_end(model)
    if "-" in settings.inputs:
        if settings.inputs != ["-"] or settings.json or settings.plot:
            raise ConfigError("standard input (-) is the only input, and its result all that is printed; it goes "
                              "without --json and --plot")  # fmt: skip
        return piped(lambda source, target: _pass(model, source, "standard input", target, settings))
    targets = sound_targets(sound_inputs(settings.inputs), Path(settings.out), lambda source: ".wav")
    writes("resynthesize", count(len(targets), "file"), settings.out)
    failed: dict[str, str] = {}
    with progress_of("resynthesize") as report:
        for done, (target, (source, name)) in enumerate(targets.items(), start=1):
            try:
                _pass(model, source, name.as_posix(), target, settings)
            except AudioError as error:
                failed[str(source)] = str(error)
                notice("resynthesize", error)
            report(done, len(targets))
    files = [{"input": str(source), "output": str(target)}
             for target, (source, _) in targets.items() if str(source) not in failed]  # fmt: skip
    found = {"model": settings.model, "files": files, "failed": failed}
    tell(found, (file["output"] for file in files), as_json=settings.json)
    if failed:
        notice("resynthesize", f"{len(failed)} of {len(targets)} files could not be passed")
    return 2 if failed else 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("resynthesize", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("model", type=str, help="a bundled name, a model's or a run's folder, or a name on the hub")
    add("inputs", type=str, nargs="+", help="sound files, folders, manifests, or -")
    add("--out", type=str, default="resynthesized", help="folder of the results")
    add("--mode", type=Literal["teacher-forced", "generation"], default="teacher-forced",
        help="what an autoregressive model sees as past: the true frames, or its own")  # fmt: skip
    add("--latents", type=Literal["sample", "mean"], default="sample", help="of the posterior")
    add("--seed", type=int, default=0, help="of the latents' noise")
    add("--plot", action="store_true", help="also draw both spectrograms of the first channel, as PNG")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    return parser


def _pass(model: DVAE, source: Path, name: str, target: Path, settings: Any) -> None:
    info = audio_info(source)
    waveform, rate = read_audio(source, mono=False)
    front_end = speech_front_end(model)
    if rate != front_end.sample_rate:
        notice("resynthesize", f"{source}: {rate} Hz, resampled to the model's {front_end.sample_rate} Hz and back")
    silent = [index for index, channel in enumerate(waveform) if not np.any(np.diff(channel))]
    if silent:
        which = "the file" if len(silent) == len(waveform) else f"channel {', '.join(str(i + 1) for i in silent)}"
        notice("resynthesize", f"{source}: {which} is silent, and stays so")
    passed = resynthesize_waveform(
        model, waveform, rate, name=name, mode=settings.mode, latents=settings.latents, seed=settings.seed
    )
    subtype = info.subtype if info.subtype in KEPT_SUBTYPES else "PCM_16"
    if subtype != "FLOAT" and np.abs(passed.waveform).max(initial=0) > 1:
        notice("resynthesize", f"{target}: beyond full scale, written as 32-bit float so that nothing is clipped")
        subtype = "FLOAT"
    write_audio(target, passed.waveform, rate, subtype=subtype)
    if settings.plot:
        powers, titles = [passed.before, passed.after], [source.name, f"resynthesized ({settings.mode})"]
        save_spectrograms(target.with_suffix(".png"), powers, titles, front_end, columns=2)
