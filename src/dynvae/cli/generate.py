"""``dynvae generate MODEL -n 8 --seconds 3``: draw new sound from a model."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import contextlib
import signal
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from dynvae.audio import read_audio
from dynvae.cli.parsing import Parser, make_parser
from dynvae.cli.pipe import copy_out
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import count, notice, tell, writes
from dynvae.errors import ConfigError, MissingExtraError
from dynvae.evaluation import PEAK, Drawing, clip_path, save_spectrograms, speech_front_end, write_clips
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.training.machine import flush_denormals

SHEET = 16
"""Spectrograms on the sheet, at most."""

DESCRIPTION = f"""Draw new sequences from a model: ancestral sampling of the power spectrogram, and a phase for it by
Griffin-Lim. --out gets a WAV file of each, with its peak at {PEAK} of full scale, their settings, and a sheet of the
first {SHEET} spectrograms. What was stopped goes on with the same command, and a larger -n adds to what is there."""
EXAMPLES = (
    "dynvae generate srnn-ss-speech -n 4 --seconds 2 --out clips",
    "dynvae generate srnn-speech -n 1 --seed 7 --out - > clip.wav",
)


def run(arguments: list[str]) -> int:
    """Draw, write, and return 0; 130 or 143 if a signal has come, after which the same command goes on.

    Raises:
        DynvaeError: the model or an option cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    flush_denormals()
    drawing = Drawing(settings.seconds, settings.seed, settings.feedback, settings.iterations, settings.batch)
    model = load(settings.model, device=settings.device)
    if settings.out == "-":
        return _to_standard_output(model, drawing, settings)
    out = Path(settings.out)
    begun = partial(writes, "generate", f"{count(settings.number, 'clip')} and their spectrograms", out)
    done = 0
    try:
        with progress_of("generate", begun) as show, _terminable():

            def report(ready: int, total: int) -> None:
                nonlocal done
                done = ready
                show(ready, total)

            made = write_clips(model, settings.number, out, drawing, overwrite=settings.overwrite, report=report)
    except (KeyboardInterrupt, _Terminated) as error:
        signum = signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT
        notice("generate", f"stopped with {done} of {settings.number} clips in {out}; the same command goes on")
        return 128 + signum
    before = settings.number - made
    lines = [f"{settings.number} clips of {settings.seconds:g} s in {out}" + f", {before} from before" * bool(before)]
    sheet = _draw_sheet(model, settings.number, out)
    if sheet is not None:
        lines.append(f"spectrograms of {min(settings.number, SHEET)}: {sheet}")
    clips = [str(clip_path(out, index)) for index in range(settings.number)]
    found = {"model": settings.model, "clips": clips, "new": made, "sheet": None if sheet is None else str(sheet)}
    tell(found, lines, as_json=settings.json)
    return 0


def _to_standard_output(model: DVAE, drawing: Drawing, settings: Any) -> int:
    """One clip, as WAV.

    Raises:
        ConfigError: there would be more than one thing to print.
    """
    if settings.number != 1 or settings.json:
        raise ConfigError("with --out - goes -n 1, for the clip is all that is printed, and no --json")
    with tempfile.TemporaryDirectory(prefix="dynvae-") as folder:
        write_clips(model, 1, Path(folder), drawing)
        copy_out(clip_path(Path(folder), 0))
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("generate", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("model", type=str, help="a bundled name, a model's or a run's folder, or a name on the hub")
    add("-n", "--number", type=int, default=8, help="how many")
    add("--seconds", type=float, default=3.0, help="length of each")
    add("--out", type=str, default="generated", help="folder of the results, or - for one clip on standard output")
    add("--seed", type=int, default=0, help="of all that is drawn")
    add("--feedback", type=Literal["mean", "sample"], default="mean",
        help="what a frame is, for the result and for the frames after it: its expected power, or a draw")  # fmt: skip
    add("--iterations", type=int, default=60, help="of Griffin-Lim")
    add("--batch", type=int, default=None,
        help="clips that are drawn together, by default 64, or fewer long ones; it decides the clips, too")  # fmt: skip
    add("--overwrite", action="store_true", help="remove clips with other settings from --out")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    return parser


def _draw_sheet(model: DVAE, number: int, out: Path) -> Path | None:
    front_end = speech_front_end(model)
    paths = [clip_path(out, index) for index in range(min(number, SHEET))]
    try:
        powers = [front_end.power(torch.from_numpy(read_audio(path)[0])) for path in paths]
        save_spectrograms(out / "samples.png", powers, [path.stem for path in paths], front_end, columns=4)
    except MissingExtraError as error:
        notice("generate", f"no sheet of spectrograms: {error}")
        return None
    return out / "samples.png"


class _Terminated(BaseException):
    """SIGTERM has come."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the work as an interruption does, so that no half-written file is left."""

    def terminate(signum: int, frame: Any) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread: then signals are somebody else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
