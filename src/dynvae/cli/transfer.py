"""``dynvae transfer MODEL A [B] --swap w``: clips of sound and lips with latents of each other, or with gaps filled."""

from __future__ import annotations

__all__ = ["run", "verb_parser", "write_result"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dynvae.audio import write_audio
from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.telling import count, tell, writes
from dynvae.errors import ConfigError, require
from dynvae.evaluation.talking import Clip, analyse, decode, hidden, read_clip, sound_of, talking_view
from dynvae.models import MDVAE
from dynvae.pretrained import load
from dynvae.video.talking import TalkingView
from dynvae.video.writing import write_clip, write_strips

DESCRIPTION = """Pass a clip of sound and lips through an MDVAE, with some of its latents taken from another clip. A
clip is a video, or a sound file and a file of lips with a comma between them (a.flac,a.jpg), or one of the two alone:
what is missing is made from what is there. --out gets an MP4 and a WAV file of each result, and strip.png with a row of
pictures for each input and each result."""
EXAMPLES = (
    "dynvae transfer runs/mdvae a.mp4 b.mp4 --swap w   # who speaks",
    "dynvae transfer runs/mdvae a.flac                 # lips from sound",
    "dynvae transfer runs/mdvae a.flac,a.jpg --hide video:1-2",
)


def run(arguments: list[str]) -> int:
    """Write the results, and return 0.

    Raises:
        DynvaeError: the model, a clip or an option cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    require("av", "video")
    swap, hide = words(settings.swap), words(settings.hide)
    if len(settings.clips) > 2 or (swap and len(settings.clips) != 2):
        raise ConfigError("give two clips to swap latents between, or one or two without --swap")
    model = load(settings.model, device=settings.device)
    view = talking_view(model)
    assert isinstance(model, MDVAE)
    clips = [read_clip(text, view) for text in settings.clips]
    if swap:
        clips = [clip.cut(min(len(each.frames) for each in clips)) for clip in clips]
    source = torch.Generator(settings.device).manual_seed(settings.seed)
    seen = [hidden(model, clip.frames, hide, view.rate) for clip in clips]
    latents = [analyse(model, frames, settings.latents, source) for frames in seen]
    out, rows = Path(settings.out), [view.pictures(frames) for frames in seen]
    writes("transfer", f"MP4 and WAV of {count(len(clips), 'clip')}, and strip.png,", out)
    results: list[str] = []
    heard = not {"shared", "audio"} & set(swap)
    for index, clip in enumerate(clips):
        own, other = latents[index], latents[len(clips) - 1 - index]
        result = decode(model, model.swapped(own, other, swap))
        name = f"{clip.name}-{'+'.join(swap)}-of-{clips[1 - index].name}" if swap else clip.name
        phase = clip if heard and bool(model.observed.present(seen[index])[:, 0].all()) else None
        rows.append(write_result(out / name, view, result, phase, settings.seed))
        results.append(str(out / f"{name}.mp4"))
    write_strips(out / "strip.png", rows)
    written = {"results": results, "strip": str(out / "strip.png")}
    tell(written, [*results, written["strip"]], as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("transfer", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("model", type=str, help="the folder of an MDVAE or of its run, or a name on the hub")
    add("clips", type=str, nargs="+", help="one clip, or two")
    add("--swap", type=str, default="",
        help="latents that the first clip gets from the second, and the second from the first: any of w (what stays), "
        "shared, audio, video, with commas; none, and each passes by itself")  # fmt: skip
    add("--hide", type=str, default="",
        help="modalities that the model does not get to see, with commas: video, or video:0.5-1.2 for these seconds; "
        "it makes them from the other")  # fmt: skip
    add("--latents", type=Literal["mean", "sample"], default="mean", help="of the posterior")
    add("--seed", type=int, default=0, help="of the latents' noise, and of the phase of a sound that has none")
    add("--out", type=str, default="transferred", help="folder of the results")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    return parser


def write_result(path: Path, view: TalkingView, frames: Tensor, phase: Clip | None, seed: int) -> Any:
    """Write frames as an MP4 and a WAV file; the pictures, ``(time, side, side)``.

    Args:
        path: of both, without a suffix.
        view: the front end.
        frames: ``(time, bins + side²)``.
        phase: the clip whose phase the sound gets; none for a made one.
        seed: of that.
    """
    sound = sound_of(view, frames, None if phase is None else phase.sound, seed=seed)
    pictures = view.pictures(frames)
    write_clip(path.with_name(f"{path.name}.mp4"), pictures, view.rate, sound, view.sample_rate)
    write_audio(path.with_name(f"{path.name}.wav"), sound, view.sample_rate)
    return pictures
