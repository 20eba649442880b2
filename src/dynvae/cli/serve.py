"""``dynvae serve``: the web demo."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from typing import Any

from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.telling import notice

DESCRIPTION = """Serve the web demo: enhancement, resynthesis and latents, generation, the family, separation, tracking
and lips, in a browser. It answers this machine alone unless --host says otherwise. Uploads and results are kept in a
folder of their own, and deleted after some minutes and with the server, which Ctrl-C ends. Nothing is fetched from, or
sent to, any other host."""
EXAMPLES = (
    "dynvae serve --open",
    "dynvae serve --models runs/srnn,models/dkf --port 8000   # beside the bundled ones",
    "dynvae serve --host 0.0.0.0 --max-seconds 10 --jobs 2     # for others; put a password in front of it",
)


def run(arguments: list[str]) -> int:
    """Serve until a signal comes.

    Raises:
        DynvaeError: gradio is not installed, the port is taken, or a model cannot be loaded.
        KeyboardInterrupt: at the end.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    from dynvae.app import Limits, Serving, serve

    models = tuple(words(settings.models))
    limits = Limits(settings.max_megabytes, settings.max_seconds, settings.max_channels, settings.jobs,
                    settings.waiting, settings.keep_minutes)  # fmt: skip
    way = Serving(settings.host, settings.port, models, settings.device, limits, settings.root_path, settings.open)

    def ready(address: str) -> None:
        print(f"dynvae serve: {address} (Ctrl-C ends it)", flush=True)
        if settings.host not in ("127.0.0.1", "localhost", "::1"):
            notice("serve", "everybody who reaches this machine can use it; there is no password")

    serve(way, ready)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("serve", DESCRIPTION, EXAMPLES, json=False)
    add: Any = parser.add_argument
    add("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0 for all of this machine's")
    add("--port", type=int, default=7860, help="0 for any that is free")
    add("--models", type=str, default=None, help="beside the bundled ones: folders of models or runs, names on the "
        "hub, with commas between them")  # fmt: skip
    add("--device", type=str, default="cpu", help="where models run, e.g. cuda")
    add("--max-seconds", type=float, default=30.0, help="of a recording or video")
    add("--max-megabytes", type=float, default=20.0, help="of an upload")
    add("--max-channels", type=int, default=2, help="of a recording")
    add("--jobs", type=int, default=1, help="that run at a time")
    add("--waiting", type=int, default=16, help="jobs that may wait; more are turned away")
    add("--keep-minutes", type=float, default=15.0, help="after which uploads and results are deleted")
    add("--root-path", type=str, default="", help="where a reverse proxy shows the page, e.g. /dynvae")
    add("--open", action="store_true", help="open the page in a browser")
    return parser
