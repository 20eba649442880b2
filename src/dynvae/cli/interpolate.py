"""``dynvae interpolate MODEL A B --what w``: the way from one clip of sound and lips to another, latent by latent."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.telling import tell, writes
from dynvae.cli.transfer import write_result
from dynvae.errors import ConfigError, require
from dynvae.evaluation.talking import analyse, decode, interpolated, read_clip, talking_view
from dynvae.models import MDVAE
from dynvae.pretrained import load
from dynvae.video.writing import write_strips

DESCRIPTION = """Go from a clip of sound and lips to another on a straight line between their latents. --out gets an MP4
and a WAV file of each step, and strip.png with a row of pictures for each. Clips are given as to dynvae transfer."""
EXAMPLES = ("dynvae interpolate runs/mdvae a.mp4 b.mp4 --what w --steps 7",)


def run(arguments: list[str]) -> int:
    """Write the steps, and return 0.

    Raises:
        DynvaeError: the model, a clip or an option cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    require("av", "video")
    what = words(settings.what)
    if settings.steps < 2 or not what:
        raise ConfigError("a way has at least 2 steps, and some latent that goes")
    model = load(settings.model, device=settings.device)
    view = talking_view(model)
    assert isinstance(model, MDVAE)
    clips = [read_clip(text, view) for text in (settings.first, settings.last)]
    time = min(len(clip.frames) for clip in clips)
    one, other = (analyse(model, clip.cut(time).frames) for clip in clips)
    phase = clips[0] if clips[0].sound is not None and not {"shared", "audio"} & set(what) else None
    out, rows, steps = Path(settings.out), [], []
    writes("interpolate", f"MP4 and WAV of {settings.steps} steps, and strip.png,", out)
    for step, weight in enumerate(torch.linspace(0, 1, settings.steps).tolist()):
        frames = decode(model, interpolated(model, one, other, what, weight))
        path = out / f"{step:02d}"
        rows.append(write_result(path, view, frames, phase, settings.seed))
        steps.append(f"{path}.mp4")
    write_strips(out / "strip.png", rows)
    written = {"steps": steps, "strip": str(out / "strip.png")}
    tell(written, [*steps, written["strip"]], as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("interpolate", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("model", type=str, help="the folder of an MDVAE or of its run, or a name on the hub")
    add("first", type=str, help="the clip that the way begins at")
    add("last", type=str, help="the clip that it leads to")
    add("--what", type=str, default="w",
        help="the latents that go: any of w (what stays), shared, audio, video, with commas; the others stay the "
        "first's")  # fmt: skip
    add("--steps", type=int, default=5, help="clips on the way, both ends included")
    add("--seed", type=int, default=0, help="of the sound's phase, where the first clip's does not fit")
    add("--out", type=str, default="interpolated", help="folder of the results")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    return parser
