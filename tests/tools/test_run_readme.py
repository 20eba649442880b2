"""The runner of code blocks runs what a reader would run, and says what it leaves out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "run_readme.py"
    spec = importlib.util.spec_from_file_location("run_readme", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path: Path, *blocks: tuple[str, str], before: str = "") -> Path:
    text = "\n".join(f"Text.\n\n{before}\n```{language}\n{code}\n```\n" for language, code in blocks)
    path.write_text(text, encoding="utf-8")
    return path


def test_blocks_share_a_folder_and_python_blocks_their_names(runner: ModuleType, tmp_path: Path) -> None:
    page = write(
        tmp_path / "page.md",
        ("bash", "echo 3 > number.txt"),
        ("python", "import pathlib\nnumber = int(pathlib.Path('number.txt').read_text())"),
        ("text", "this is no code"),
        ("python", "assert number == 3"),
    )
    assert runner.main([str(page)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


@pytest.mark.parametrize(("language", "code"), [("bash", "false\ntrue"), ("bash", "false | true"), ("python", "1 / 0")])
def test_a_block_that_fails_fails_the_file(runner: ModuleType, tmp_path: Path, language: str, code: str,
                                           capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    page = write(tmp_path / "page.md", (language, code), ("bash", "echo never"))
    home = Path.cwd()
    assert runner.main([str(page)]) == 1
    told = capsys.readouterr().out
    assert f"{page}:4: FAILED" in told
    assert told.count("running") == 1
    assert Path.cwd() == home


def test_a_block_is_left_out_for_a_reason_only(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write(tmp_path / "page.md", ("bash", "exit 1"), before="<!-- not run: takes ten minutes -->\n")
    assert runner.main([str(page)]) == 0
    assert "not run: takes ten minutes" in capsys.readouterr().out
    assert runner.main([str(write(tmp_path / "page.md", ("bash", "exit 1"), before="<!-- another remark -->"))]) == 1


def test_what_readers_need_not_see_is_run_too(runner: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        'Text.\n\n<!-- run:\ncp "$REPOSITORY/LICENSE" here\n-->\n\n```bash\ntest -s here\n```\n', encoding="utf-8"
    )
    assert runner.main([str(page)]) == 0


def test_a_block_without_an_end_is_an_error(runner: ModuleType) -> None:
    with pytest.raises(ValueError, match="line 1"):
        runner.blocks("```python\n1\n")


@pytest.mark.parametrize(
    ("told", "good"),
    [("gain 7.4 dB, two", True), ("gain  7.6 dB,\n two", True), ("gain 9.4 dB, two", False), ("gain 7.4 dB", False)],
)
def test_what_a_block_prints_is_compared(
    runner: ModuleType, tmp_path: Path, told: str, good: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```python\nprint('gain 7.5 dB, two')\n```\n\n<!-- prints -->\n```text\n{told}\n```\n")
    assert runner.run_file(page) is good
    assert ("this is not what the block before it prints" in capsys.readouterr().out) is not good
