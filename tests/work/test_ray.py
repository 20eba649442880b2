"""A Ray cluster of two workers on this machine, of which some are killed half-way: nothing is lost, in a run of any
work, and in an evaluation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import work_toys as toys

from dynvae.work import run

SCRIPT = """
    import json, logging, sys
    from functools import partial
    from pathlib import Path

    import ray
    from evaluation_toys import deadly_model, small_model, write_speech
    from work_toys import items, toy

    from dynvae.data import Corpus
    from dynvae.evaluation import evaluate
    from dynvae.work import run

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    folder = Path(sys.argv[1])
    troubles = {"at3": ("kill", 1), "at7": ("refuse", 1)}
    found = run(items(12, **troubles), partial(toy, folder, 0.05), folder, settings={}, engine="ray", workers=2)

    corpus = Corpus.open(write_speech(folder / "speech"))
    model = deadly_model(folder / "killed")
    fast = ["si_sdr"]
    distributed = evaluate(model, corpus, metrics=fast, engine="ray", workers=2, out=folder / "evaluation")
    alone = evaluate(small_model(), corpus, metrics=fast)
    result = {
        "values": found.values,
        "failed": found.failed,
        "killed": (folder / "killed").exists(),
        "distributed": [row.to_row() for row in distributed.files],
        "alone": [row.to_row() for row in alone.files],
    }
    (folder / "found.json").write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the script has left; it runs once, as a cluster takes many seconds to start."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'dynvae[ray]')")
    folder = tmp_path_factory.mktemp("ray")
    (folder / "main.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    tests = Path(__file__).parents[1]
    path = [str(tests / "work"), str(tests / "evaluation"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "RAY_USAGE_STATS_ENABLED": "0",
                   "DYNVAE_NATIVE": "0"}  # fmt: skip
    subprocess.run([sys.executable, folder / "main.py", folder], env=environment, check=True, timeout=600)
    return folder, json.loads((folder / "found.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(done: tuple[Path, dict[str, Any]]) -> None:
    folder, found = done
    items = toys.items(12)
    assert list(found["values"]) == [item.key for item in items if item is not items[7]]
    assert found["failed"] == {items[7].key: "the file is silent"}
    assert [toys.starts(folder, item) for item in items] == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1]
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(json.loads(line)["key"] for line in lines) == sorted(item.key for item in items)
    again = run(items, partial(toys.toy, folder), folder, settings={}, workers=0)
    assert (again.before, len(again.values)) == (11, 12)


@pytest.mark.slow
def test_an_evaluation_is_whole_and_the_same(done: tuple[Path, dict[str, Any]]) -> None:
    folder, found = done
    assert found["killed"]
    for distributed, alone in zip(found["distributed"], found["alone"], strict=True):
        assert distributed[:4] == alone[:4]
        assert distributed[-2:] == ["", ""]
        numbers = [[float(number) for number in row[4:-2]] for row in (distributed, alone)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=1e-4)
    assert len((folder / "evaluation" / "scores.csv").read_text(encoding="utf-8").splitlines()) == 7
