"""Print the models' programs into docs/explanation/recursion.md, after the comments that name them.

``--check`` only compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from dynvae.models import build
from dynvae.models.recursive import RecursiveDVAE
from dynvae.recurrence.text import describe

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "recursion.md"
BLOCK = re.compile(r"(<!-- program: (\S+) (\S+) -->\n```text\n).*?(```)", re.DOTALL)


def filled(text: str) -> str:
    """The text with each program as the code has it now."""

    def fill(match: re.Match[str]) -> str:
        model = build(match[2])
        assert isinstance(model, RecursiveDVAE), f"{match[2]} has no program"
        return f"{match[1]}{describe(model.schedule(match[3]))}\n{match[4]}"  # type: ignore[arg-type]

    return BLOCK.sub(fill, text)


def main() -> int:
    """Write the page, or compare it."""
    old = PAGE.read_text(encoding="utf-8")
    new = filled(old)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
    elif new != old:
        print(f"{PAGE} is not what the code says; run {Path(__file__).name}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
