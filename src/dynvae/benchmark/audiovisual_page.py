"""The report of the audio-visual benchmark: tables, findings and curves on one HTML page."""

from __future__ import annotations

__all__ = ["gain_curves", "write_av_page"]

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from dynvae.benchmark.audiovisual_config import AV_ROWS, AVConfig
from dynvae.benchmark.audiovisual_table import Key, Values, findings_table, gain, table
from dynvae.benchmark.audiovisual_use import Use, use_table
from dynvae.benchmark.enhancement_page import plain
from dynvae.benchmark.enhancement_table import SCORES
from dynvae.files import atomic_write
from dynvae.report import html
from dynvae.report.environment import describe, environment
from dynvae.report.style import figure, palette, tidy

_NOTE = (
    "Improvement over the noisy input, at 16 kHz against the clean speech: the mean over clips ± half the width of its "
    "95 % bootstrap interval; a clip's seeds are averaged first. Lips are clean, spoilt in a share of the frames "
    "without the model being told, or swapped for another clip's. All rows have the same engine and the same noise."
)
_FINDINGS = (
    "Differences on the same clips in the same noise. The mean of a clip over the ratios and seeds is one number; the "
    "interval is over clips, and a difference whose interval leaves out zero is marked. The last column has the mean "
    "over all ratios for each seed: how far they are apart is what training by chance adds."
)
_USE = (
    "On clean speech, without any noise: the bound of each model with the clip's own lips, and what it changes by with "
    "another clip's (95 % interval over clips). A model that ignores lips loses nothing."
)
STYLES = {"none": "-", "clean": "-", "spoilt": "--", "swapped": ":"}


def gain_curves(config: AVConfig, values: Mapping[Key, Values], metric: str) -> Any:
    """Improvement over the ratio of the input: a colour a row, with a band for its interval; broken where lips are
    spoilt, dotted where they are swapped.
    """
    fig = figure(9.0, 4.2)
    ax = fig.add_subplot()
    colours = palette([AV_ROWS[row].label for row in config.rows])
    scale = SCORES[metric].factor
    for row in config.rows:
        label = AV_ROWS[row].label
        for video in config.videos(row):
            points = [(snr, gain(config, values, row, video, metric, snr)) for snr in config.snrs]
            known = [(snr, each) for snr, each in points if each.mean is not None]
            means = [each.mean * scale for _, each in known if each.mean is not None]
            ratios = [snr for snr, _ in known]
            ax.plot(ratios, means, STYLES[video], marker="o", markersize=3, linewidth=1.4, color=colours[label],
                    label=label if video in ("none", "clean") else None)  # fmt: skip
            band = [(each.low, each.high) for _, each in known]
            if video in ("none", "clean") and all(low is not None for low, _ in band):
                low, high = ([end * scale for end in ends if end is not None] for ends in zip(*band, strict=True))
                ax.fill_between(ratios, low, high, color=colours[label], alpha=0.12, linewidth=0)
    column = SCORES[metric]
    unit = f" ({column.unit})" if column.unit else ""
    ax.set(xlabel="ratio of the input (dB)", ylabel=f"{column.label} improvement{unit}", xticks=list(config.snrs))
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    tidy(ax)
    return fig


def write_av_page(config: AVConfig, values: Mapping[Key, Values], uses: Sequence[Use], seconds: float) -> Path:
    """Write ``index.html`` and ``plots/``, and return the page's path.

    Args:
        config: the settings.
        values: the scores.
        uses: what lips are worth to each model.
        seconds: that the benchmark has taken.
    """
    out = Path(config.out)
    parts, curves = [], []
    for metric in config.metrics:
        column = SCORES[metric]
        caption = f"{column.label}{f' ({column.unit})' if column.unit else ''}"
        parts.append(f'<div class="wide">{html.table(*table(config, values, metric), caption)}</div>')
        drawing = gain_curves(config, values, metric)
        alt = f"{column.label} improvement over the ratio of the input for each method; the tables hold the numbers"
        curves.append(html.figure_of(drawing, alt, file=out / "plots" / f"gain-{metric}.png"))
    head, lines = findings_table(config, values, "{} *")
    told = f'<div class="wide">{html.table(head, lines, "* the interval leaves out zero")}</div>'
    worth = f'<div class="wide">{html.table(*use_table(uses))}</div>'
    caption = "Solid: clean lips; broken: spoilt; dotted: another clip's. The band is the 95 % interval."
    settings = yaml.safe_dump(plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True)
    body = "\n".join(
        [
            html.section("table", "Improvements", f"<p>{escape(_NOTE)}</p>", *parts),
            html.section("findings", "What the lips do", f"<p>{escape(_FINDINGS)}</p>", told,
                         f"<p>{escape(_USE)}</p>", worth),
            html.section("curves", "Curves", f"<p>{escape(caption)}</p>", *curves),
            html.section(
                "settings", "Settings", html.definitions(describe(environment())),
                html.details("Settings of the benchmark", f"<pre>{escape(settings)}</pre>"),
            ),
        ]
    )  # fmt: skip
    clips = len(values["noisy", "none", 0]) // len(config.snrs)
    lead = f"{len(config.rows)} methods, {clips} clips, {len(config.seeds)} seed(s), data: {config.data}, " \
           f"{seconds / 60:.1f} minutes"  # fmt: skip
    path = out / "index.html"
    with atomic_write(path) as temp:
        temp.write_text(html.page("Audio-visual speech enhancement", body, lead=lead), encoding="utf-8")
    return path
