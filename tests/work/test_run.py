"""Work over many items: each done exactly once, whatever dies, stops or goes wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest
import work_toys as toys

from dynvae.errors import CheckpointError, ConfigError, DataError, DynvaeError
from dynvae.work import JOURNAL, Item, Journal, Outcome, Stopped, Summary, item_seed, outcomes, run


def do(items: list[Item], folder: Path, workers: int = 0, **options) -> Summary:
    return run(
        items, partial(toys.toy, folder), folder, settings=options.pop("settings", {}), workers=workers, **options
    )


def journal(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / JOURNAL).read_text(encoding="utf-8").splitlines()[1:]]


def assert_all_done_once(items: list[Item], folder: Path, found: Summary) -> None:
    assert found.values == {item.key: item_seed(0, item.key) for item in items}
    assert list(found.values) == [item.key for item in items]
    assert not found.failed
    done = [line["key"] for line in journal(folder) if line["status"] == "done"]
    assert sorted(done) == sorted(item.key for item in items)
    for item in items:
        (output,) = item.outputs
        assert (folder / output).read_text(encoding="utf-8") == item.key


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    items = toys.items(9, at2=("kill", 1), at5=("exit", 2))
    found = do(items, tmp_path, workers=2)
    assert_all_done_once(items, tmp_path, found)
    assert [toys.starts(tmp_path, item) for item in items] == [1, 1, 2, 1, 1, 3, 1, 1, 1]
    assert {line["attempts"] for line in journal(tmp_path)} == {1, 2, 3}


def test_what_always_goes_wrong_comes_to_an_end(tmp_path: Path) -> None:
    items = toys.items(7, at1=("kill", 99), at2=("raise", 99), at3=("refuse", 99), at4=("raise", 1))
    found = do(items, tmp_path, workers=2)
    assert len(found.values) == 4
    assert found.failed == {
        items[1].key: "its process was ended by SIGKILL (out of memory?)",
        items[2].key: "ValueError: an odd number",
        items[3].key: "the file is silent",
    }
    assert [toys.starts(tmp_path, item) for item in items] == [1, 3, 3, 1, 2, 1, 1]
    traces = {line["key"]: line.get("trace", "") for line in journal(tmp_path) if line["status"] == "failed"}
    assert [bool(traces[item.key]) for item in items[1:4]] == [False, True, False]
    again = do(toys.items(7), tmp_path)
    assert (again.before, len(again.values), again.failed) == (4, 7, {})


def test_a_batch_that_dies_comes_again_item_by_item(tmp_path: Path) -> None:
    items = toys.items(8, at2=("kill", 99), at6=("raise", 1))
    found = do(items, tmp_path, workers=1, batches=lambda items: [items[:5], items[5:]])
    assert list(found.failed) == [items[2].key]
    # What was handed over before the death is not begun again, what came behind was not begun.
    assert [toys.starts(tmp_path, item) for item in items] == [1, 1, 4, 1, 1, 1, 2, 1]


def test_workers_that_die_one_after_the_other_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynvae.work.schedule.DEATHS_IN_A_ROW", 4)
    items = toys.items(20, **{f"at{index}": ("kill", 99) for index in range(20)})
    with pytest.raises(DynvaeError, match=r"die one after the other.*SIGKILL.*fewer workers"):
        do(items, tmp_path, workers=1)


def test_workers_that_cannot_begin_end_the_run(tmp_path: Path) -> None:
    for workers in (0, 1):
        with pytest.raises(DynvaeError, match=r"model.safetensors is damaged") as error:
            run(toys.items(3), toys.unfit, tmp_path, settings={}, workers=workers)
        assert isinstance(error.value, CheckpointError) == (workers == 0)
    with pytest.raises(DynvaeError, match=r"exit code 1.*__main__"):
        run(toys.items(3), toys.still_born, tmp_path, settings={}, workers=1)
    assert journal(tmp_path) == []


def test_a_value_that_is_no_json_fails_its_item_alone(tmp_path: Path) -> None:
    found = run([Item(f"item {index}") for index in range(3)], toys.undefined, tmp_path, settings={}, workers=0)
    assert found.values == {"item 0": 0.5, "item 2": 0.5}
    assert "no JSON: Out of range" in found.failed["item 1"]


def test_work_that_gives_too_little_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="gave no value for 'a b/ü 0"):
        run(toys.items(1), toys.mute, tmp_path, settings={}, workers=0)


MAIN = """
    import sys
    from functools import partial
    from pathlib import Path
    sys.path.insert(0, {toys!r})
    import work_toys as toys
    from dynvae.work import Stopped, run

    if __name__ == "__main__":
        folder = Path(sys.argv[1])
        items = toys.items(30, at12=("hang", 1)) if {hang} else toys.items(30)
        try:
            run(items, partial(toys.toy, folder, 0.05), folder, settings={{}}, workers={workers})
        except Stopped as stop:
            print(stop)
            sys.exit(128 + stop.signum)
"""


def start(folder: Path, workers: int, hang: bool = False) -> subprocess.Popen[str]:
    """A run of 30 items in a process of its own, once 6 of them are done."""
    script = folder / "main.py"
    code = MAIN.format(toys=str(Path(toys.__file__).parent), workers=workers, hang=hang)
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    process = subprocess.Popen([sys.executable, script, folder], stdout=subprocess.PIPE, text=True)
    path = folder / JOURNAL
    wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") > 6)
    return process


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, workers)
    with process:
        process.kill()
    pids = {int(path.suffix[1:]) for path in (tmp_path / "starts").iterdir()}
    wait_for(lambda: not any(alive(pid) for pid in pids))  # no worker outlives it
    items = toys.items(30)
    before = [toys.starts(tmp_path, item) for item in items]
    noted = len(journal(tmp_path))
    found = do(items, tmp_path)
    assert found.before == noted
    assert 6 <= noted < 30
    assert_all_done_once(items, tmp_path, found)
    again = [toys.starts(tmp_path, item) - count for item, count in zip(items, before, strict=True)]
    assert sum(again) == 30 - noted
    assert max(again) == 1


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize(("workers", "signum"), [(0, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_signal_lets_running_items_end(tmp_path: Path, workers: int, signum: int) -> None:
    with start(tmp_path, workers) as process:
        process.send_signal(signum)
        said = process.stdout.read()
    assert process.returncode == 128 + signum
    done = len(journal(tmp_path))
    assert said == f"stopped with {done} of 30 done in {tmp_path}; the same command goes on\n"
    assert sum(toys.starts(tmp_path, item) for item in toys.items(30)) == done
    assert_all_done_once(toys.items(30), tmp_path, do(toys.items(30), tmp_path))


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    with start(tmp_path, 2, hang=True) as process:
        wait_for(lambda: len(journal(tmp_path)) > 12)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - begun < 8
    assert_all_done_once(toys.items(30), tmp_path, do(toys.items(30), tmp_path))


def test_a_torn_journal_is_read_up_to_the_tear(tmp_path: Path) -> None:
    items = toys.items(5)
    do(items, tmp_path)
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    for cut in (len(whole) - 1, len(whole) - 30, len(whole) // 2, 10, 0):
        path.write_bytes(whole[:cut])
        found = do(items, tmp_path)
        assert found.before == max(0, whole[:cut].count(b"\n") - 1)
        assert_all_done_once(items, tmp_path, found)


def test_a_damaged_line_costs_its_item_alone(tmp_path: Path) -> None:
    items = toys.items(5)
    do(items, tmp_path)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    lines[2] = b"\xff\x00 no JSON\n"
    lines[4] = b"[1]\n"
    (tmp_path / JOURNAL).write_bytes(b"".join(lines))
    found = do(items, tmp_path)
    assert found.before == 3
    assert len(found.values) == 5


def test_an_output_that_is_gone_is_made_again(tmp_path: Path) -> None:
    items = toys.items(4)
    do(items, tmp_path)
    (tmp_path / items[2].outputs[0]).unlink()
    found = do(items, tmp_path)
    assert found.before == 3
    assert [toys.starts(tmp_path, item) for item in items] == [1, 1, 2, 1]


def test_other_settings_are_refused_unless_overwritten(tmp_path: Path) -> None:
    items = toys.items(3)
    do(items, tmp_path, settings={"method": "wiener", "size": [1, 2]})
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(ConfigError, match=r"another method \(wiener, now nmf\).*--out.*--overwrite"):
        do(items, tmp_path, settings={"method": "nmf", "size": [1, 2]})
    with pytest.raises(ConfigError, match=r"another size \(\[1, 2\], now None\)"):
        do(items, tmp_path, settings={"method": "wiener"})
    assert (tmp_path / JOURNAL).read_bytes() == before
    assert do(items, tmp_path, settings={"method": "wiener", "size": (1, 2)}).before == 3
    assert do(items, tmp_path, settings={"method": "nmf"}, overwrite=True).before == 0
    assert do(items, tmp_path, settings={"method": "nmf"}, overwrite=True).before == 3


def test_a_foreign_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text("somebody,else\n")
    with pytest.raises(ConfigError, match="holds the work of something else"):
        do(toys.items(1), tmp_path)
    assert (tmp_path / JOURNAL).read_text() == "somebody,else\n"


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Journal(tmp_path, {}), pytest.raises(ConfigError, match="another process works in"):
        do(toys.items(1), tmp_path)
    assert do(toys.items(1), tmp_path).values


def test_names_of_any_bytes_survive_the_journal(tmp_path: Path) -> None:
    item = Item(os.fsdecode(b"caf\xe9\n.wav"))
    with Journal(tmp_path, {}) as open_journal:
        open_journal.add([Outcome(item.key, {"si_sdr": 1.5})])
    with Journal(tmp_path, {}) as open_journal:
        assert open_journal.done([item]) == {item.key: {"si_sdr": 1.5}}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*--out"):
        do([], tmp_path / "file" / "out")


def test_progress_and_summary(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    items = toys.items(4, at1=("refuse", 99), at2=("refuse", 99))
    found = do(items, tmp_path, report=lambda *now: seen.append(now))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.lines()[1] == "2 failed: the file is silent (e.g. a b/ü 1 音.wav)"
    assert do(items[:1], tmp_path).lines("clips")[0].startswith("1 of 1 clips done, 1 of them before; 0 in ")


def test_the_summary_tells_rate_and_reasons() -> None:
    found = Summary({"a": 1, "b": 2}, {"c": "it is silent"}, before=1, seconds=4.0, work_seconds=7.0)
    assert found.items_per_second == 0.5
    assert found.lines() == [
        "2 of 3 files done, 1 of them before; 2 in 4.0 s: 0.5 files a second", "c failed: it is silent"
    ]  # fmt: skip


def test_an_error_of_the_listener_ends_the_workers(tmp_path: Path) -> None:
    def report(done: int, total: int) -> None:
        if done == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        do(toys.items(9), tmp_path, workers=1, report=report)
    (pid,) = {int(path.suffix[1:]) for path in (tmp_path / "starts").iterdir()}
    assert not alive(pid)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert do(toys.items(9), tmp_path).before == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": "spark"}, "processes or ray"), ({"workers": -1}, "workers"), ({"attempts": 0}, "attempts")],
)
def test_unknown_settings_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        do(toys.items(1), tmp_path, **options)


def test_keys_are_different(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two items are called 'a'"):
        do([Item("a"), Item("b"), Item("a")], tmp_path)


def test_batches_are_drawn_as_they_are_needed() -> None:
    drawn: list[int] = []

    def batches():
        for index in range(100):
            drawn.append(index)
            yield [Item(str(index))]

    stream = outcomes(batches(), toys.toy, workers=0)
    assert [next(stream).key for _ in range(3)] == ["0", "1", "2"]
    assert len(drawn) < 6
    stream.close()


def test_a_stop_is_an_interruption() -> None:
    with pytest.raises(KeyboardInterrupt, match="goes on"):
        raise Stopped(signal.SIGTERM, "the same command goes on")


def test_a_missing_ray_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DynvaeError, match=r"pip install 'dynvae\[ray\]'"):
        do(toys.items(1), tmp_path, workers=1, engine="ray")
