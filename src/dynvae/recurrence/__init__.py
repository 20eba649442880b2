"""Recurrent programs: a model states its recursion, an executor runs it."""

from __future__ import annotations

__all__ = ["Builder", "Program", "carried", "executor", "future", "past", "run", "run_frame"]

from dynvae.recurrence.builder import Builder
from dynvae.recurrence.choice import executor
from dynvae.recurrence.program import Program, future, past
from dynvae.recurrence.running import carried, run, run_frame
