"""Work over tens of thousands of files: by processes or a Ray cluster, resumable, each file exactly once."""

from dynvae.work.items import Batches, Item, Make, Outcome, Work, item_seed, singly
from dynvae.work.journal import JOURNAL, Journal
from dynvae.work.run import Engine, Summary, outcomes, run
from dynvae.work.stopping import Stopped, stop_signals

__all__ = [
    "JOURNAL",
    "Batches",
    "Engine",
    "Item",
    "Journal",
    "Make",
    "Outcome",
    "Stopped",
    "Summary",
    "Work",
    "item_seed",
    "outcomes",
    "run",
    "singly",
    "stop_signals",
]
