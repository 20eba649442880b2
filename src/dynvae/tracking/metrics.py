r"""How well tracks follow the truth: CLEAR MOT, identity and HOTA scores.

The definitions, ties included, are those of TrackEval (Luiten and Hoffhues, 2020), which the tests compare with.
"""

from __future__ import annotations

__all__ = ["TrackingScores", "combine", "score_tracks"]

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynvae.tracking.boxes import Array, Boxes, Whole, iou
from dynvae.tracking.matching import pairs

_ALPHAS = np.arange(0.05, 0.99, 0.05)
_EPS = float(np.finfo(float).eps)


class _Counts(NamedTuple):
    """What can be summed over sequences; the last four are a value for each of `_ALPHAS`."""

    truth: float
    tracked: float
    matches: float
    overlap: float
    switches: float
    fragments: float
    mostly_tracked: float
    partly_tracked: float
    mostly_lost: float
    id_matches: float
    hota_matches: Array
    association: Array
    association_recall: Array
    association_precision: Array


@dataclass(frozen=True)
class TrackingScores:
    r"""Scores of tracks. Ratios are shares of 1; nan where there is nothing that they could be a ratio of.

    Attributes:
        mota: 1 - (misses + false positives + switches) / boxes of the truth (Bernardin and Stiefelhagen, 2008).
        motp: mean overlap of matched boxes (1 is best; some have the mean distance instead).
        idf1: 2 IDTP / (boxes of the truth + boxes of tracks), under the best one-to-one matching of whole tracks
            (Ristani et al., 2016).
        idp: IDTP / boxes of tracks.
        idr: IDTP / boxes of the truth.
        hota: mean over thresholds α of overlap, 0.05 to 0.95, of :math:`\sqrt{\mathrm{DetA}_α \mathrm{AssA}_α}`
            (Luiten et al., 2021).
        deta: detection part of it.
        assa: association part of it.
        switches: how often somebody's track is another one than when last matched.
        fragments: how often somebody is found again after a pause.
        mostly_tracked: people who are matched in more than 80 % of their frames.
        partly_tracked: the others.
        mostly_lost: people who are matched in less than 20 % of their frames.
        false_positives: boxes of tracks without a match.
        misses: boxes of the truth without a match.
        truth: boxes of the truth.
        tracked: boxes of tracks.
        people: of the truth.
        tracks: how many; summed over sequences.
    """

    mota: float
    motp: float
    idf1: float
    idp: float
    idr: float
    hota: float
    deta: float
    assa: float
    switches: int
    fragments: int
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    false_positives: int
    misses: int
    truth: int
    tracked: int
    people: int
    tracks: int
    counts: _Counts = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, float | int | None]:
        """The scores as plain values, ready for JSON; None for nan."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "counts"}
        return {name: None if isinstance(value, float) and math.isnan(value) else value
                for name, value in values.items()}  # fmt: skip


def score_tracks(truth: Boxes, tracks: Boxes, *, threshold: float = 0.5, frames: int | None = None) -> TrackingScores:
    """Score the tracks of one sequence.

    Args:
        truth: who is where; nobody twice in a frame.
        tracks: what was found; no id twice in a frame.
        threshold: least overlap (intersection over union) of a match, for all scores but HOTA.
        frames: of the sequence, beyond which nothing is looked at; by default the last one with a box.

    Example:
        >>> truth = Boxes.of([(1, 1, 0, 0, 9, 9), (2, 1, 1, 0, 9, 9)])
        >>> score_tracks(truth, Boxes.of([(1, 5, 0, 0, 9, 9), (2, 6, 1, 0, 9, 9)])).mota
        0.5
    """
    frames = max(truth.last_frame, tracks.last_frame) if frames is None else frames
    truth, tracks = (boxes.where(boxes.frame <= frames) for boxes in (truth, tracks))
    people, who = np.unique(truth.id, return_inverse=True)
    ids, track = np.unique(tracks.id, return_inverse=True)
    rows, columns = truth.split(frames), tracks.split(frames)
    each = [
        _Frame(who[row], track[column], iou(truth.box[row], tracks.box[column]))
        for row, column in zip(rows, columns, strict=True)
        if len(row) or len(column)
    ]
    size = len(people), len(ids)
    counts = _Counts(len(truth), len(tracks), *_clear(each, size, threshold), _identity(each, size, threshold),
                     *_hota(each, size))  # fmt: skip
    return _scores([counts], [size])


def combine(scores: Iterable[TrackingScores]) -> TrackingScores:
    """The scores of several sequences together: counts are added, and ratios are taken of the sums."""
    scores = list(scores)
    return _scores([each.counts for each in scores], [(each.people, each.tracks) for each in scores])


class _Frame(NamedTuple):
    """Who is in a frame, which tracks are, and how much they overlap."""

    who: Whole
    track: Whole
    overlap: Array


def _clear(
    each: list[_Frame], size: tuple[int, int], threshold: float
) -> tuple[float, float, float, float, float, float, float]:
    """Matches frame by frame: pairs of the frame before go first, then the largest overlaps."""
    people, _ = size
    last, before = np.full(people, -1), np.full(people, -1)
    seen, matched, begun = np.zeros(people), np.zeros(people), np.zeros(people)
    total, overlap, switches = 0, 0.0, 0
    for who, track, overlaps in each:
        seen[who] += 1
        if not len(who) or not len(track):
            continue  # as TrackEval: what was matched before stays so over such frames
        kept = before[who][:, None] == track[None]
        row, column = pairs(1000.0 * kept + overlaps, (overlaps >= threshold - _EPS) & (overlaps > 0))
        found, its = who[row], track[column]
        switches += int(((last[found] >= 0) & (last[found] != its)).sum())
        matched[found] += 1
        begun[found] += before[found] < 0
        last[found] = its
        before[:] = -1
        before[found] = its
        total += len(found)
        overlap += float(overlaps[row, column].sum())
    share = matched[seen > 0] / seen[seen > 0]
    mostly, lost = int((share > 0.8).sum()), int((share < 0.2).sum())
    fragments = int((begun[begun > 0] - 1).sum())
    return total, overlap, switches, fragments, mostly, people - mostly - lost, lost


def _identity(each: list[_Frame], size: tuple[int, int], threshold: float) -> float:
    """Boxes that agree under the best matching of whole tracks: what maximises it minimises misses and errors, too."""
    shared = np.zeros(size)
    for who, track, overlaps in each:
        row, column = np.nonzero(overlaps >= threshold)
        shared[who[row], track[column]] += 1
    row, column = pairs(shared)
    return float(shared[row, column].sum())


def _hota(each: list[_Frame], size: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    likely = np.zeros(size)
    seen, tracked = np.zeros((size[0], 1)), np.zeros((1, size[1]))
    for who, track, overlaps in each:
        either = overlaps.sum(0)[None] + overlaps.sum(1)[:, None] - overlaps
        likely[np.ix_(who, track)] += np.divide(overlaps, either, out=np.zeros_like(overlaps), where=either > _EPS)
        seen[who, 0] += 1
        tracked[0, track] += 1
    likely /= np.maximum(seen + tracked - likely, 1e-12)
    matches = np.zeros(len(_ALPHAS))
    by_pair = np.zeros((len(_ALPHAS), *size))
    for who, track, overlaps in each:
        row, column = pairs(likely[np.ix_(who, track)] * overlaps)
        good = overlaps[row, column][None] >= _ALPHAS[:, None] - _EPS
        matches += good.sum(1)
        for place in np.flatnonzero(good.any(0)):
            by_pair[:, who[row[place]], track[column[place]]] += good[:, place]
    sums = []
    for union in (seen + tracked - by_pair, seen, tracked):
        sums.append((by_pair * by_pair / np.maximum(1, union)).sum((1, 2)))
    return matches, sums[0], sums[1], sums[2]


def _scores(counts: list[_Counts], sizes: list[tuple[int, int]]) -> TrackingScores:
    none = np.zeros(len(_ALPHAS))
    nothing = _Counts(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, none, none, none, none)
    total = _Counts._make(sum(values) for values in zip(nothing, *counts, strict=True))
    misses, wrong = total.truth - total.matches, total.tracked - total.matches
    detection = total.hota_matches / np.maximum(1, total.truth + total.tracked - total.hota_matches)
    association = total.association / np.maximum(1, total.hota_matches)
    some = bool(total.truth + total.tracked)

    def ratio(part: float, whole: float) -> float:
        return float(part / whole) if whole else math.nan

    def mean(values: Array) -> float:
        return float(values.mean()) if some else math.nan

    return TrackingScores(
        mota=ratio(total.matches - wrong - total.switches, total.truth),
        motp=ratio(total.overlap, total.matches),
        idf1=ratio(2 * total.id_matches, total.truth + total.tracked),
        idp=ratio(total.id_matches, total.tracked),
        idr=ratio(total.id_matches, total.truth),
        hota=mean(np.sqrt(detection * association)),
        deta=mean(detection),
        assa=mean(association),
        switches=int(total.switches),
        fragments=int(total.fragments),
        mostly_tracked=int(total.mostly_tracked),
        partly_tracked=int(total.partly_tracked),
        mostly_lost=int(total.mostly_lost),
        false_positives=int(wrong),
        misses=int(misses),
        truth=int(total.truth),
        tracked=int(total.tracked),
        people=sum(people for people, _ in sizes),
        tracks=sum(tracks for _, tracks in sizes),
        counts=total,
    )
