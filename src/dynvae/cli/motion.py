"""``dynvae evaluate MODEL --data DATA`` where the model is one of motion."""

from __future__ import annotations

__all__ = ["evaluate_command"]

import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from dynvae.cli.telling import notice, tell
from dynvae.data.motion import MotionCorpus
from dynvae.errors import MissingExtraError
from dynvae.evaluation.motion import MotionEvaluation, evaluate_motion, futures_of, skeleton_of, windows_of
from dynvae.metrics import Summary
from dynvae.metrics.motion import FutureScores
from dynvae.models import DVAE

SHOWN = 9  # futures in a picture
LABELS = {
    "elbo": "ELBO (nats/frame) ↑",
    "log_likelihood": "ln p(x|z) (nats/frame) ↑",
    "kl": "KL (nats/frame)",
    "kl_w": "KL of w (nats/frame)",
    "mpjpe": "MPJPE, teacher-forced (mm) ↓",
    "mpjpe_generation": "MPJPE, generation (mm) ↓",
}


def evaluate_command(model: DVAE, settings: Any, out: Path) -> int:
    """Measure, show, draw, and return 0.

    Args:
        model: trained on motion.
        settings: of the verb ``evaluate``.
        out: folder of the results.

    Raises:
        DynvaeError: the recordings or a setting cannot be used.
    """
    corpus = MotionCorpus.open(settings.data)
    found = evaluate_motion(
        model,
        corpus,
        split=settings.split,
        latents=settings.latents,
        seed=settings.seed,
        futures=settings.futures,
        observe=settings.observe,
        predict=settings.predict,
        threshold=settings.threshold,
        skip_lonely=settings.skip_lonely,
        out=out,
        overwrite=settings.overwrite,
    )
    if settings.json:
        tell({"model": settings.model, "out": str(out), **found.to_dict()}, (), as_json=True)
    else:
        _show(found, settings, out)
    if settings.pictures and settings.futures and model.causal:
        try:
            for path in _draw(model, corpus, settings, found, out):
                print(path, file=sys.stderr if settings.json else sys.stdout)
        except MissingExtraError as error:
            notice("evaluate", f"no pictures: {error}")
    return 0


def _show(found: MotionEvaluation, settings: Any, out: Path) -> None:
    latents = "posterior means" if settings.latents == "mean" else f"sampled latents, seed {settings.seed}"
    table = Table(
        title=Text(f"{settings.model} on {settings.data} ({settings.split}): {latents}"), title_justify="left"
    )
    for heading in ("", "mean", "95 % interval", "median", "n"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, summary in found.resynthesis.items():
        table.add_row(LABELS[name], *_cells(summary))
    console = Console()
    console.print(table)
    if found.futures:
        past, ahead = found.settings["observed_frames"], found.settings["predicted_frames"]
        title = f"{found.settings['futures']} futures of {ahead} frames after {past}, in metres (mean over windows)"
        table = Table(title=Text(title), title_justify="left")
        for heading in ("", *(f"{name.upper()} {'↑' if name == 'apd' else '↓'}" for name in FutureScores._fields)):
            table.add_column(heading, justify="left" if not heading else "right")
        for method, scores in found.futures.items():
            table.add_row(method, *(f"{summary.mean:.3f}" for summary in scores.values()))
        console.print(table)
        count, lonely = found.windows
        fate = "left out" if settings.skip_lonely else "counted: their MMADE is their ADE"
        print(f"{count} windows, of which {lonely} are like no other ({fate})")
    if found.problem:
        print(found.problem)
    print(f"scores of each sequence: {out / 'scores.csv'}; of each window: {out / 'futures.csv'}; "
          f"summary: {out / 'summary.json'}")  # fmt: skip


def _cells(summary: Summary) -> list[str]:
    if summary.mean is None or summary.median is None:
        return ["–", "–", "–", str(summary.n)]
    interval = "–" if summary.low is None else f"{summary.low:.1f} … {summary.high:.1f}"
    return [f"{summary.mean:.1f}", interval, f"{summary.median:.1f}", str(summary.n)]


def _draw(model: DVAE, corpus: MotionCorpus, settings: Any, found: MotionEvaluation, out: Path) -> list[Path]:
    """The window whose future moves most: what was recorded and some futures, as a sheet and as a film."""
    from dynvae.report.skeletons import film, stick_figures
    from dynvae.report.style import save

    skeleton = skeleton_of(model, corpus)
    past, ahead = found.settings["observed_frames"], found.settings["predicted_frames"]
    measured = corpus if settings.split == "all" else corpus.split(settings.split)
    windows = windows_of(measured, skeleton, past, ahead)
    index = int(windows.future.std(1).mean(-1).argmax())
    futures = futures_of(model, skeleton, windows.past[index : index + 1], ahead, settings.futures, seed=settings.seed)

    def whole(future: Tensor) -> Tensor:
        return skeleton.places(torch.cat([windows.past[index], future]) / skeleton.scale)

    movements = {"recorded": whole(windows.future[index])}
    movements |= {f"future {k + 1}": whole(future) for k, future in enumerate(futures[0][:SHOWN])}
    paths = [out / "futures.png", out / "futures.gif"]
    save(stick_figures(movements, skeleton, observed=past), paths[0])
    film(paths[1], movements, skeleton, observed=past)
    try:
        film(out / "futures.mp4", movements, skeleton, observed=past)
        paths.append(out / "futures.mp4")
    except MissingExtraError:
        pass  # the GIF shows the same
    return paths
