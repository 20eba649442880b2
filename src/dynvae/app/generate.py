"""The tab *Generate*: sound that nobody has ever said."""

from __future__ import annotations

__all__ = ["draw", "tab"]

from typing import Any

import numpy as np

from dynvae.app.desk import Desk
from dynvae.app.limits import Limits, Sound, number
from dynvae.app.pictures import picture, spectra
from dynvae.evaluation import generate, speech_front_end
from dynvae.models import DVAE

MOST = 4
ABOUT = """Draw new sound from a model: latents and spectra by ancestral sampling, frame by frame, a phase for them by
Griffin-Lim. Models of half an hour of speech babble; what they say has the rhythm of speech, and no words."""


def draw(model: DVAE, limits: Limits, seconds: Any, count: Any, seed: Any, feedback: Any = "mean") -> list[Sound]:
    """Draw clips.

    Args:
        model: of sound.
        limits: of the seconds.
        seconds: of each clip.
        count: how many.
        seed: of all that is drawn.
        feedback: what a frame is for the frames after it: ``"mean"`` or ``"sample"``.

    Raises:
        ConfigError: a number is out of range, or the feedback is unknown.
    """
    long = number("seconds", seconds, 0.2, limits.seconds)
    many = round(number("clips", count, 1, MOST))
    chance = round(number("seed", seed, 0, 2**31 - 1))
    waveforms, _ = generate(model, many, long, seed=chance, feedback=feedback, batch=many)
    rate = speech_front_end(model).sample_rate
    return [Sound(np.ascontiguousarray(waveform[None].numpy()), rate) for waveform in waveforms]


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    names = desk.shelf.sound
    with desk.sides(ABOUT) as (left, right):
        with left:
            model = gr.Dropdown(names, value=desk.shelf.usual("srnn-ss-speech"), label="model")
            seconds = gr.Slider(0.5, min(10, desk.limits.seconds), 3, step=0.5, label="seconds")
            count = gr.Slider(1, MOST, 2, step=1, label="clips")
            seed = gr.Number(0, label="seed", precision=0, minimum=0, info="the same seed draws the same clips")
            feedback = gr.Radio(["mean", "sample"], value="mean", label="what frames see of those before",
                                info="a sample is rougher")  # fmt: skip
            go = gr.Button("Generate", variant="primary", elem_id="generate-go")
        with right:
            players = [
                desk.player(f"clip {place}", f"generate-out-{place}", visible=place < 3) for place in range(1, MOST + 1)
            ]
            shown = gr.HTML()

    def run(name: str, long: float, many: float, chance: float, fed: str) -> Any:
        drawn = draw(desk.shelf[name], desk.limits, long, many, chance, fed)
        titles = [f"clip {place}" for place in range(1, len(drawn) + 1)]
        drawing = spectra(dict(zip(titles, drawn, strict=True)), speech_front_end(desk.shelf[name]))
        return (
            *desk.filled(players, drawn, titles),
            picture(drawing, "spectrograms of the clips, on one scale of colours"),
        )

    desk.job(go.click, run, [model, seconds, count, seed, feedback], [*players, shown], name="generate")
