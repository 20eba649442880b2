"""Corpora of sound files and of recorded motion, and the data sets and batches made of them."""

from __future__ import annotations

from dynvae.data.bank import Bank
from dynvae.data.batches import Batch, Item, Waves, Whole, collate, spectra
from dynvae.data.builtin import builtin_corpus
from dynvae.data.corpus import Corpus, Utterance
from dynvae.data.crops import Crops
from dynvae.data.motion import MotionCorpus, MotionSequence
from dynvae.data.sampling import BatchByLength, CropSampler
from dynvae.data.sequences import SequenceCrops, Sequences
from dynvae.data.utterances import Utterances

__all__ = [
    "Bank",
    "Batch",
    "BatchByLength",
    "Corpus",
    "CropSampler",
    "Crops",
    "Item",
    "MotionCorpus",
    "MotionSequence",
    "SequenceCrops",
    "Sequences",
    "Utterance",
    "Utterances",
    "Waves",
    "Whole",
    "builtin_corpus",
    "collate",
    "spectra",
]
