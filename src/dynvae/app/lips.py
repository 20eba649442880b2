"""The tab *Lips*: the mouth of the one who speaks, and speech enhanced with its help where a model can do that."""

from __future__ import annotations

__all__ = ["helped", "seen", "tab"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynvae.app.desk import Desk
from dynvae.app.enhance import Cleaned, clean
from dynvae.app.examples import talking_head
from dynvae.app.limits import Limits, Sound, sound_of_video, survey_video
from dynvae.app.pictures import picture, played, spectra
from dynvae.audio import resample
from dynvae.data.lips import condition_of
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation import speech_front_end
from dynvae.models import DVAE
from dynvae.report.lips import lips_figure
from dynvae.video import Lips, find_lips

NONE = "no model: only look"
ABOUT = """Find the mouth of the one who speaks. A model that sees lips hears better where it is loud; frames without a
face are marked, and enhanced by sound alone."""
WITHOUT = """No model that sees lips comes with dynvae. Train one on videos of yours (`dynvae train av-cvae`) and start
the server with `--models` and its folder: it then appears here."""
SIDE = """Below is what a model sees: crops of the mouth with their times, crossed out where there is no face; the
sound; and where the video shows a mouth."""


def seen(path: str | None, limits: Limits) -> tuple[Lips, Sound | None]:
    """The lips of a visitor's video, and its sound if it has any.

    Raises:
        DataError: the video cannot be used.
        AudioError: its sound cannot.
    """
    sounds = survey_video(path, limits)
    assert path is not None
    sound = sound_of_video(path, limits) if sounds else None
    try:
        return find_lips(path), sound
    except DataError as error:
        raise DataError(str(error).replace(str(path), "the video")) from error


def helped(
    sound: Sound, lips: Lips, model: DVAE, progress: Callable[[float, str], None] = lambda share, text: None
) -> Cleaned:
    """A recording without its noise, by a model that sees lips.

    Args:
        sound: the recording.
        lips: of the one who speaks, on the recording's clock.
        model: of clean speech and lips.
        progress: told the share that is done, and what to say of it.

    Raises:
        ConfigError: the model sees no lips, or other ones.
    """
    if not model.condition_dim:
        raise ConfigError("this model sees no lips; choose another")
    front_end = speech_front_end(model)
    frames = front_end.frames(round(sound.seconds * front_end.sample_rate))
    return clean(sound, model, progress=progress, condition=condition_of(lips, frames, front_end, model.condition_dim))


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    with desk.sides(ABOUT) as (left, right):
        with left:
            video = gr.Video(label="video with a face", sources=["upload", "webcam"], include_audio=True, height=330,
                             buttons=["download"], elem_id="lips-in")  # fmt: skip
            example = gr.Button("Example: a drawn face", size="sm", elem_id="lips-example")
            name = gr.Dropdown([NONE, *desk.shelf.lips], value=(desk.shelf.lips or [NONE])[0], label="model")
            go = gr.Button("Find the lips", variant="primary", elem_id="lips-go")
            if not desk.shelf.lips:
                gr.Markdown(" ".join(WITHOUT.split()), elem_classes="note")
        with right:
            said = gr.Markdown(elem_id="lips-said")
            with gr.Row():
                before = desk.player("before", "lips-before")
                after = desk.player("after", "lips-after", visible=bool(desk.shelf.lips))
            both = gr.HTML()
    strip = gr.HTML(elem_id="lips-strip")

    def run(path: str | None, chosen: str, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        model = None if chosen == NONE else desk.shelf[chosen]
        progress(0.0, desc="looking for the face")
        lips, sound = seen(path, desk.limits)
        line = (f"{len(lips)} pictures, a mouth in **{100 * lips.present.mean():.0f} %** of them. "
                + ("" if sound else "The video has no sound. ") + " ".join(SIDE.split()))  # fmt: skip
        slow = None if sound is None else resample(sound.waveform.mean(0), sound.rate, 16000)
        drawn = picture(lips_figure(lips, slow), "crops of the mouth, the sound, and where a mouth is seen")
        if model is None or sound is None:
            return line, drawn, None if sound is None else played(sound), None, ""
        told = helped(sound, lips, model, lambda share, text: progress(share, desc=text))
        spectrograms = picture(spectra({"before": sound, "after": told.sound}, told.front_end),
                               "spectrograms before and after, on one scale of colours")  # fmt: skip
        return line, drawn, played(sound), played(told.sound), spectrograms

    def prepare() -> str:
        place: Path = desk.file("face.mp4")
        talking_head(place)
        return str(place)

    desk.quick(example.click, prepare, [], [video])
    desk.job(go.click, run, [video, name], [said, strip, before, after, both], name="lips")
