"""The report of a benchmark: one HTML page, and its plots as files."""

from __future__ import annotations

__all__ = ["write_report"]

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from dynvae.audio import FRONT_ENDS
from dynvae.benchmark.plan import ROWS, BenchmarkConfig, Job
from dynvae.benchmark.results import Results, files_scores, ticks
from dynvae.benchmark.showing import Shown, choose, show
from dynvae.data import Utterances
from dynvae.errors import DynvaeError
from dynvae.files import atomic_write
from dynvae.pretrained import load
from dynvae.report import Entry, html, plots, to_html
from dynvae.report.environment import describe, environment
from dynvae.report.style import figure

logger = logging.getLogger(__name__)

SOUND_SECONDS = 6.0
"""So much of each file can be heard and seen; the scores are of whole files."""
DRAWN_SCORES = {"si_sdr": "SI-SDR (dB)", "pesq_wb": "PESQ WB (MOS)", "estoi": "ESTOI", "rmse": "RMSE"}
_NOTE = (
    "Analysis-resynthesis of whole test files with the original phase. Each number is the mean over files ± half the "
    "width of its 95 % bootstrap interval; the best of a line is marked. PESQ raw is the P.862 score that papers "
    "print as PESQ. The ELBO keeps all constants. Ticks follow from each model's declared dependencies; one in "
    "brackets is that of the plain VAE, whose encoder has the structure of its exact posterior without effort; the "
    "literature leaves it blank."
)


def write_report(
    config: BenchmarkConfig,
    jobs: Sequence[Job],
    results: Results,
    table: Sequence[Entry],
    *,
    seconds: float,
) -> Path:
    """Write ``index.html`` and ``plots/``, and return the page's path.

    Args:
        config: the settings.
        jobs: all runs.
        results: theirs.
        table: the entries.
        seconds: that the benchmark has taken so far.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    out = Path(config.out)
    first = [job for name in config.models for job in jobs if job.row == name and results.get(job.name)]
    first = [job for job in first if job.seed == min(other.seed for other in first if other.row == job.row)]
    chapters = [
        _scores(config, table),
        _distributions(first, out),
        *_examples(config, first, out),
        _learning(first, out),
        _models(config),
        _settings(config, jobs, results, seconds),
    ]
    links = "".join(
        f'<a href="#{anchor}">{title}</a>' for anchor, title in _CONTENTS if f'id="{anchor}"' in "".join(chapters)
    )
    body = f'<nav aria-label="contents">{links}</nav>\n' + "\n".join(chapters)
    files = max((summary.n for entry in table for summary in entry.scores.values()), default=0)
    lead = f"{len(config.models)} models, {files} test files, {len(config.seeds)} seed(s), data: {config.data}"
    path = out / "index.html"
    with atomic_write(path) as temp:
        temp.write_text(html.page("Dynamical variational autoencoders on speech", body, lead=lead), encoding="utf-8")
    return path


_CONTENTS = (
    ("table", "Scores"), ("distributions", "Distributions"), ("listen", "Listen"), ("latents", "Latents"),
    ("learning", "Learning"), ("models", "Models"), ("settings", "Settings and times"),
)  # fmt: skip


def _title(row: str, mode: str = "") -> str:
    return f"{ROWS[row].title}, {mode}" if mode and ticks(row).autoregressive else ROWS[row].title


def _scores(config: BenchmarkConfig, table: Sequence[Entry]) -> str:
    problems = "".join(
        f'<p class="problem">{escape(entry.label)}: {escape(entry.failed)}</p>' for entry in table if entry.failed
    )
    reasons: dict[str, int] = {}
    for entry in table:
        for summary in entry.scores.values():
            for reason, count in summary.failures.items():
                reasons[reason] = reasons.get(reason, 0) + count
    told = html.details(
        f"{sum(reasons.values())} scores could not be computed",
        html.definitions((str(count), reason) for reason, count in reasons.items()),
    ) if reasons else ""  # fmt: skip
    inside = f'<div class="wide">{to_html(table)}</div>'
    return html.section("table", "Scores", f"<p>{escape(_NOTE)}</p>", problems, inside, told)


def _lines(jobs: Sequence[Job]) -> Iterator[tuple[Job, str, str]]:
    for job in jobs:
        for mode in job.modes:
            yield job, mode, _title(job.row, mode)


def _distributions(jobs: Sequence[Job], out: Path) -> str:
    if not jobs:
        return ""
    found = {title: files_scores(job, mode) for job, mode, title in _lines(jobs)}
    groups = {title: job.row for job, _, title in _lines(jobs)}
    hollow = [title for _, mode, title in _lines(jobs) if mode == "generation"]
    parts = []
    for name, label in DRAWN_SCORES.items():
        values = {
            title: [scores[name].value for scores in files.values() if name in scores and not scores[name].failed]
            for title, files in found.items()
        }
        if not any(values.values()):
            continue
        drawing = plots.score_distributions(values, label=label, groups=groups, hollow=hollow).figure
        alt = f"{label} of every test file for each model; the table holds the means"
        parts.append(html.figure_of(drawing, alt, file=out / "plots" / f"scores-{name}.png"))
    caption = "Every dot is a test file, the diamond their mean (hollow: generation mode), the bar its 95 % interval."
    return html.section("distributions", "Distributions", f"<p>{caption}</p>", *parts)


def _examples(config: BenchmarkConfig, jobs: Sequence[Job], out: Path) -> Iterator[str]:
    """The chapters that need the trained models: sound, spectrograms and latents."""
    if not jobs or not config.examples:
        return
    front_end = FRONT_ENDS[config.front_end]
    utterances = Utterances(choose(jobs[0].data, config.examples), front_end)
    shown: dict[str, Shown] = {}
    for job in jobs:
        try:
            shown[job.row] = show(load(job.folder), utterances, job.modes, config.latents)
        except DynvaeError as error:
            logger.warning("%s is not in the examples: %s", job.name, error)
    samples = int(SOUND_SECONDS * front_end.sample_rate)
    frames = front_end.frames(samples)
    heard = []
    for index in range(len(utterances)):
        item = utterances[index]
        players = [html.audio(item.waveform[:samples], front_end.sample_rate, "original")]
        powers = {"original": item.power[:frames]}
        for row, what in shown.items():
            for mode, waveforms in what.waveforms.items():
                players.append(html.audio(waveforms[index][:samples], front_end.sample_rate, _title(row, mode)))
                powers[_title(row, mode)] = what.powers[mode][index][:frames]
        heard.append(f"<h3>{escape(item.name)}</h3>")
        heard.append(f'<div class="sounds">{"".join(players)}</div>')
        drawing = plots.spectrograms(powers, front_end, columns=3)[0].figure
        alt = f"Spectrograms of {item.name}: {', '.join(powers)}"
        caption = "All on one scale; 0 dB is the highest power of the original."
        heard.append(html.figure_of(drawing, alt, caption, file=out / "plots" / f"spectrograms-{index + 1}.png"))
    yield html.section("listen", "Listen", f"<p>The first {SOUND_SECONDS:g} seconds of some test files.</p>", *heard)
    hop = front_end.hop_length / front_end.sample_rate
    pictures = []
    for row, what in shown.items():
        drawing = figure(7.6, 2.5)
        left, right = drawing.subplots(1, 2, width_ratios=(1, 1.5))
        plots.kl_bars(what.kl, left, title=ROWS[row].title)
        order = what.kl.argsort(descending=True).tolist() if len(what.kl) == what.mean.shape[1] else None
        plots.latent_trajectories(what.mean[:frames], what.std[:frames], right, order=order, hop_seconds=hop)
        alt = f"{ROWS[row].title}: KL of each latent dimension, and the posterior of the strongest ones over time"
        pictures.append(html.figure_of(drawing, alt, file=out / "plots" / f"latents-{row}.png"))
    note = ("Left, the KL of each latent dimension over these files (one bar where the prior's covariance is full); "
            f"above {plots.ACTIVE} nats a frame it is called active. Right, the posterior on the first file, mean ± "
            "standard deviation.")  # fmt: skip
    yield html.section("latents", "Latents", f"<p>{note}</p>", f'<div class="grid pictures">{"".join(pictures)}</div>')


def _learning(jobs: Sequence[Job], out: Path) -> str:
    logs = {ROWS[job.row].title: plots.read_log(job.path / "metrics.csv") for job in jobs}
    if not logs:
        return ""
    drawing = plots.learning_curves(logs).figure
    alt = "Validation ELBO of each model over its epochs"
    caption = "The best of each is marked. SRNN-SS is validated with its own past frames."
    parts = [html.figure_of(drawing, alt, caption, file=out / "plots" / "learning.png")]
    splits = []
    for job in jobs:
        drawing = plots.loss_split(logs[ROWS[job.row].title], title=ROWS[job.row].title).figure
        alt = f"{ROWS[job.row].title}: reconstruction term and KL over the epochs"
        splits.append(html.figure_of(drawing, alt, file=out / "plots" / f"loss-{job.row}.png"))
    note = (
        "<p>The loss, split: reconstruction on the left scale, KL on the right; validation drawn, training dashed.</p>"
    )
    return html.section("learning", "Learning", *parts, note, f'<div class="grid">{"".join(splits)}</div>')


def _models(config: BenchmarkConfig) -> str:
    from dynvae.benchmark.models import cards

    return html.section("models", "Models", cards(config.models))


def _settings(config: BenchmarkConfig, jobs: Sequence[Job], results: Results, seconds: float) -> str:
    rows = []
    for job in jobs:
        result: Mapping[str, Any] | None = results.get(job.name)
        if not result:
            continue
        training, modes = result["training"], result["modes"]
        measured = sum(mode["timing"]["wall_seconds"] for mode in modes.values())
        rows.append([job.name, f"{training['epochs']:g}", str(training["steps"]), f"{training['best']['epoch']:g}",
                     f"{training['seconds']:.0f} s", f"{measured:.0f} s"])  # fmt: skip
    head = ["Run", "Epochs", "Steps", "Best epoch", "Training", "Measuring"]
    times = html.table(
        head, rows, f"The whole benchmark, as far as it was not done before, took {seconds / 60:.1f} minutes."
    )
    settings = yaml.safe_dump(_plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True)
    return html.section(
        "settings", "Settings and times", times,
        "<h3>This machine</h3>", html.definitions(describe(environment())),
        html.details("Settings of the benchmark", f"<pre>{escape(settings)}</pre>"),
    )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
