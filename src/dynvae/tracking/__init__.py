"""Several objects, followed through a film by their detected boxes."""

from __future__ import annotations

from dynvae.tracking.boxes import Boxes, Scene, iou, to_boxes, to_frames
from dynvae.tracking.files import read_boxes, read_scene, read_truth, write_tracks
from dynvae.tracking.metrics import TrackingScores, combine, score_tracks
from dynvae.tracking.sort import Sort
from dynvae.tracking.tracker import Tracker

__all__ = [
    "Boxes",
    "Scene",
    "Sort",
    "Tracker",
    "TrackingScores",
    "combine",
    "iou",
    "read_boxes",
    "read_scene",
    "read_truth",
    "score_tracks",
    "to_boxes",
    "to_frames",
    "write_tracks",
]
