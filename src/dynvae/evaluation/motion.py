"""The evaluation of a model of motion: analysis-resynthesis of whole sequences, and futures of their beginnings."""

from __future__ import annotations

__all__ = ["MotionEvaluation", "Windows", "evaluate_motion", "futures_of", "skeleton_of", "windows_of"]

import csv
import dataclasses
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dynvae.data.motion import MotionCorpus
from dynvae.errors import ConfigError, DataError
from dynvae.evaluation.analysis import LatentsAt, evaluating, file_noise
from dynvae.evaluation.records import FileScores, Records
from dynvae.evaluation.run import fingerprint
from dynvae.files import atomic_write
from dynvae.metrics import Score, Summary, summarize
from dynvae.metrics.motion import FutureScores, mpjpe, multimodal_sets, score_futures
from dynvae.models import DVAE
from dynvae.motion import Skeleton

logger = logging.getLogger(__name__)

MODEL, STILL, NEAREST = "model", "zero velocity", "nearest neighbours"
AT_ONCE = 16  # windows, each with all its futures
_MOST_NEIGHBOURS = 50_000
_COMPARED = 5  # last frames of a beginning that a neighbour is found by


class Windows(NamedTuple):
    """Beginnings and what follows, in metres, cut out of sequences.

    Attributes:
        names: ``SEQUENCE@FRAME``, by the first frame.
        past: ``(windows, observed, feature)``.
        future: ``(windows, predicted, feature)``.
    """

    names: list[str]
    past: Tensor
    future: Tensor


@dataclass(frozen=True)
class MotionEvaluation:
    """What an evaluation found.

    Attributes:
        settings: everything that decides the numbers.
        sequences: the results of each sequence.
        resynthesis: their summaries: terms of the ELBO in nats a frame, then the MPJPE in mm, by name.
        futures: summaries over windows, by method and score, in metres; empty if no futures were asked for.
        windows: how many there are, and how many of them are like no other.
        problem: why the model has no futures; empty if it has.
    """

    settings: Mapping[str, Any]
    sequences: Sequence[FileScores]
    resynthesis: Mapping[str, Summary]
    futures: Mapping[str, Mapping[str, Summary]]
    windows: tuple[int, int]
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, ready for JSON."""
        return {
            "format_version": 1,
            "settings": dict(self.settings),
            "sequences": len(self.sequences),
            "resynthesis": {name: dataclasses.asdict(summary) for name, summary in self.resynthesis.items()},
            "windows": self.windows[0],
            "windows_like_no_other": self.windows[1],
            "futures": {
                method: {name: dataclasses.asdict(summary) for name, summary in scores.items()}
                for method, scores in self.futures.items()
            },
            "problem": self.problem,
        }


def skeleton_of(model: DVAE, corpus: MotionCorpus) -> Skeleton:
    """The skeleton of a model, once it is sure that it fits.

    Raises:
        ConfigError: the model has none, or the recordings are of another body or frame rate.
    """
    skeleton = model.front_end
    if not isinstance(skeleton, Skeleton):
        raise ConfigError(f"this {type(model).__name__} carries no skeleton: it was not trained on motion")
    if skeleton.size != model.x_dim or not skeleton.same_body(corpus.skeleton):
        raise ConfigError(
            f"the model is for {skeleton.joints} joints at {skeleton.frame_rate:g} frames a second, {corpus.root} has "
            f"{corpus.skeleton.joints} at {corpus.skeleton.frame_rate:g}, or they hang together otherwise"
        )
    return skeleton


def evaluate_motion(
    model: DVAE,
    corpus: MotionCorpus,
    *,
    split: str = "test",
    latents: LatentsAt = "sample",
    seed: int = 0,
    futures: int = 50,
    observe: float = 0.5,
    predict: float = 2.0,
    threshold: float = 0.5,
    skip_lonely: bool = False,
    feedback: str = "mean",
    out: Path | None = None,
    overwrite: bool = False,
) -> MotionEvaluation:
    """Measure a model of motion.

    **Resynthesis** of whole sequences: terms of the ELBO, teacher-forced, in nats a frame of the model's own scale; and
    the MPJPE of the expected pose, in mm over the observed joints, with the true past frames and with the model's own.

    **Futures**: beginnings are cut out of each sequence every ``observe`` seconds, as long as they and what follows end
    before the sequence does. ``model.generate`` draws K continuations of each, which are compared with the truth and
    with the true futures of the windows whose last observed pose is alike
    (`dynvae.metrics.motion`). Beside the model stand two baselines: the last pose for ever, and what followed the K
    beginnings of the training split that are nearest in their last frames.

    Convention: all windows count, also those that are like no other, whose MMADE is their ADE (as in DLow); GSPS leaves
    them out of every score, which ``skip_lonely`` does.

    Args:
        model: trained on motion.
        corpus: all of it; the training split is for the baseline, and not needed without futures.
        split: what to measure on.
        latents: of the resynthesis: a ``"sample"`` of the posterior, or its ``"mean"``.
        seed: of everything that is drawn.
        futures: K; 0 has none.
        observe: seconds of a beginning.
        predict: seconds that follow.
        threshold: metres; last poses that are nearer (L2 over all coordinates) are alike.
        skip_lonely: leave out windows that are like no other.
        feedback: what a future is made of, and goes on from: the expected pose (``"mean"``), or a ``"sample"``.
        out: folder for ``scores.csv``, ``futures.csv``, ``settings.json`` and ``summary.json``.
        overwrite: replace an evaluation with other settings in ``out``.

    Raises:
        ConfigError: the model does not fit the recordings, a setting is out of range, or ``out`` holds something else.
        DataError: there are no sequences.
    """
    skeleton = skeleton_of(model, corpus)
    past, ahead = (round(seconds * skeleton.frame_rate) for seconds in (observe, predict))
    if futures < 0 or past < 1 or ahead < 1 or threshold < 0:
        raise ConfigError(f"observe ({observe}) and predict ({predict}) must last a frame, and futures ({futures}) and "
                          f"threshold ({threshold}) not be negative")  # fmt: skip
    measured = corpus.split(split) if split != "all" else corpus
    settings = {
        "model": fingerprint(model), "class": type(model).__name__, "front_end": skeleton.to_dict(),
        "data": str(Path(corpus.root).resolve()), "split": split, "latents": latents, "seed": seed, "futures": futures,
        "observed_frames": past, "predicted_frames": ahead, "threshold": threshold, "skip_lonely": skip_lonely,
        "feedback": feedback,
    }  # fmt: skip
    columns = ["elbo", "log_likelihood", "kl", *(["kl_w"] if model.w_dim else []), "mpjpe", "mpjpe_generation"]
    records = None if out is None else Records(out, settings, columns, overwrite=overwrite)
    rows = [_resynthesize(model, skeleton, item.name, item.subject, item.places, latents, seed) for item in measured]
    resynthesis = {name: summarize(row.scores[name] for row in rows) for name in columns}
    scores: dict[str, list[FutureScores]] = {}
    lonely, problem = 0, ""
    windows = windows_of(measured, skeleton, past, ahead) if futures else None
    if windows is not None:
        alike = multimodal_sets(windows.past[:, -1], threshold)
        lonely = sum(len(each) == 1 for each in alike)
        kept = [i for i, each in enumerate(alike) if len(each) > 1 or not skip_lonely]
        if not kept:
            raise DataError(f"{corpus.root}: no windows of {past} + {ahead} frames in the split {split}")
        methods = _baselines(corpus, skeleton, windows, futures, past, ahead)
        if model.causal:
            drawn = futures_of(model, skeleton, windows.past, ahead, futures, seed=seed, feedback=feedback)
            methods = {MODEL: drawn, **methods}
        else:
            problem = "this model cannot continue a sequence: its frames see latents of later ones"
        for method, samples in methods.items():
            scores[method] = [score_futures(samples[i], windows.future[alike[i]]) for i in kept]
        if out is not None:
            _write_futures(out / "futures.csv", [windows.names[i] for i in kept], [len(alike[i]) for i in kept], scores)
    summaries = {
        method: {name: summarize(getattr(each, name) for each in every) for name in FutureScores._fields}
        for method, every in scores.items()
    }
    count = 0 if windows is None else len(windows.names)
    found = MotionEvaluation(settings, rows, resynthesis, summaries, (count, lonely), problem)
    if records is not None:
        records.finish(rows, found.to_dict())
    return found


def windows_of(corpus: MotionCorpus, skeleton: Skeleton, past: int, ahead: int) -> Windows:
    """Beginnings of ``past`` frames and the ``ahead`` frames that follow, every ``past`` frames of each sequence.

    As published, a window begins before frame ``length - past - ahead``: a sequence that is just as long has none.

    Raises:
        DataError: all sequences are too short.
    """
    names, cut = [], []
    for item in corpus:
        frames = skeleton.frames(item.places) * skeleton.scale
        for start in range(0, len(frames) - past - ahead, past):
            names.append(f"{item.name}@{start}")
            cut.append(frames[start : start + past + ahead])
    if not cut:
        raise DataError(f"{corpus.root}: all sequences are shorter than {past} + {ahead} frames; ask for less")
    whole = torch.stack(cut)
    return Windows(names, whole[:, :past], whole[:, past:])


def futures_of(
    model: DVAE, skeleton: Skeleton, past: Tensor, ahead: int, samples: int, *, seed: int = 0, feedback: Any = "mean"
) -> Tensor:
    """What a model makes of beginnings, ``(windows, time, feature)``: ``(windows, samples, ahead, feature)``; metres.

    The latents of a beginning are their posterior's means, given it alone.
    """
    weight = model.weight
    generator = torch.Generator(device=weight.device).manual_seed(seed)
    drawn = []
    with evaluating(model):
        for some in past.split(AT_ONCE):
            prefix = (some / skeleton.scale).to(weight.device, weight.dtype)
            x = model.generate(prefix, ahead, samples=samples, feedback=feedback, generator=generator).x
            drawn.append(x.cpu() * skeleton.scale)
    return torch.cat(drawn)


def _resynthesize(
    model: DVAE, skeleton: Skeleton, name: str, subject: str, places: Tensor, latents: LatentsAt, seed: int
) -> FileScores:
    """The terms of a sequence and its errors in both modes, with the same noise."""
    x = skeleton.frames(places).to(model.weight.device, model.weight.dtype).unsqueeze(0)
    values: dict[str, float] = {}
    with evaluating(model):
        noise = file_noise(model, name, x.shape[1], seed)
        elbo = model.elbo(x, noise=noise)
        terms = {"elbo": elbo.total, "log_likelihood": elbo.log_likelihood.sum(-1), "kl": elbo.kl.sum((-2, -1))}
        if elbo.kl_w is not None:
            terms["kl_w"] = elbo.kl_w
        values = {term: float(value) / x.shape[1] for term, value in terms.items()}
        for column, mode in (("mpjpe", "teacher-forced"), ("mpjpe_generation", "generation")):
            mean = model.resynthesize(x, mode=mode, latents=latents, noise=noise).mean  # type: ignore[arg-type]
            values[column] = float(mpjpe(mean, x).mean()) * skeleton.scale * 1000
    seconds = x.shape[1] / skeleton.frame_rate
    return FileScores(name, subject, seconds, x.shape[1], {key: Score.of(value) for key, value in values.items()})


def _baselines(
    corpus: MotionCorpus, skeleton: Skeleton, windows: Windows, samples: int, past: int, ahead: int
) -> dict[str, Tensor]:
    """Futures that need no model, ``(windows, samples, ahead, feature)``."""
    still = windows.past[:, -1:].expand_as(windows.future).unsqueeze(1)
    found = {STILL: still}
    try:
        train = corpus.split("train")
    except DataError:
        logger.warning("%s has no training split: no neighbours to compare with", corpus.root)
        return found
    compared = min(past, _COMPARED)
    known = [skeleton.frames(item.places) * skeleton.scale for item in train]
    starts = [(i, t) for i, frames in enumerate(known) for t in range(compared, len(frames) - ahead + 1)]
    starts = starts[:: max(1, -(-len(starts) // _MOST_NEIGHBOURS))]
    if len(starts) < samples:
        logger.warning("%s: the training sequences are too short for %d neighbours", corpus.root, samples)
        return found
    ends = torch.stack([known[i][t - compared : t].flatten() for i, t in starts])
    chosen = torch.cdist(windows.past[:, -compared:].flatten(1), ends).topk(samples, largest=False).indices
    futures = [torch.stack([known[i][t : t + ahead] for i, t in (starts[j] for j in row)]) for row in chosen.tolist()]
    return found | {NEAREST: torch.stack(futures)}


def _write_futures(
    path: Path, names: Sequence[str], alike: Sequence[int], scores: Mapping[str, Sequence[FutureScores]]
) -> None:
    """A row a window: how many windows are like it (itself included), and the scores of each method."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["window", "alike", *(f"{score} of {method}" for method in scores for score in FutureScores._fields)]
    )
    for i, (name, count) in enumerate(zip(names, alike, strict=True)):
        writer.writerow([name, count, *(repr(value) for every in scores.values() for value in every[i])])
    with atomic_write(path) as temp:
        temp.write_text(buffer.getvalue(), encoding="utf-8")
