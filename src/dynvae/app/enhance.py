"""The tab *Enhance*: noise out of speech, heard and seen."""

from __future__ import annotations

__all__ = ["Cleaned", "clean", "curve", "tab"]

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from dynvae.app.desk import Desk
from dynvae.app.examples import noisy_speech
from dynvae.app.limits import Sound, number, read_sound
from dynvae.app.pictures import WIDTH, picture, played, spectra, took
from dynvae.audio import FrontEnd
from dynvae.condition import Condition
from dynvae.models import DVAE
from dynvae.report.enhancement import objective_curve
from dynvae.report.style import figure
from dynvae.testtime import PRESETS, Enhancer, preset
from dynvae.testtime.enhancement import DEFAULT_PRIOR, Enhanced

MOST_ITERATIONS = 300
ABOUT = """Remove noise from speech, by a model that has heard clean speech only. An EM algorithm fits a model of the
noise to this recording, while it infers the latents of the speech. Nothing has to be known of the noise."""


class Cleaned(NamedTuple):
    """A recording without its noise, how the algorithm got there, the seconds it took, and the front end it saw by."""

    sound: Sound
    found: Enhanced
    seconds: float
    front_end: FrontEnd


def clean(
    sound: Sound,
    model: DVAE,
    method: str = "default",
    iterations: float | None = None,
    progress: Callable[[float, str], None] = lambda share, text: None,
    condition: Condition | None = None,
) -> Cleaned:
    """Enhance a recording.

    Args:
        sound: the recording.
        model: of clean speech.
        method: the name of a preset.
        iterations: of EM; the preset's own by default.
        progress: told the share that is done, and what to say of it.
        condition: lips, for a model that sees them.

    Raises:
        ConfigError: there is no such preset, or the number of iterations is out of range.
        AudioError: the recording is empty or not finite.
    """
    count = preset(method).em.iterations
    if iterations is not None:
        count = round(number("iterations", iterations, 1, MOST_ITERATIONS))
    start = time.perf_counter()
    enhancer = Enhancer(model, method, device=model.weight.device, iterations=count)
    found = enhancer(
        sound.waveform, sound.rate, condition=condition, name="the recording",
        progress=lambda done, total, objective: progress(done / total, f"iteration {done} of {total}"),
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return Cleaned(Sound(found.waveform, sound.rate), found, seconds, enhancer.front_end)


def remarks(sound: Sound, cleaned: Cleaned) -> str:
    """What is to be said of a result, as Markdown."""
    found, seconds = cleaned.found, cleaned.seconds
    lines = [f"{took(sound, seconds)}; "
             f"{100 * found.energy.mean():.0f} % of the energy was kept."]  # fmt: skip
    if found.silent.any():
        lines.append("Silent channels stay silent.")
    if found.collapsed.any():
        lines.append("Hardly any speech was left, and the last healthy estimate is given.")
    if sound.rate > cleaned.front_end.sample_rate:
        lines.append(f"Above {cleaned.front_end.sample_rate / 2000:g} kHz nothing remains.")
    return " ".join(lines)


def curve(found: Enhanced) -> str:
    """The objective over the iterations, as HTML; nothing where there were none."""
    if not found.iterations:
        return ""
    drawing = figure(WIDTH, 2.2)
    objective_curve(found.iterations, found.objective, drawing.add_subplot())
    return picture(drawing, "the EM objective over the iterations, falling where it improves")


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    names = desk.shelf.sound
    with desk.sides(ABOUT) as (left, right):
        with left:
            sound = desk.recorder("noisy speech", "enhance-in")
            example = gr.Button("Example: a voice in the rain", size="sm", elem_id="enhance-example")
            prior = gr.Dropdown(names, value=desk.shelf.usual(DEFAULT_PRIOR), label="model of clean speech")
            method = gr.Dropdown(list(PRESETS), value="default", label="method", info=preset("default").text,
                                 elem_id="enhance-method")  # fmt: skip
            iterations = gr.Slider(1, MOST_ITERATIONS, preset("default").em.iterations, step=1, label="iterations")
            go = gr.Button("Enhance", variant="primary", elem_id="enhance-go")
        with right:
            with gr.Row():
                before = desk.player("before", "enhance-before")
                after = desk.player("after", "enhance-after")
            said = gr.Markdown(elem_id="enhance-said")
            both = gr.HTML()
            course = gr.HTML()

    def choose(name: str) -> Any:
        chosen = preset(name)
        return gr.Dropdown(info=chosen.text), chosen.em.iterations

    def run(path: str | None, name: str, way: str, count: float, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        noisy = read_sound(path, desk.limits)
        told = clean(noisy, desk.shelf[name], way, count, lambda share, text: progress(share, desc=text))
        drawing = spectra({"before": noisy, "after": told.sound}, told.front_end)
        shown = picture(drawing, "spectrograms before and after, on one scale of colours")
        return played(noisy), played(told.sound), remarks(noisy, told), shown, curve(told.found)

    desk.quick(method.change, choose, [method], [method, iterations])
    desk.quick(example.click, lambda: played(noisy_speech()), [], [sound])
    desk.job(go.click, run, [sound, prior, method, iterations], [before, after, said, both, course], name="enhance")
