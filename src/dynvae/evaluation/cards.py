"""What the card of a published model tells of its training and of what was measured."""

from __future__ import annotations

__all__ = ["card_to_publish", "find_results"]

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from dynvae.errors import ConfigError
from dynvae.evaluation.run import fingerprint
from dynvae.metrics import METRICS
from dynvae.models import DVAE

_SUMMARY = "summary.json"
_TERMS = {
    "elbo": "ELBO (nats per frame)",
    "log_likelihood": "ln p(x | z) (nats per frame)",
    "kl": "KL (nats per frame)",
    "kl_w": "KL of w (nats per frame)",
    "itakura_saito": "Itakura-Saito (nats per frame)",
    "hoyer": "sparsity of the latents (Hoyer)",
}


def find_results(model: DVAE, folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The summaries of evaluations of these weights that lie in folders, or below them.

    Args:
        model: those of other models are left out.
        folders: of `evaluate`, or with such inside; what is not there is passed over.
    """
    paths = {path.resolve() for folder in folders for path in sorted(folder.glob(f"**/{_SUMMARY}"))}
    mark, found = fingerprint(model), []
    for path in sorted(paths):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            if summary["settings"]["model"] == mark and summary["scores"]:
                found.append(summary)
        except (OSError, ValueError, KeyError, TypeError):  # of something else
            continue
    return found


def card_to_publish(
    saved: Mapping[str, Any], results: Sequence[Mapping[str, Any]], own: Mapping[str, Any]
) -> dict[str, Any]:
    """A model's card, with its results, and without where on this machine things lie.

    Args:
        saved: the card that it was saved with: of a training run, its data, settings and validation.
        results: summaries of evaluations, from :func:`find_results`.
        own: what wins over all else.

    Raises:
        ConfigError: nothing tells under which licence the model is.
    """
    card: dict[str, Any] = {**_public(saved), **_measured(results), **own}
    if not card.get("license"):
        raise ConfigError("a model is published under a licence; say which, as the hub spells it: --license mit, or "
                          "cc-by-4.0, or other")  # fmt: skip
    first = ("title", "description", "license", "datasets", "training", "settings", "validation")
    return {key: card[key] for key in (*first, *(key for key in card if key not in first)) if key in card}


def _measured(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries of the card that tell what was measured."""
    rows: dict[str, str] = {}
    index = []
    metrics: dict[str, None] = {}
    for summary in results:
        settings = summary["settings"]
        data = PurePath(settings["data"]).name
        what = f"{data} ({', '.join(settings['splits'])}), {settings['mode']}, {settings['latents']} of the latents"
        values = []
        for name, score in summary["scores"].items():
            if score["mean"] is None:
                continue
            label = _label(name)
            row = f"{score['mean']:.4g}"
            if score["low"] is not None:
                row += f" (95 % interval {score['low']:.4g} to {score['high']:.4g}, n = {score['n']})"
            rows[f"{label}: {what}"] = row
            values.append({"type": name, "name": label, "value": round(score["mean"], 4)})
            if name in METRICS:
                metrics[name] = None
        index.append(
            {
                "task": {"type": "audio-to-audio", "name": f"Analysis-resynthesis, {settings['mode']}"},
                "dataset": {"type": data, "name": data, "split": ", ".join(settings["splits"])},
                "metrics": values,
            }
        )
    return {"metrics": list(metrics), "measured": rows, "model_index": index} if results else {}


def _label(name: str) -> str:
    if name not in METRICS:
        return _TERMS.get(name, name.replace("_", " "))
    metric = METRICS[name]
    return f"{metric.label} ({metric.unit})" if metric.unit else metric.label


def _public(value: Any) -> Any:
    """The same, with absolute paths cut down to their last name: where things lie here concerns nobody else."""
    if isinstance(value, Mapping):
        return {key: _public(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_public(one) for one in value]
    if isinstance(value, str) and "\n" not in value:
        for kind in (PurePath, PureWindowsPath):
            if kind(value).is_absolute():
                return kind(value).name
    return value
