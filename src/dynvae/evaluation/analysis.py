"""Analysis-resynthesis: waveforms pass through a model and come back with their own phase."""

from __future__ import annotations

__all__ = ["Resynthesis", "analysis_resynthesis", "evaluating", "file_noise", "speech_front_end"]

import contextlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from dynvae.audio import FrontEnd
from dynvae.distributions import POWER_FLOOR
from dynvae.errors import ConfigError
from dynvae.metrics import hoyer
from dynvae.models import DVAE, Latents
from dynvae.work import item_seed

Mode = Literal["teacher-forced", "generation"]
LatentsAt = Literal["sample", "mean"]


class Resynthesis(NamedTuple):
    """What a model makes of one utterance.

    Attributes:
        waveform: ``(samples,)``, in step with the one that went in.
        power: the model's expected power, ``(time, bins)``.
        terms: ``elbo``, ``log_likelihood``, ``kl``, for some models ``kl_w``, and ``itakura_saito``, in nats a frame;
            empty if they were not asked for. Beside these ``hoyer``, the sparsity of the posterior's means along the
            recursion (:func:`dynvae.metrics.hoyer`), averaged over frames.
    """

    waveform: Tensor
    power: Tensor
    terms: dict[str, float]


def speech_front_end(model: DVAE) -> FrontEnd:
    """The front end of a model, once it is sure that it fits.

    Raises:
        ConfigError: the model has none, or it does not make the frames that the model takes.
    """
    front_end = model.front_end
    if not isinstance(front_end, FrontEnd):
        raise ConfigError(
            f"this {type(model).__name__} carries no front end for sound, so nothing tells how that becomes its "
            "input; set model.front_end, or train it on sound"
        )
    if front_end.bins != model.x_dim:
        raise ConfigError(f"the front end makes frames of {front_end.bins} bins, the model takes {model.x_dim}")
    return front_end


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients; afterwards every part of it is as before."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def file_noise(model: DVAE, name: str, frames: int, seed: int) -> Latents:
    """The noise of one file's latents: decided by seed and name, whatever else is in its batch.

    Args:
        model: whose latents.
        name: of the file, as the corpus calls it.
        frames: length of the file.
        seed: of the evaluation.

    Returns:
        Noise of batch size 1.
    """
    generator = torch.Generator(device=next(model.parameters()).device).manual_seed(item_seed(seed, name))
    return model.draw_noise(1, frames, generator)


def analysis_resynthesis(
    model: DVAE,
    waveforms: Sequence[Tensor],
    names: Sequence[str],
    *,
    mode: Mode = "teacher-forced",
    latents: LatentsAt = "sample",
    seed: int = 0,
    bound: bool = True,
) -> list[Resynthesis]:
    r"""Pass prepared utterances through a model, as one batch.

    The model sees the power of the STFT, X, and gives its expected power v; the result is the inverse transform of
    :math:`\sqrt{v}\, e^{i \angle X}`, with the phase of the original (Girin et al., 2021, section 13.2).

    The terms of the ELBO are always those of a *sample* of the latents, since at the posterior's mean it would be no
    bound; the Itakura-Saito divergence belongs to the resynthesis. In generation mode the ELBO is that of the model
    whose past frames are its own means, which is a DVAE as well.

    Args:
        model: with a front end; its mode (training or not) is left as it was.
        waveforms: each ``(samples,)``, prepared by `dynvae.audio.prepare`.
        names: decide each one's noise, together with the seed.
        mode: what an autoregressive model sees as past: the true frames or its own expected power.
        latents: a sample of the posterior, or its mean along the recursion.
        seed: of the noise.
        bound: compute the terms.

    Returns:
        A result for each waveform, on the CPU. Waveforms of a batch do not influence each other.

    Raises:
        ConfigError: the model has no front end that fits.
    """
    front_end = speech_front_end(model)
    weight = next(model.parameters())
    spectra = [front_end.stft(waveform.to(weight.device, weight.dtype)) for waveform in waveforms]
    x = pad_sequence([spectrum.real.square() + spectrum.imag.square() for spectrum in spectra], batch_first=True)
    frames = [len(spectrum) for spectrum in spectra]
    lengths = torch.tensor(frames, device=x.device)
    with evaluating(model):
        noises = [file_noise(model, name, time, seed) for name, time in zip(names, frames, strict=True)]
        noise = Latents(
            pad_sequence([noise.z[0] for noise in noises], batch_first=True),
            None if noises[0].w is None else torch.cat([noise.w for noise in noises if noise.w is not None]),
        )
        power = model.resynthesize(x, lengths, mode=mode, latents=latents, noise=noise).mean.clamp(min=0)
        terms = _terms(model, x, lengths, noise, mode, power) if bound else [{} for _ in frames]
    results = []
    for spectrum, waveform, own_power, own_terms in zip(spectra, waveforms, power, terms, strict=True):
        own_power = own_power[: len(spectrum)]
        resynthesized = front_end.istft(torch.polar(own_power.sqrt(), spectrum.angle()), length=len(waveform))
        results.append(Resynthesis(resynthesized.cpu(), own_power.cpu(), own_terms))
    return results


def _terms(
    model: DVAE, x: Tensor, lengths: Tensor, noise: Latents, mode: Mode, power: Tensor
) -> list[dict[str, float]]:
    """The terms of each sequence, in nats a frame."""
    elbo = model.elbo(x, lengths, noise=noise, free_running=float(mode == "generation"))
    terms = {"elbo": elbo.total, "log_likelihood": elbo.log_likelihood.sum(-1), "kl": elbo.kl.sum((-2, -1))}
    if elbo.kl_w is not None:
        terms["kl_w"] = elbo.kl_w
    # A power below the floor counts as the floor: the divergence of an exact zero is infinite.
    ratio = x.clamp(min=POWER_FLOOR) / power.clamp(min=POWER_FLOOR)
    divergence = (ratio - ratio.log() - 1).sum(-1)
    valid = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(-1)
    terms["itakura_saito"] = divergence.where(valid, 0).sum(-1)
    quiet = Latents(torch.zeros_like(noise.z), None if noise.w is None else torch.zeros_like(noise.w))
    means = model.posterior(x, lengths, noise=quiet).z.mean
    terms["hoyer"] = hoyer(means).nan_to_num().where(valid, 0).sum(-1)
    per_frame = {name: (value / lengths).tolist() for name, value in terms.items()}
    return [dict(zip(per_frame, values, strict=True)) for values in zip(*per_frame.values(), strict=True)]
