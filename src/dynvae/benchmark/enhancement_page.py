"""The report of the enhancement benchmark: one HTML page with the table, spectrograms and sound."""

from __future__ import annotations

__all__ = ["plain", "write_page"]

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
import yaml

from dynvae.audio import FrontEnd, read_audio
from dynvae.benchmark.enhancement_config import RATE, EnhancementConfig, sound_file
from dynvae.benchmark.enhancement_table import Row, differences_html, to_html
from dynvae.data.pairs import SpeechPair
from dynvae.errors import AudioError
from dynvae.files import atomic_write
from dynvae.report import html, plots
from dynvae.report.environment import describe, environment

logger = logging.getLogger(__name__)

SOUND_SECONDS = 6.0
_NOTE = (
    "Whole files at 16 kHz against the clean speech. Each number is the mean over files ± half the width of its 95 % "
    "bootstrap interval; the best of a column is marked. The real-time factor is the seconds that the enhancement of a "
    "file takes over the seconds of sound, the median over files, on one thread; beside it the same with seconds of "
    "the processor, which a busy machine changes less. A method is matched where it was trained on the test's corpus."
)


def write_page(
    config: EnhancementConfig, rows: Sequence[Row], notes: Sequence[str], shown: Sequence[SpeechPair], seconds: float
) -> Path:
    """Write ``index.html``, and return its path.

    Args:
        config: the settings.
        rows: of the table.
        notes: lines for the reader.
        shown: pairs to hear and to see.
        seconds: that the benchmark has taken.
    """
    problems = "".join(
        f'<p class="problem">{escape(row.label)}: {escape(name)}: {escape(reason)}</p>'
        for row in rows
        for name, reason in row.failed.items()
    )
    told = "".join(f"<p>{escape(text)}</p>" for text in (_NOTE, *notes))
    chapters = [html.section("table", "Scores", told, problems, to_html(rows))]
    if differences := differences_html(rows):
        text = f"<p>The mean difference to “{escape(config.against)}” on the same files, with its 95 % interval.</p>"
        chapters.append(html.section("differences", "Differences", text, differences))
    if heard := list(_examples(config, shown)):
        text = f"<p>The first {SOUND_SECONDS:g} seconds of some files.</p>"
        chapters.append(html.section("listen", "Listen", text, *heard))
    settings = yaml.safe_dump(plain(dataclasses.asdict(config)), sort_keys=False, allow_unicode=True)
    chapters.append(
        html.section(
            "settings",
            "Settings",
            html.definitions(describe(environment())),
            html.details("Settings of the benchmark", f"<pre>{escape(settings)}</pre>"),
        )
    )
    files = max((row.files for row in rows), default=0)
    lead = f"{len(rows)} methods, {files} files, data: {config.data}, {seconds / 60:.1f} minutes"
    path = Path(config.out) / "index.html"
    with atomic_write(path) as temp:
        temp.write_text(html.page("Speech enhancement", "\n".join(chapters), lead=lead), encoding="utf-8")
    return path


def plain(value: Any) -> Any:
    """Nested settings as what YAML knows."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _examples(config: EnhancementConfig, shown: Sequence[SpeechPair]) -> Iterator[str]:
    front_end = FrontEnd()
    samples, folder = int(SOUND_SECONDS * RATE), Path(config.out) / "methods"
    for number, pair in enumerate(shown, 1):
        try:
            clean, noisy = pair.load(RATE)
            sounds = {"clean": clean, "noisy": noisy}
            for method in config.methods:
                if method.kind != "noisy" and (path := folder / method.folder / sound_file(pair)).is_file():
                    sounds[method.label] = read_audio(path, RATE)[0]
        except AudioError as error:
            logger.warning("%s is not in the examples: %s", pair.name, error)
            continue
        players = [html.audio(sound[:samples], RATE, label) for label, sound in sounds.items()]
        powers = {label: front_end.power(torch.from_numpy(sound[:samples])).numpy() for label, sound in sounds.items()}
        drawing = plots.spectrograms(powers, front_end, columns=3)[0].figure
        alt = f"Spectrograms of {pair.name}: {', '.join(powers)}"
        yield f"<h3>{escape(pair.name)}</h3>"
        yield f'<div class="sounds">{"".join(players)}</div>'
        yield html.figure_of(drawing, alt, file=Path(config.out) / "plots" / f"spectrograms-{number}.png")
