"""Run the code blocks of Markdown files as a reader would: ``python tools/run_readme.py README.md ...``.

Every block marked ``bash`` or ``python`` is run, in order, unless the line before it is the comment
``<!-- not run: REASON -->``. A comment that begins with the line ``<!-- run:`` holds commands for bash that readers
need not see, such as those that make what stands for a file of theirs; commands find the repository in ``$REPOSITORY``.
The blocks of one file share an empty folder, and its Python blocks share their names. A block that fails stops the
file; the exit code is then 1.
"""

from __future__ import annotations

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


class Block(NamedTuple):
    """A block of code: where it begins, its language, its text, and why it is not to be run, if it is not."""

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
    at, reason = 0, ""
    while at < len(lines):
        fence, skip, hidden = _FENCE.match(lines[at]), _SKIP.match(lines[at]), lines[at] == _HIDDEN
        if fence or hidden:
            last = "-->" if hidden else "```"
            end = next((n for n in range(at + 1, len(lines)) if lines[n].rstrip() == last), None)
            if end is None:
                raise ValueError(f"line {at + 1}: this block does not end")
            language = fence[1] if fence else "bash"
            found.append(Block(at + 1, language, "\n".join(lines[at + 1 : end]) + "\n", reason))
            at = end
        if lines[at].strip():
            reason = skip[1] if skip else ""
        at += 1
    return found


def run_bash(block: Block, folder: str) -> bool:
    """Whether the commands succeed; the first that fails ends them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "REPOSITORY": str(Path(__file__).resolve().parents[1])}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    return subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=False).returncode == 0


def run_python(block: Block, names: dict[str, Any], where: str) -> bool:
    """Whether the code runs through."""
    try:
        # Line numbers of an error are those of the Markdown file.
        exec(compile("\n" * block.line + block.text, where, "exec"), names)
    except BaseException:
        traceback.print_exc()
        return False
    return True


def run_file(path: Path) -> bool:
    """Whether all blocks of a file succeed."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        names: dict[str, Any] = {"__name__": "__main__"}
        try:
            for block in blocks(path.read_text(encoding="utf-8")):
                if block.language not in ("bash", "python"):
                    continue
                where = f"{path}:{block.line}"
                if block.reason:
                    print(f"{where}: not run: {block.reason}", flush=True)
                    continue
                print(f"{where}: running {block.language}", flush=True)
                os.chdir(folder)
                start = time.monotonic()
                good = run_bash(block, folder) if block.language == "bash" else run_python(block, names, where)
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
