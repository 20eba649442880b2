"""Train, valid and test: the names that others give them, and a division by speaker where nobody has made one."""

from __future__ import annotations

__all__ = ["SPLITS", "assign", "split_of_folder", "split_of_label"]

import hashlib
import re
from collections.abc import Sequence

SPLITS = ("train", "valid", "test")
_ALIASES = {
    "train": {"train", "training", "tr", "trn"},
    "valid": {"valid", "validation", "val", "dev", "development", "dt", "cv"},
    "test": {"test", "testing", "tst", "eval", "evaluation", "et", "tt"},
}


def split_of_label(label: str) -> str:
    """The split that a manifest's label means; a label that is no common name stays as it is.

    Example:
        >>> split_of_label("dev"), split_of_label("test_unseen")
        ('valid', 'test_unseen')
    """
    word = label.strip().lower()
    return next((split for split, names in _ALIASES.items() if word in names), label.strip())


def split_of_folder(folder: str) -> str | None:
    """The split that a folder's name tells, by one of its words; ``None`` where it tells none or several.

    Example:
        >>> split_of_folder("train-clean-100"), split_of_folder("si_et_05"), split_of_folder("p226")
        ('train', 'test', None)
    """
    words = set(re.split(r"[^a-z]+", folder.lower()))
    told = [split for split, names in _ALIASES.items() if words & names]
    return told[0] if len(told) == 1 else None


def assign(groups: Sequence[str], shares: Sequence[tuple[str, float]]) -> dict[str, str]:
    """Give every group (a speaker) to one split, by the order of the names' hashes: the same on every machine.

    Each share but the last gets its rounded part of the groups, and at least one; the last gets the rest.

    Args:
        groups: names, in any order; repetitions do not count.
        shares: split and its part, e.g. ``[("test", 0.1), ("valid", 0.1), ("train", 0.8)]``.

    Example:
        >>> shares = [("test", 0.1), ("valid", 0.1), ("train", 0.8)]
        >>> assign(["ann", "bob", "cy"], shares) == assign(["cy", "bob", "ann"], shares)
        True
    """
    order = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
    result: dict[str, str] = {}
    taken = 0
    for split, share in shares[:-1]:
        count = max(1, round(share * len(order)))
        result.update(dict.fromkeys(order[taken : taken + count], split))
        taken += count
    result.update(dict.fromkeys(order[taken:], shares[-1][0]))
    return result
