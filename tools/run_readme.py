"""Run the code blocks of Markdown files as a reader would: ``python tools/run_readme.py README.md ...``.

Every block marked ``bash`` or ``python`` is run, in order, unless the line before it is the comment
``<!-- not run: REASON -->``. A comment that begins with the line ``<!-- run:`` holds commands for bash that readers
need not see, such as those that make what stands for a file of theirs; commands find the repository in ``$REPOSITORY``.
The blocks of one file share an empty folder, and its Python blocks share their names. A block that fails stops the
file; the exit code is then 1.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

_FENCE = re.compile(r"^```(\w*)[^`]*$")
_SKIP = re.compile(r"^<!-- not run: (.+) -->$")
_HIDDEN = "<!-- run:"
_PRINTS = "<!-- prints -->"
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)")


class Block(NamedTuple):
    """A block: where it begins, its language, its text, and why it is not to be run, if it is not.

    The language of what the block before it prints is ``prints``.
    """

    line: int
    language: str
    text: str
    reason: str


def blocks(text: str) -> list[Block]:
    """The code blocks of a Markdown text.

    Raises:
        ValueError: the last block does not end, or a comment says nothing about why.
    """
    found: list[Block] = []
    lines = text.splitlines()
    at, reason, before = 0, "", ""
    while at < len(lines):
        fence, skip, hidden = _FENCE.match(lines[at]), _SKIP.match(lines[at]), lines[at] == _HIDDEN
        if fence or hidden:
            last = "-->" if hidden else "```"
            end = next((n for n in range(at + 1, len(lines)) if lines[n].rstrip() == last), None)
            if end is None:
                raise ValueError(f"line {at + 1}: this block does not end")
            language = "prints" if before == _PRINTS else fence[1] if fence else "bash"
            found.append(Block(at + 1, language, "\n".join(lines[at + 1 : end]) + "\n", reason))
            at = end
        if lines[at].strip():
            reason, before = skip[1] if skip else "", lines[at]
        at += 1
    return found


def run_bash(block: Block, folder: str) -> bool:
    """Whether the commands succeed; the first that fails ends them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "REPOSITORY": str(Path(__file__).resolve().parents[1])}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False).returncode == 0


def run_python(block: Block, names: dict[str, Any], where: str, printed: io.StringIO) -> bool:
    """Whether the code runs through; what it prints is kept, too."""
    with contextlib.redirect_stdout(printed):
        try:
            # Line numbers of an error are those of the Markdown file.
            exec(compile("\n" * block.line + block.text, where, "exec"), names)
        except BaseException:
            traceback.print_exc()
            return False
        finally:
            print(printed.getvalue(), end="", file=sys.__stdout__, flush=True)
    return True


def agree(told: str, printed: str) -> bool:
    """Whether two texts are the same, but for white space, and for numbers that differ by less than a tenth."""
    parts, others = (_NUMBER.split(" ".join(text.split())) for text in (told, printed))
    if len(parts) != len(others) or parts[::2] != others[::2]:
        return False
    pairs = zip(map(float, parts[1::2]), map(float, others[1::2]), strict=True)
    return all(abs(one - other) <= 0.1 * abs(one) for one, other in pairs)


def run_file(path: Path) -> bool:
    """Whether all blocks of a file succeed."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        names: dict[str, Any] = {"__name__": "__main__"}
        printed = io.StringIO()
        try:
            for block in blocks(path.read_text(encoding="utf-8")):
                where = f"{path}:{block.line}"
                if block.language == "prints" and not agree(block.text, printed.getvalue()):
                    print(f"{where}: FAILED: this is not what the block before it prints", flush=True)
                    return False
                if block.language not in ("bash", "python"):
                    continue
                if block.reason:
                    print(f"{where}: not run: {block.reason}", flush=True)
                    continue
                print(f"{where}: running {block.language}", flush=True)
                os.chdir(folder)
                start = time.monotonic()
                printed = io.StringIO()
                bash = block.language == "bash"
                good = run_bash(block, folder) if bash else run_python(block, names, where, printed)
                os.chdir(home)
                print(f"{where}: {'passed' if good else 'FAILED'} in {time.monotonic() - start:.1f} s", flush=True)
                if not good:
                    return False
        finally:
            os.chdir(home)
    return True


def main(arguments: list[str]) -> int:
    """Run the files that are named."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    start = time.monotonic()
    good = [run_file(Path(argument)) for argument in arguments]  # all of them, whatever becomes of the first
    used = os.times()
    seconds = used.user + used.system + used.children_user + used.children_system
    print(
        f"{sum(good)} of {len(good)} files passed in {time.monotonic() - start:.0f} s, {seconds:.0f} s of a processor"
    )
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
