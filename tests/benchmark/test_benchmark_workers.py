"""Jobs run side by side, wait for what they start from, and fail alone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from dynvae.benchmark import BenchmarkConfig, Stopped, workers
from dynvae.benchmark.plan import Job, plan
from dynvae.benchmark.workers import run_jobs

PROGRAM = """
import json, pathlib, signal, sys, time
file = pathlib.Path(sys.argv[1]); job = json.loads(file.read_text()); folder = file.parent
stop = lambda *_: (folder.joinpath("saved").touch(), sys.exit(143))
signal.signal(signal.SIGTERM, stop)
folder.joinpath("begun").write_text(str(time.monotonic()))
print("epoch 1"); print("trained", job["row"], flush=True)
{body}
folder.joinpath("ended").write_text(str(time.monotonic()))
"""


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return plan(BenchmarkConfig(data="speech", out=str(tmp_path), models=("vae", "srnn", "srnn-ss")), "/speech")


def pretend(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Have the processes run a few lines instead of a training."""
    program = PROGRAM.replace("{body}", body)
    monkeypatch.setattr(workers, "_command", lambda job: [sys.executable, "-c", program, str(job.path / "job.json")])


def test_a_row_waits_for_what_it_starts_from(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "time.sleep(0.3)")
    said: list[str] = []
    assert run_jobs(jobs, at_once=3, threads=1, say=said.append) == {}
    srnn, vae, scheduled = jobs
    assert float((scheduled.path / "begun").read_text()) > float((srnn.path / "ended").read_text())
    assert float((vae.path / "begun").read_text()) < float((srnn.path / "ended").read_text())
    assert "[vae-seed0] trained vae" in said
    assert "[vae-seed0] epoch 1" not in said  # at most one such line in twenty seconds
    assert "epoch 1" in (vae.path / "log.txt").read_text()


def test_a_failure_takes_only_its_heirs_with_it(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "if job['row'] == 'srnn': sys.exit('error: the loss is not finite')")
    failed = run_jobs(jobs, at_once=1, threads=1, say=lambda line: None)
    assert set(failed) == {"srnn-seed0", "srnn-ss-seed0"}
    assert failed["srnn-seed0"].startswith("the loss is not finite (more in ")
    assert failed["srnn-ss-seed0"] == "it starts from srnn-seed0, which failed"
    assert (jobs[1].path / "ended").exists()


def test_a_process_that_is_killed_is_a_failure(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "import os; os.kill(os.getpid(), signal.SIGKILL)")
    failed = run_jobs(jobs[1:2], at_once=1, threads=1, say=lambda line: None)
    assert failed == {"vae-seed0": "its process was ended by SIGKILL"}


def test_a_signal_has_the_runs_save_and_then_ends_all(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "time.sleep(30)")
    begun, before = jobs[0].path / "begun", signal.getsignal(signal.SIGINT)

    def interrupt() -> None:
        while not begun.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Stopped) as stopped:
        run_jobs(jobs[:1], at_once=1, threads=1, say=lambda line: None)
    assert stopped.value.signum == signal.SIGINT
    assert (jobs[0].path / "saved").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_each_process_has_the_threads_that_it_was_given(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "import os; print('threads', os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])")
    said: list[str] = []
    run_jobs(jobs[1:2], at_once=1, threads=3, say=said.append)
    assert "[vae-seed0] threads 3 passive" in said
