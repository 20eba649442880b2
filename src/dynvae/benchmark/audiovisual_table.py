"""The tables of the audio-visual benchmark, and what they say about the use of lips."""

from __future__ import annotations

__all__ = [
    "Finding",
    "Key",
    "Values",
    "clip_differences",
    "findings",
    "findings_text",
    "gain",
    "scores_csv",
    "table",
    "tables_text",
]

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dynvae.benchmark.audiovisual_config import AV_ROWS, AVConfig, Video
from dynvae.benchmark.enhancement_table import MINUS, SCORES
from dynvae.metrics import Summary, summarize

Key = tuple[str, Video, int]
"""Row, video and seed; the row ``noisy`` is the input."""
Values = Mapping[str, Any]
"""What was found of each clip at each ratio, by the name of the pair."""
LOW = -5.0
"""Ratios up to this one are low, in dB."""


class Finding(NamedTuple):
    """A difference in dB of SI-SDR improvement, clip by clip.

    Attributes:
        text: what it is the difference of.
        low: over the low ratios; its unit of chance is a clip, whose ratios and seeds are averaged.
        high: over the others.
        seeds: the mean over all ratios for each seed.
    """

    text: str
    low: Summary
    high: Summary
    seeds: tuple[float, ...]


def _ratio(name: str) -> float:
    """The ratio in the name of a pair, ``... 5 dB``."""
    return float(name.rsplit(" ", 2)[1])


def _clip(name: str) -> str:
    """The clip in the name of a pair."""
    return name.partition(" + ")[0]


def clip_differences(
    mine: Mapping[str, float], other: Mapping[str, float], keep: Callable[[float], bool]
) -> dict[str, float]:
    """The mean difference of each clip over the ratios that are kept, where both have a score."""
    found: dict[str, list[float]] = {}
    for name in mine.keys() & other.keys():
        if keep(_ratio(name)):
            found.setdefault(_clip(name), []).append(mine[name] - other[name])
    return {clip: statistics.fmean(found[clip]) for clip in sorted(found)}


def _scores(values: Mapping[Key, Values], key: Key, metric: str) -> dict[str, float]:
    found = values.get(key, {})
    return {name: value["scores"][metric] for name, value in found.items() if metric in value["scores"]}


def _over_seeds(
    config: AVConfig, values: Mapping[Key, Values], one: tuple[str, Video], other: tuple[str, Video], metric: str,
    keep: Callable[[float], bool],
) -> Summary:  # fmt: skip
    """The difference of two rows, the seeds of a clip averaged before the interval over clips is taken."""
    by_clip: dict[str, list[float]] = {}
    for seed in config.seeds:
        mine, theirs = (
            _scores(values, (row, video, 0 if row == "noisy" else seed), metric) for row, video in (one, other)
        )
        for clip, difference in clip_differences(mine, theirs, keep).items():
            by_clip.setdefault(clip, []).append(difference)
    return summarize(statistics.fmean(each) for each in by_clip.values())


def gain(
    config: AVConfig, values: Mapping[Key, Values], row: str, video: Video, metric: str, snr: float | None = None
) -> Summary:
    """How much better a row's output is than the noisy input, at one ratio or over all."""
    return _over_seeds(
        config, values, (row, video), ("noisy", "none"), metric, lambda ratio: snr is None or ratio == snr
    )


def _number(summary: Summary, metric: str) -> str:
    """A mean ± half the width of its interval."""
    column = SCORES[metric]
    if summary.mean is None:
        return ""
    text = f"{summary.mean * column.factor:+.{column.digits}f}".replace("-", MINUS)
    if summary.low is None or summary.high is None:
        return text
    return f"{text} ± {(summary.high - summary.low) / 2 * column.factor:.{column.digits}f}"


def table(config: AVConfig, values: Mapping[Key, Values], metric: str) -> tuple[list[str], list[list[str]]]:
    """Headings and lines: the gain of each row and video at each ratio, and over all."""
    head = ["Method", "Lips", *(f"{snr:g} dB".replace("-", MINUS) for snr in config.snrs), "all"]
    lines = []
    for row in config.rows:
        for video in config.videos(row):
            cells = [_number(gain(config, values, row, video, metric, snr), metric) for snr in (*config.snrs, None)]
            lines.append([AV_ROWS[row].label, "" if video == "none" else video, *cells])
    return head, lines


def tables_text(config: AVConfig, values: Mapping[Key, Values]) -> str:
    """A Markdown table for each metric, and the scores of the noisy input."""
    parts = []
    for metric in config.metrics:
        column = SCORES[metric]
        noisy = _scores(values, ("noisy", "none", 0), metric)
        by_ratio = [[value for name, value in noisy.items() if _ratio(name) == snr] for snr in config.snrs]
        means = ", ".join(
            f"{statistics.fmean(each) * column.factor:.{column.digits}f} at {snr:g} dB"
            for snr, each in zip(config.snrs, by_ratio, strict=True)
            if each
        ).replace("-", MINUS)
        unit = f" ({column.unit})" if column.unit else ""
        parts += [f"### {column.label}{unit}: improvement over the noisy input", "", f"Noisy: {means}.", ""]
        parts += [_markdown(*table(config, values, metric)), ""]
    return "\n".join(parts)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    marks = [":--", ":--", *["--:"] * (len(head) - 2)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *lines))


# ---- what it says --------------------------------------------------------------------------------------------------


def findings(config: AVConfig, values: Mapping[Key, Values]) -> list[Finding]:
    """The differences that tell whether and how lips are used, as far as their rows are there."""
    asked: list[tuple[str, tuple[str, Video], tuple[str, Video]]] = []

    def ask(text: str, one: tuple[str, Video], other: tuple[str, Video]) -> None:
        if all(row in config.rows and video in config.videos(row) for row, video in (one, other)):
            asked.append((text, one, other))

    for row in config.rows:
        sound = "a-dkf" if row == "av-dkf" else "a-vae"
        if AV_ROWS[row].sees:
            label, alone = AV_ROWS[row].label, AV_ROWS[sound].label
            ask(f"{label} over {alone}", (row, "clean"), (sound, "none"))
            ask(f"{label} with spoilt lips over {alone}", (row, "spoilt"), (sound, "none"))
            ask(f"{label}: spoilt against clean lips", (row, "spoilt"), (row, "clean"))
            ask(f"{label}: another clip's lips against its own", (row, "swapped"), (row, "clean"))
    ask("Sw-VAE over VAE-MM", ("sw-vae", "clean"), ("vae-mm", "clean"))
    ask("Sw-VAE over VAE-MM, spoilt lips", ("sw-vae", "spoilt"), ("vae-mm", "spoilt"))
    for row in ("vae-mm", "min-vae", "sw-vae"):
        if row in config.rows:
            ask(f"{AV_ROWS[row].label} over AV-CVAE, spoilt lips", (row, "spoilt"), ("av-cvae", "spoilt"))
    found = []
    for text, one, other in asked:
        low = _over_seeds(config, values, one, other, "si_sdr", lambda ratio: ratio <= LOW)
        high = _over_seeds(config, values, one, other, "si_sdr", lambda ratio: ratio > LOW)
        seeds = []
        for seed in config.seeds:
            mine, theirs = (_scores(values, (row, video, seed), "si_sdr") for row, video in (one, other))
            each = clip_differences(mine, theirs, lambda ratio: True)
            seeds.append(statistics.fmean(each.values()) if each else float("nan"))
        if low.n or high.n:
            found.append(Finding(text, low, high, tuple(seeds)))
    return found


def findings_text(config: AVConfig, values: Mapping[Key, Values]) -> str:
    """The findings as a Markdown table; a difference whose interval leaves out zero is bold."""
    return "\n".join([*_markdown(*findings_table(config, values, "**{}**")).splitlines(), ""])


def findings_table(config: AVConfig, values: Mapping[Key, Values], mark: str) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the findings."""
    head = [
        "Difference in SI-SDR (dB), clip by clip",
        "Clips",
        f"up to {LOW:g} dB".replace("-", MINUS),
        "above",
        "seeds",
    ]
    lines = []
    for finding in findings(config, values):
        cells = []
        for summary in (finding.low, finding.high):
            sure = summary.low is not None and summary.high is not None and not summary.low <= 0 <= summary.high
            cells.append(mark.format(_number(summary, "si_sdr")) if sure else _number(summary, "si_sdr"))
        seeds = ", ".join(f"{mean:+.2f}".replace("-", MINUS) for mean in finding.seeds)
        lines.append([finding.text, str(max(finding.low.n, finding.high.n)), *cells, seeds])
    return head, lines


def scores_csv(config: AVConfig, values: Mapping[Key, Values]) -> str:
    """The numbers of every clip, row, video and seed."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["method", "video", "seed", "pair", "snr", *config.metrics, "energy"])
    for (row, video, seed), found in values.items():
        for name, value in found.items():
            numbers = [value["scores"].get(metric, "") for metric in config.metrics]
            writer.writerow([row, video, seed, name, _ratio(name), *numbers, value["energy"]])
    return buffer.getvalue()
