"""``python -m benchmarks.mixtures``: tracking and separation by mixtures of DVAEs, beside the published code."""

from __future__ import annotations

import configparser
import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.command import Choices, main, numbers, pick, shapes
from benchmarks.measure import clock_of, interleave, ratio
from benchmarks.results import Row
from dynvae.audio import AUDIO_SUFFIXES, FrontEnd
from dynvae.data.corpus import sound_files
from dynvae.data.mixtures import KnownMixture, Part
from dynvae.data.trajectories import draw_trajectories
from dynvae.errors import ConfigError
from dynvae.metrics import si_sdr
from dynvae.mixtures import Estimate, GaussianAssignment, Mixture, Observations, cascade, legacy
from dynvae.models import DVAE
from dynvae.pretrained import load
from dynvae.pretrained.published import read_published
from dynvae.separation import Separator

CASCADE = 20
"""Iterations of each piece of the initialisation of tracks, as published."""
OBJECTS, MISSING = 3, 0.15
SHAPES = {"tracking": [(4, 60)], "separation": [(3, 50)]}


class PublishedMixtures:
    """The checkout of linxiaoyu1/MixDVAE, imported and run as it is, with the weights that it has.

    Args:
        path: the checkout.

    Raises:
        ConfigError: it is none.
    """

    def __init__(self, path: Path) -> None:
        weights = path / "models" / "pretrained_dvae_models"
        if not (path / "models" / "vem_mot.py").is_file() or not (weights / "model_mot.pt").is_file():
            raise ConfigError(f"{path} is not a checkout of linxiaoyu1/MixDVAE: it lacks models or weights")
        sys.path.insert(0, str(path))
        try:
            self._modules = {
                name: importlib.import_module(f"models.{name}")
                for name in ("vem_mot", "vem_scass", "srnn_dvae_vem_mot", "srnn_dvae_vem_scass")
            }
        finally:
            sys.path.remove(str(path))
        self._configs, self._weights = path / "config", weights
        self.boxes = read_published(weights / "model_mot.pt")[0]
        self.sounds = [read_published(weights / f"model_scass_{name}.pt")[0] for name in ("cbf", "wsj")]

    def _model(self, kind: str, name: str, config: configparser.ConfigParser) -> Any:
        model = self._modules[f"srnn_dvae_vem_{kind}"].SRNN(config, "cpu")
        model.load_state_dict(torch.load(self._weights / f"model_{name}.pt", map_location="cpu", weights_only=True))
        return model.eval()

    def _config(self, kind: str) -> configparser.ConfigParser:
        config = configparser.ConfigParser()
        config.read(self._configs / f"cfg_dvae_vem_{kind}.ini")
        return config

    def track(self, detections: Tensor) -> Tensor:
        """η of the last iteration, ``(batch, source, time, observation)``."""
        config = self._config("mot")
        solver = self._modules["vem_mot"].VEM(config, "cpu", self._model("mot", "mot", config), None)
        with _quiet():
            eta, _, _ = solver.model_training(detections)
        return torch.nan_to_num(eta[-1]).transpose(0, 1)

    def separate(self, spectra: Tensor) -> Tensor:
        """The means of the last iteration, ``(batch, source, time, bins)``."""
        config = self._config("scass")
        config["DataFrame"].update({"batch_size": str(len(spectra)), "sequence_len": str(spectra.shape[1])})
        models = [self._model("scass", f"scass_{name}", config) for name in ("cbf", "wsj")]
        solver = self._modules["vem_scass"].VEM(config, "cpu", models, None)
        torch.manual_seed(0)
        with _quiet():
            means = solver.model_training({"data_mixed": spectra.transpose(1, 2)})
        return means[-1].transpose(0, 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that it prints at each iteration, and PyTorch's about functions that are old."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- tracking ------------------------------------------------------------------------------------------------------


def _boxes(batch: int, time: int) -> tuple[Tensor, Tensor]:
    """Detections of three boxes with noise, some missing, in another order at each frame, and whose they are."""
    generator = torch.Generator().manual_seed(0)
    paths = draw_trajectories(batch * OBJECTS, time, seed=0).unflatten(0, (batch, OBJECTS)).transpose(1, 2)
    size = (paths[..., 2:] - paths[..., :2]).abs()
    noisy = paths + 0.02 * torch.cat([size, size], -1) * torch.randn(paths.shape, generator=generator)
    missing = torch.rand(paths.shape[:3], generator=generator) < MISSING
    missing[:, :5] = False  # the published code needs the first frames
    noisy = noisy.masked_fill(missing.unsqueeze(-1), torch.nan)
    order = torch.rand(paths.shape[:3], generator=generator).argsort(-1)
    order[:, 0] = torch.arange(OBJECTS)
    return noisy.gather(2, order.unsqueeze(-1).expand_as(noisy)), order


def _published_tracking(model: DVAE, detections: Tensor) -> Tensor:
    first = detections[:, 0]
    noise = legacy.box_noise(first)
    observed = Observations(detections, detections.isfinite().all(-1), noise.unsqueeze(1))
    resting = cascade(legacy.tracking(model, iterations=CASCADE), observed, Estimate(first, noise),
                      sure=legacy.FIRST_VARIANCE, refined=False)  # fmt: skip
    start = Estimate(first, torch.full_like(first, legacy.FIRST_VARIANCE))
    return legacy.tracking(model).run(observed, resting, start=start).assignment


def _own_tracking(model: DVAE, detections: Tensor) -> Tensor:
    """With the prior in gaps, and no more iterations than it takes."""
    first = detections[:, 0]
    noise = legacy.box_noise(first)
    observed = Observations(detections, detections.isfinite().all(-1), noise.unsqueeze(1))
    mixture = Mixture(model, GaussianAssignment(temper=0.008, floor=1e-10), iterations=10)
    begin = Estimate(first, torch.full_like(first, legacy.FIRST_VARIANCE))
    guess = cascade(mixture, observed, begin)
    return mixture.run(observed, guess, start=begin).assignment


def _tracking(choices: Choices, batch: int, time: int, threads: int) -> list[Row]:
    reference: PublishedMixtures | None = choices.reference
    torch.manual_seed(0)
    model = load("srnn-boxes") if reference is None else reference.boxes
    detections, whose = _boxes(batch, time)
    found: dict[str, Tensor] = {}
    runs: dict[str, Callable[[], object]] = {}
    if reference is not None:
        runs["reference"] = lambda: found.update(reference=reference.track(detections))
    runs["published settings"] = lambda: found.update({"published settings": _published_tracking(model, detections)})
    runs["dynvae"] = lambda: found.update(dynvae=_own_tracking(model, detections))
    present = detections.isfinite().all(-1)

    def right(name: str) -> float:
        return float((found[name].argmax(1) == whose)[present].float().mean())

    return _rows("tracking", runs, choices, (batch, time, threads), lambda name: {"accuracy": right(name)})


# ---- separation ----------------------------------------------------------------------------------------------------


def _voice(data: Path | None, seed: int) -> Part:
    """One of the recordings; without any, another flute."""
    if data is None:
        return Part(None, (seed, 1))
    files = list(sound_files(data, AUDIO_SUFFIXES))
    return Part(data / files[seed * 7 % len(files)], (seed, 1))


def _separation(choices: Choices, batch: int, time: int, threads: int) -> list[Row]:
    reference: PublishedMixtures | None = choices.reference
    models = [load("srnn-speech"), load("vae-speech")] if reference is None else reference.sounds
    front_end = models[0].front_end
    assert isinstance(front_end, FrontEnd)
    samples = (time - 1) * front_end.hop_length
    known = [KnownMixture("", (Part(None, (seed, 0)), _voice(choices.data, seed)), samples / 16000) for seed in
             range(batch)]  # fmt: skip
    loaded = [each.load(16000) for each in known]
    mixtures, sources = (torch.from_numpy(np.stack(part)) for part in zip(*loaded, strict=True))
    spectra = front_end.stft(mixtures)
    found: dict[str, Tensor] = {}
    runs: dict[str, Callable[[], object]] = {}
    if reference is not None:
        runs["reference"] = lambda: found.update(reference=front_end.istft(reference.separate(spectra), samples))
    published = Separator(models, floor=1e-10, estimate="mean", **legacy.SEPARATION)
    runs["published settings"] = lambda: found.update({"published settings": published.separate(mixtures)[0]})
    for iterations in (10, 20):
        own, name = Separator(models, iterations=iterations), f"dynvae, {iterations}"
        runs[name] = lambda own=own, name=name: found.update({name: own.separate(mixtures)[0]})  # type: ignore[misc]

    def mean_score(name: str) -> float:
        pairs = zip(sources.flatten(0, 1).numpy(), found[name].flatten(0, 1).numpy(), strict=True)
        return float(np.mean([si_sdr(true, estimate) for true, estimate in pairs]))

    seconds = batch * samples / 16000
    return _rows(
        "separation", runs, choices, (batch, time, threads),
        lambda name: {"si_sdr": mean_score(name), "seconds": seconds},
    )  # fmt: skip


def _rows(
    task: str,
    runs: dict[str, Callable[[], object]],
    choices: Choices,
    size: tuple[int, int, int],
    quality: Callable[[str], dict[str, Any]],
) -> list[Row]:
    batch, time, threads = size
    torch.set_num_threads(threads)
    samples, clock = interleave(runs, choices.steps or 3, warmup=1), clock_of(threads)
    return [
        Row(
            "mixtures", task, "srnn", name, batch, time, threads, clock, 1000 * samples[name].median().wall,
            1000 * samples[name].median().cpu, len(samples[name]), samples[name].spread(clock),
            ratio=ratio(samples, name, clock), **quality(name),
        )
        for name in runs
    ]  # fmt: skip


TASKS = {"tracking": _tracking, "separation": _separation}


@dataclass(frozen=True)
class Mixtures:
    """From detections to tracks, and from mixed spectra to waveforms: the initialisation, too.

    Of tracking, the accuracy is the share of detections that are given to their object; of separation, SI-SDR is the
    mean over both sources.
    """

    purpose: str = "Time tracking and separation by mixtures of DVAEs."

    def jobs(self, choices: Choices) -> list[Callable[[], list[Row]]]:
        """A contest for each task, shape and number of threads."""
        todo = pick("task", choices.tasks or tuple(TASKS), TASKS)
        return [
            partial(contest, choices, batch, time, threads)
            for threads in numbers(choices.threads or ("1",))
            for task, contest in todo.items()
            for batch, time in (shapes(choices.shapes) if choices.shapes else SHAPES[task])
        ]


MIXTURES = Mixtures()


if __name__ == "__main__":
    sys.exit(main(MIXTURES, reference=PublishedMixtures))
