"""The SDR of BSS Eval."""

from __future__ import annotations

import numpy as np
import pytest

from dynvae.metrics import sdr, si_sdr


def test_as_bss_eval() -> None:
    separation = pytest.importorskip("mir_eval.separation")
    random = np.random.default_rng(0)
    reference = random.normal(size=3000)
    for level in (0.1, 1.0, 10.0):
        estimate = np.convolve(reference, random.normal(size=30))[:3000] + level * random.normal(size=3000)
        with pytest.warns(FutureWarning):
            expected = separation.bss_eval_sources(reference[None], estimate[None], compute_permutation=False)[0][0]
        assert sdr(reference, estimate) == pytest.approx(expected, abs=0.01)
        assert sdr(reference, estimate) >= si_sdr(reference, estimate)
