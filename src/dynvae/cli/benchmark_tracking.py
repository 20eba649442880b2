"""``dynvae benchmark tracking --data SEQUENCES --out DIR``: ways to track, in two tables."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dynvae.benchmark.tracking import CLIP_METHODS, TrackingConfig, run_tracking
from dynvae.cli.parsing import Parser, demand, make_parser
from dynvae.cli.progress import shown_work
from dynvae.cli.telling import tell
from dynvae.errors import require
from dynvae.tracking import Tracker
from dynvae.training.machine import flush_denormals

DESCRIPTION = f"""Track by several methods and score the tracks: on clips of three people who are there all the time,
each with the detections that match (the MOT17-3T protocol), and on whole sequences, where people come and go. Tables
are clips.md, films.md and tracking.json; what is done is not done again. Methods are {", ".join(CLIP_METHODS)}."""
EXAMPLES = ("dynvae benchmark tracking --data MOT17 --out table",)


def run(arguments: list[str]) -> int:
    """Do the benchmark, and return 0.

    Raises:
        DynvaeError: the data, a model or a setting cannot be used.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    demand(settings, "benchmark tracking", "data", "out")
    require("scipy.optimize", "tracking")
    flush_denormals()
    torch.set_num_threads(1)
    values: dict[str, Any] = {
        key: getattr(settings, key) for key in ("data", "out", "model", "lstm", "picture", "films", "most")
    }
    values |= {key: tuple(getattr(settings, key)) for key in ("lengths", "variants")}
    with shown_work("benchmark tracking", settings.out) as (say, _):
        run_tracking(TrackingConfig(**values, tracker=Tracker(**settings.tracker.as_dict())), say)
    out = Path(settings.out)
    lines = [(out / name).read_text(encoding="utf-8") for name in ("clips.md", "films.md")]
    lines.append(f"tables: {out}/clips.md, {out}/films.md, {out}/tracking.json")
    found = json.loads((out / "tracking.json").read_text(encoding="utf-8"))
    tell({"out": str(out), "tables": found}, lines, as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("benchmark tracking", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    known = TrackingConfig("", "")
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("--data", type=str, help="folder of sequences, each with seqinfo.ini, det/det.txt and gt/gt.txt")
    add("--out", type=str, help="folder of the results")
    add("--model", type=str, default=known.model, help="of boxes, for MixDVAE")
    add(
        "--lstm",
        type=str | None,
        default=None,
        help="the autoregressive baseline: a run of `dynvae train lstm`",
    )
    add("--picture", type=str | None, default=None,
        help="a model of boxes in the picture, such as the published one, for VEM over whole clips")  # fmt: skip
    add("--lengths", type=list[int], default=list(known.lengths), help="frames of clips, e.g. [60,120]; [] for none")
    add("--variants", type=list[str], default=list(known.variants),
        help="of the clips' detections: given, shuffled (in each frame), thinned (by 15 %% and shuffled)")  # fmt: skip
    add("--films", type=bool, default=True, help="track whole sequences, too")
    add("--most", type=int | None, default=None, help="so many clips of a length, spread evenly over all")
    parser.add_class_arguments(Tracker, "tracker")
    return parser
