"""``dynvae export MODEL --out DIR``: a model as ONNX graphs, for runtimes without PyTorch."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.telling import tell, writes
from dynvae.errors import ConfigError
from dynvae.export import PARTS, export
from dynvae.pretrained import load

DESCRIPTION = """Write a model as ONNX graphs for any number of sequences and frames: its encoder, its decoder, its step
(a frame of generation) and its filter (an observed frame, where the encoder sees no later one). Noise is an input, so
that results are PyTorch's but for rounding; that is checked before anything is written. export.json beside the graphs
tells inputs, outputs and front end."""
EXAMPLES = (
    "dynvae export srnn-speech --out onnx",
    "dynvae export runs/vrnn --out onnx --parts step,filter   # what a stream needs",
)


def run(arguments: list[str]) -> int:
    """Export, and say what came out and how close it is."""
    settings = verb_parser(arguments).parse_args(arguments)
    if settings.model is None or settings.out is None:
        raise ConfigError("give a model and a folder: dynvae export MODEL --out DIR")
    parts = None if settings.parts is None else words(settings.parts)
    if parts is not None and (not parts or any(part not in PARTS for part in parts)):
        raise ConfigError(f"--parts takes {', '.join(PARTS)}, with commas between them; not '{settings.parts}'")
    model = load(settings.model)
    if Path(settings.out).is_file():
        raise ConfigError(f"{settings.out} is a file; give the name of a folder")
    writes("export", f"{', '.join(parts or ['all parts'])} of {settings.model}", settings.out)
    done = export(model, settings.out, parts, tolerance=settings.tolerance)
    lines = [f"{done.folder / part}.onnx: within {error:.1e} of PyTorch" for part, error in done.errors.items()]
    lines += [f"no {part}: {why}" for part, why in done.refused.items()]
    found = {"out": str(done.folder), "errors": done.errors, "refused": done.refused}
    tell(found, lines, as_json=settings.json)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("export", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("model", nargs="?", type=str, help="a bundled name, a model's or a run's folder, or a name on the hub")
    add("--out", type=str, default=None, help="the folder to write")
    add("--format", type=Literal["onnx"], default="onnx", help="of the graphs")
    add("--parts", type=str, default=None, help=f"which of {', '.join(PARTS)}; all that the model has by default")
    add("--tolerance", type=float, default=1e-5, help="the largest difference from PyTorch that is let pass")
    return parser
