"""The tab *Resynthesise & explore*: a recording through a model, and what its latents do."""

from __future__ import annotations

__all__ = ["EDITS", "Edit", "Explored", "edited", "explore", "tab"]

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from dynvae.app.desk import Desk
from dynvae.app.examples import clean_speech
from dynvae.app.limits import Sound, number, read_sound
from dynvae.app.pictures import WIDTH, picture, played, spectra
from dynvae.audio import FrontEnd, Preparation, resample
from dynvae.errors import AudioError, ConfigError
from dynvae.evaluation import evaluating, speech_front_end
from dynvae.models import DVAE, Latents
from dynvae.report import latent_trajectories
from dynvae.report.style import figure

ABOUT = """Pass a recording through a model: the encoder infers its latents, the decoder makes spectra of them again.
Then change a latent and listen: stretch it, hold it at its mean, or take it from another recording."""

Kind = Literal["nothing", "scale", "mean", "swap"]
EDITS: dict[Kind, str] = {
    "nothing": "nothing: only resynthesise",
    "scale": "scale: stretch it about its mean",
    "mean": "hold it at its mean over time",
    "swap": "take it from the second recording",
}
ALL = "all"


@dataclass(frozen=True)
class Edit:
    """A change of latents.

    Args:
        kind: what is done.
        dimension: to which latent dimension, from 0; None for all of them, the sequence's own latent included.
        factor: of ``"scale"``.
    """

    kind: Kind = "nothing"
    dimension: int | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no change.

        Raises:
            ConfigError: the kind is unknown.
        """
        if self.kind not in get_args(Kind):
            raise ConfigError(f"latents can be changed by {', '.join(EDITS)}, not '{self.kind}'")


class Explored(NamedTuple):
    """What came out: the sound, the posterior's means and deviations ``(time, z_dim)``, and the means after the change.

    ``kl`` tells how much each dimension says, in nats a frame, ``(z_dim,)``; None where it is not known by dimension.
    """

    sound: Sound
    mean: Tensor
    std: Tensor
    changed: Tensor
    kl: Tensor | None


def edited(latents: Latents, edit: Edit, other: Latents | None = None) -> Latents:
    r"""Changed latents: with :math:`\bar z` the mean over time, :math:`\bar z + a (z - \bar z)`, or another's z.

    A swapped latent of another length is stretched in time, linearly.

    Args:
        latents: of a sequence, batch 1.
        edit: the change.
        other: of the second sequence, for ``"swap"``.

    Raises:
        ConfigError: there is no such dimension, or nothing to swap with.

    Example:
        >>> z = Latents(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]))
        >>> edited(z, Edit("scale", dimension=1, factor=2.0)).z.tolist()
        [[[0.0, 0.0], [2.0, 4.0]]]
    """
    z, w = latents
    if edit.dimension is not None and not 0 <= edit.dimension < z.shape[-1]:
        raise ConfigError(f"latents have {z.shape[-1]} dimensions; there is no number {edit.dimension + 1}")
    if edit.kind == "nothing":
        return latents
    mean = z.mean(1, keepdim=True)
    if edit.kind == "swap":
        if other is None:
            raise ConfigError("to swap latents, a second recording is needed: give one, or take the example")
        rows = other.z.transpose(1, 2)
        new = torch.nn.functional.interpolate(rows, z.shape[1], mode="linear", align_corners=True).transpose(1, 2)
        w = other.w if edit.dimension is None else w
    else:
        new = mean + (edit.factor if edit.kind == "scale" else 0.0) * (z - mean)
    if edit.dimension is None:
        return Latents(new, w)
    z = z.clone()
    z[..., edit.dimension] = new.expand_as(z)[..., edit.dimension]
    return Latents(z, w)


def explore(sound: Sound, model: DVAE, edit: Edit | None = None, other: Sound | None = None) -> Explored:
    """Pass the first channel of a recording through a model, with its latents changed, and with its own phase.

    Latents are the posterior's means along its recursion. A model that is fed its past sees its own frames, and not
    the true ones, which would say louder than the latents what comes next.

    Args:
        sound: the recording.
        model: of sound, that sees no lips.
        edit: what is changed; nothing by default.
        other: the second recording, for a swap.

    Raises:
        ConfigError: the change cannot be made.
        AudioError: a recording is silent.
    """
    edit = edit or Edit()
    front_end = speech_front_end(model)
    preparation, spectrum, samples = _prepared(sound, front_end)
    with evaluating(model):
        latents, std, kl = _encoded(model, spectrum)
        second = None if other is None else _encoded(model, _prepared(other, front_end)[1])[0]
        changed = edited(latents, edit, second)
        x = _power(spectrum)
        power = model.likelihood(changed, model.fed_back(changed, x)).mean.clamp(min=0)[0]
    made = front_end.istft(torch.polar(power.sqrt(), spectrum.angle()), length=samples)
    level = preparation.undo(made.float().cpu().numpy())
    back = resample(np.ascontiguousarray(level), front_end.sample_rate, sound.rate)[: sound.waveform.shape[1]]
    waveform = np.zeros((1, sound.waveform.shape[1]), np.float32)
    waveform[0, : len(back)] = back
    mean, spread, other_mean = (part[0].float().cpu() for part in (latents.z, std, changed.z))
    return Explored(Sound(waveform, sound.rate), mean, spread, other_mean, kl)


def _prepared(sound: Sound, front_end: FrontEnd) -> tuple[Preparation, Tensor, int]:
    """How a recording comes to a peak of one, its spectrum then, and its length at the model's rate."""
    signal = np.ascontiguousarray(sound.waveform[0])
    if not np.diff(signal).any():
        raise AudioError("the recording is silent: there is nothing to encode")
    whole = replace(front_end, trim_db=None)
    slow = resample(signal, sound.rate, front_end.sample_rate)
    slow = np.pad(slow, (0, -len(slow) % front_end.hop_length), mode="edge") if len(slow) else np.zeros(1, np.float32)
    preparation = Preparation.of(slow, whole)
    prepared = torch.from_numpy(preparation.apply(slow))
    return preparation, front_end.stft(prepared), len(prepared)


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.abs().square().unsqueeze(0)


def _encoded(model: DVAE, spectrum: Tensor) -> tuple[Latents, Tensor, Tensor | None]:
    """The posterior's means, its deviations, and the KL of each dimension."""
    x = _power(spectrum)
    w = torch.zeros(1, model.w_dim) if model.w_dim else None
    noise = Latents(torch.zeros(1, x.shape[1], model.noise_dim), w)
    posterior = model.posterior(x, noise=noise)
    kl = model.elbo(x, noise=noise).kl
    return posterior.latents, posterior.z.stddev, kl[0].mean(0) if kl.shape[-1] == model.z_dim else None


def trajectories(found: Explored, hop: float, edit: Edit) -> Any:
    """The latents over time, the most telling first, and the changed one among them."""
    order = torch.argsort(found.mean.var(0) if found.kl is None else found.kl, descending=True).tolist()
    if edit.dimension is not None:
        order = [edit.dimension, *(each for each in order if each != edit.dimension)]
    both = edit.kind != "nothing"
    drawing = figure(WIDTH, 4.6 if both else 2.8)
    axes = drawing.subplots(2 if both else 1, 1, sharex=True, squeeze=False)[:, 0]
    latent_trajectories(found.mean, found.std, axes[0], order=order, hop_seconds=hop, title="latents, as inferred")
    if both:
        nothing = torch.zeros_like(found.std)
        latent_trajectories(found.changed, nothing, axes[1], order=order, hop_seconds=hop, title="latents, as decoded")
        axes[0].set_xlabel("")
    return drawing


def remarks(model: DVAE, found: Explored) -> str:
    """What is to be said of a model's latents, as Markdown."""
    fed = " It is fed its own past frames." if model.autoregressive else ""
    if found.kl is None:
        return f"{model.z_dim} latent dimensions.{fed}"
    best = torch.argsort(found.kl, descending=True)[:3].tolist()
    names = ", ".join(f"{each + 1} ({found.kl[each]:.1f})" for each in best)
    active = int((found.kl > 0.01).sum())
    used = f"{active} of {model.z_dim} latent dimensions are in use"
    return f"{used}. Those that say most, in nats a frame: {names}.{fed}"


def tab(desk: Desk) -> None:
    """Build the tab."""
    gr = desk.gr
    names = desk.shelf.sound
    first = desk.shelf.usual("rvae-speech")
    with desk.sides(ABOUT) as (left, right):
        with left:
            sound = desk.recorder("recording", "explore-in")
            second = desk.recorder("second recording, to swap with", "explore-second")
            example = gr.Button("Example: two voices", size="sm", elem_id="explore-example")
            name = gr.Dropdown(names, value=first, label="model")
            kind = gr.Radio([(text, key) for key, text in EDITS.items()], value="nothing", label="change",
                            elem_id="explore-kind")  # fmt: skip
            dimension = gr.Dropdown(_dimensions(desk.shelf[first]), value=ALL, label="of which latent dimension")
            factor = gr.Slider(-3, 3, 2, step=0.1, label="factor of the scale")
            go = gr.Button("Resynthesise", variant="primary", elem_id="explore-go")
        with right:
            with gr.Row():
                before = desk.player("before", "explore-before")
                after = desk.player("after", "explore-after")
            said = gr.Markdown(elem_id="explore-said")
            both = gr.HTML()
            paths = gr.HTML()

    def run(path: str | None, other: str | None, chosen: str, how: Any, which: Any, by: Any) -> Any:
        model, recording = desk.shelf[chosen], read_sound(path, desk.limits)
        place = None if which == ALL else round(number("dimension", which, 1, model.z_dim)) - 1
        edit = Edit(how, place, number("factor", by, -10, 10))
        giver = read_sound(other, desk.limits) if how == "swap" else None
        recording = Sound(recording.waveform[:1], recording.rate)
        found = explore(recording, model, edit, giver)
        front_end = speech_front_end(model)
        drawing = spectra({"before": recording, "after": found.sound}, front_end)
        curves = trajectories(found, front_end.hop_length / front_end.sample_rate, edit)
        return (played(recording), played(found.sound), remarks(model, found),
                picture(drawing, "spectrograms before and after, on one scale of colours"),
                picture(curves, "latent dimensions over time"))  # fmt: skip

    desk.quick(name.change, lambda chosen: gr.Dropdown(choices=_dimensions(desk.shelf[chosen]), value=ALL), [name],
               [dimension])  # fmt: skip
    desk.quick(example.click, lambda: (played(clean_speech("clara")), played(clean_speech("ben", 1))), [],
               [sound, second])  # fmt: skip
    desk.job(go.click, run, [sound, second, name, kind, dimension, factor], [before, after, said, both, paths],
             name="explore")  # fmt: skip


def _dimensions(model: DVAE) -> list[str]:
    return [ALL, *map(str, range(1, model.z_dim + 1))]
