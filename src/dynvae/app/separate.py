"""The tab *Separate*: sources that sound together, each by a model of its own."""

from __future__ import annotations

__all__ = ["part", "tab"]

import time
from collections.abc import Callable, Sequence
from typing import Any

from dynvae.app.desk import Desk
from dynvae.app.examples import flute_and_speech
from dynvae.app.limits import Sound, number, read_sound
from dynvae.app.pictures import picture, played, spectra, took
from dynvae.errors import ConfigError
from dynvae.models import DVAE
from dynvae.separation import Separator

MOST_ITERATIONS = 60
ABOUT = """Take a mixture apart by a model of each source, none of which has ever heard a mixture. The sources add up
to the mixture."""
HONEST = """**What to expect.** Sources of different kinds can be told apart where a model knows each kind: a flute and
a voice by some 12 dB. Two voices cannot, by models of speech alone: nothing in these holds a voice together over time,
and the parts then are a mixture each."""
WITHOUT = """No model of anything but speech is here, so that only what does not work can be tried; start the server
with `--models` and a model of another kind of sound."""


def part(
    sound: Sound,
    models: Sequence[DVAE],
    iterations: Any = 20,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> list[Sound]:
    """The sources of a recording.

    Args:
        sound: the mixture.
        models: one for each source.
        iterations: of variational EM.
        progress: told the share that is done, and what to say of it.

    Raises:
        ConfigError: there are other than two or three models, they do not fit together, or the number is out of range.
    """
    if not 2 <= len(models) <= 3:
        raise ConfigError("choose two or three models, one for each source")
    count = round(number("iterations", iterations, 1, MOST_ITERATIONS))
    separator = Separator(models, iterations=count, device=models[0].weight.device)
    found = separator(
        sound.waveform, sound.rate, name="the recording",
        progress=lambda done, total, _: progress(done / total, f"iteration {done} of {total}"),
    )  # fmt: skip
    return [Sound(waveform, sound.rate) for waveform in found.waveforms]


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    names = desk.shelf.sound
    other = [name for name in names if not name.endswith("-speech")]
    speech = desk.shelf.usual("rvae-speech")
    with desk.sides(ABOUT) as (left, right):
        with left:
            sound = desk.recorder("mixture", "separate-in")
            example = gr.Button("Example: a flute and a voice", size="sm", elem_id="separate-example")
            one = gr.Dropdown(names, value=other[0] if other else speech, label="model of the first source")
            two = gr.Dropdown(names, value=speech, label="model of the second source")
            three = gr.Dropdown(["none", *names], value="none", label="model of a third")
            iterations = gr.Slider(1, MOST_ITERATIONS, 20, step=1, label="iterations")
            go = gr.Button("Separate", variant="primary", elem_id="separate-go")
            gr.Markdown(" ".join((HONEST if other else f"{HONEST} {WITHOUT}").split()), elem_classes="note")
        with right:
            mixture = desk.player("mixture", "separate-mixture")
            players = [
                desk.player(f"source {place}", f"separate-out-{place}", visible=place < 3) for place in (1, 2, 3)
            ]
            said = gr.Markdown()
            shown = gr.HTML()

    def run(path: str | None, a: str, b: str, c: str, count: Any, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        chosen = [a, b] + [c] * (c != "none")
        models = [desk.shelf[name] for name in chosen]
        mixed = read_sound(path, desk.limits)
        start = time.perf_counter()
        parts = part(mixed, models, count, lambda share, text: progress(share, desc=text))
        seconds = time.perf_counter() - start
        titles = [f"source {place}: {name}" for place, name in enumerate(chosen, 1)]
        front_end: Any = models[0].front_end
        drawing = spectra({"mixture": mixed, **dict(zip(titles, parts, strict=True))}, front_end)
        updates = desk.filled(players, parts, titles)
        return (
            played(mixed),
            *updates,
            f"{took(mixed, seconds)}.",
            picture(drawing, "spectrograms of the mixture and its sources"),
        )

    desk.quick(example.click, lambda: played(flute_and_speech(1)), [], [sound])
    desk.job(go.click, run, [sound, one, two, three, iterations], [mixture, *players, said, shown], name="separate")
