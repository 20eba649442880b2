"""``dynvae evaluate MODEL --data DATA``: measure a model by analysis-resynthesis, and one of motion by its futures."""

from __future__ import annotations

__all__ = ["run", "verb_parser"]

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from dynvae.cli.inputs import stem
from dynvae.cli.parsing import Parser, make_parser, words
from dynvae.cli.progress import progress_of
from dynvae.cli.telling import notice, tell, writes
from dynvae.data import Corpus
from dynvae.evaluation import Evaluation, evaluate
from dynvae.metrics import METRICS, Summary
from dynvae.motion import Skeleton
from dynvae.pretrained import load
from dynvae.training.machine import flush_denormals

DESCRIPTION = """Measure a model by analysis-resynthesis: of speech with the original phase, on whole utterances. The
folder --out gets every file's scores (scores.csv) and their summary (summary.json); an evaluation that was stopped goes
on there. Files that a score is not defined on are counted with the reason, and averaged nowhere. A model that was
trained on motion is measured on motion, by its error in mm and by several futures of each beginning (futures.csv)."""

LABELS = {
    "elbo": "ELBO",
    "log_likelihood": "ln p(x|z)",
    "kl": "KL",
    "kl_w": "KL of w",
    "itakura_saito": "Itakura-Saito",
    "hoyer": "sparsity (Hoyer)",
}
MARKS = {True: "↑", False: "↓"}
EXAMPLES = (
    "dynvae evaluate srnn-speech --data speech --mode generation",
    "dynvae evaluate runs/srnn --data speech --split all --limit 50 --json > scores.json",
)


def run(arguments: list[str]) -> int:
    """Measure, and return 0.

    Raises:
        DynvaeError: the model, the corpus or a setting cannot be used, or no file could be measured.
    """
    settings = verb_parser(arguments).parse_args(arguments)
    flush_denormals()
    model = load(settings.model, device=settings.device)
    out = Path(settings.out) if settings.out else _default_folder(settings)
    if isinstance(model.front_end, Skeleton):
        from dynvae.cli.motion import evaluate_command

        return evaluate_command(model, settings, out)
    if model.condition_dim:
        notice("evaluate", f"{settings.model} sees lips, and is measured without them")
    corpus = Corpus.open(settings.data)
    if settings.split != "all":
        corpus = corpus.split(settings.split)
    with progress_of("evaluate", partial(writes, "evaluate", "scores.csv and summary.json", out)) as report:
        found = evaluate(
            model,
            corpus,
            mode=settings.mode,
            latents=settings.latents,
            seed=settings.seed,
            metrics=words(settings.metrics),
            engine=settings.engine,
            workers=settings.workers,
            batch_size=settings.batch_size,
            limit=settings.limit,
            out=out,
            overwrite=settings.overwrite,
            report=report,
        )
    if settings.json:
        tell({"model": settings.model, "out": str(out), **found.to_dict()}, (), as_json=True)
    else:
        _show(found, settings, out, model.autoregressive)
    return 0


def verb_parser(arguments: Sequence[str] = ()) -> Parser:
    """The parser of the verb."""
    parser = make_parser("evaluate", DESCRIPTION, EXAMPLES)
    add: Any = parser.add_argument
    add("--config", action="config", help="a YAML file of settings; options that follow win over it")
    add("model", type=str, help="a bundled name, a model's or a run's folder, or a name on the hub")
    add(
        "--data",
        type=str,
        required=True,
        help="folder of audio files, manifest (.csv, .jsonl), or 'builtin'; for a model of motion, recorded motion",
    )
    add("--split", type=str, default="test", help="part of the corpus, or 'all'")
    add("--mode", type=Literal["teacher-forced", "generation"], default="teacher-forced",
        help="what an autoregressive model sees as past: the true frames, or its own")  # fmt: skip
    add("--latents", type=Literal["sample", "mean"], default="sample", help="of the posterior")
    add("--seed", type=int, default=0, help="of the latents' noise")
    add("--metrics", type=str, default=",".join(METRICS), help="names, with commas between them")
    add("--engine", type=Literal["processes", "ray"], default="processes",
        help="workers on this machine, or on the Ray cluster that RAY_ADDRESS names")  # fmt: skip
    add("--workers", type=int, default=2, help="that measure at a time, a core each; 0 for none besides this process")
    add("--batch-size", type=int, default=16, help="utterances that pass through the model together")
    add("--limit", type=int, default=None, help="measure so many files, spread evenly over the corpus")
    add("--futures", type=int, default=50, help="motion: continuations of each beginning; 0 for none")
    add("--observe", type=float, default=0.5, help="motion: seconds of a beginning")
    add("--predict", type=float, default=2.0, help="motion: seconds that follow")
    add("--threshold", type=float, default=0.5, help="motion: metres; beginnings whose last poses are nearer are alike")
    add("--skip-lonely", type=bool, default=False,
        help="motion: leave out beginnings that are like no other, as GSPS does and DLow does not")  # fmt: skip
    add("--pictures", type=bool, default=True, help="motion: draw some futures, as stick figures and as a film")
    add("--device", type=str, default="cpu", help="where the model runs, e.g. cuda")
    add("--out", type=str, default=None, help="folder of the results; evaluation/MODEL/... by default")
    add("--overwrite", action="store_true", help="replace an evaluation with other settings in --out")
    return parser


def _default_folder(settings: Any) -> Path:
    """A folder that tells what is in it: one a model, corpus, split, mode, kind of latents and seed."""
    latents = "mean" if settings.latents == "mean" else f"seed{settings.seed}"
    name = f"{stem(settings.data)}-{settings.split}-{settings.mode}-{latents}"
    return Path("evaluation") / stem(settings.model) / name


def _show(found: Evaluation, settings: Any, out: Path, autoregressive: bool) -> None:
    """The summary as a table for people."""
    mode = settings.mode if autoregressive else "not autoregressive"
    latents = "posterior means" if settings.latents == "mean" else f"sampled latents, seed {settings.seed}"
    title = f"{settings.model} on {settings.data} ({settings.split}): {mode}, {latents}"
    caption = (
        f"{', '.join(LABELS[name] for name in found.scores if name in LABELS and name != 'hoyer')}: nats per frame"
    )
    print(title)  # not the table's, which would break it
    table = Table(caption=caption, caption_justify="left")
    for heading in ("", "mean", "95 % interval", "median", "n", "failed"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, summary in found.scores.items():
        table.add_row(_label(name), *_cells(name, summary))
    console = Console()
    console.print(table)
    reasons: dict[tuple[str, int], list[str]] = {}
    for name, summary in found.scores.items():
        for reason, count in summary.failures.items():
            reasons.setdefault((reason, count), []).append(name)
    for (reason, count), names in reasons.items():
        print(f"{count} without {', '.join(names)}: {reason}")
    timing = found.timing
    if timing["files"]:
        print(
            f"{timing['files']} files, {timing['sound_seconds'] / 60:.1f} min of speech, in "
            f"{timing['wall_seconds']:.1f} s, {timing['files'] / timing['wall_seconds']:.2g} files a second; over all "
            f"workers, the model took {timing['model_seconds']:.1f} s and the scores {timing['score_seconds']:.1f} s"
        )
    if timing["files"] < len(found.files):
        print(f"{len(found.files) - timing['files']:.0f} files had been measured before")
    print(f"scores of each file: {out / 'scores.csv'}; summary: {out / 'summary.json'}")


def _label(name: str) -> str:
    if name in METRICS:
        metric = METRICS[name]
        unit = f" ({metric.unit})" if metric.unit else ""
        return f"{metric.label}{unit} {MARKS[metric.higher_is_better]}"
    if name == "hoyer":
        return LABELS[name]
    return f"{LABELS[name]} {MARKS[name in ('elbo', 'log_likelihood')]}"


def _cells(name: str, summary: Summary) -> list[str]:
    failed = sum(summary.failures.values())
    if summary.mean is None or summary.median is None:
        return ["–", "–", "–", str(summary.n), str(failed)]
    digits = {"rmse": 4, "stoi": 3, "estoi": 3, "hoyer": 3}.get(name, 1 if name in LABELS else 2)
    interval = "–"
    if summary.low is not None and summary.high is not None:
        interval = f"{summary.low:.{digits}f} … {summary.high:.{digits}f}"
    numbers = [f"{summary.mean:.{digits}f}", interval, f"{summary.median:.{digits}f}"]
    return [*numbers, str(summary.n), str(failed)]
