"""A page for every public package and module: what its ``__all__`` names, from the docstrings."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Any

from sphinx.ext.napoleon import docstring

import dynvae

PRIVATE = ("cli", "native", "work", "app", "__main__")
"""What is no library for others: programs, and machinery under the floor."""
DEEPER = ("dynvae.testtime.esteps", "dynvae.models.structures", "dynvae.metrics.motion")


def pages() -> dict[str, str]:
    """The pages, by the module's name without ``dynvae.``."""
    found = ["dynvae", *(f"dynvae.{module.name}" for module in pkgutil.iter_modules(dynvae.__path__)), *DEEPER]
    names = [name for name in found if name.split(".")[-1] not in PRIVATE]
    return {f"api/{name.removeprefix('dynvae.')}": _page(name) for name in sorted(names)}


def _page(name: str) -> str:
    module = importlib.import_module(name)
    named = [each for each in getattr(module, "__all__", ()) if not each.startswith("__")]
    above = name.rpartition(".")[0]
    elsewhere = getattr(importlib.import_module(above), "__all__", ()) if above else ()
    lazy = [each for each in named if each not in vars(module)]
    members = [each for each in named if each not in lazy and each not in elsewhere]
    options = [f"   :members: {', '.join(members)}", "   :imported-members:"] if members else []
    lines = [f"# {name}", "", "```{eval-rst}", f".. automodule:: {name}", *options, "```", ""]
    for each in lazy:
        home = getattr(module, each).__module__
        lines += [f"`{name}.{each}` is {{py:func}}`~{home}.{each}`.", ""]
    return "\n".join(lines)


def is_real(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Let a reference to something without a page of its own be plain text, if there is such a thing."""
    if node.get("refdomain") != "py":
        return None
    module, inside, target = node.get("py:module"), node.get("py:class"), node["reftarget"].strip("'")
    # A docstring stands on the page of the package that shows it, and was written in one of its modules.
    modules = [name for name in list(sys.modules) if module and (name == module or name.startswith(f"{module}."))]
    names = [target, f"{module}.{inside}.{target}", *(f"{name}.{target}" for name in modules)]
    # A hint that could not be looked up is written as in the source: Tensor, not torch.Tensor.
    hint = node["reftype"] == "class" and target.isidentifier() and target[0].isupper() and not node.get("refexplicit")
    return text if hint or any(exists(name) for name in names) else None


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            annotated = getattr(found, "__annotations__", {})
            if not hasattr(found, part) and part not in annotated:
                return False
            found = getattr(found, part, None)
        return True
    return False


def skip(app: Any, kind: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what named tuples say of their fields, which are in the docstring of the class."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    # In "Where it comes from: authors and year." what stands before the colon is no type.
    docstring.GoogleDocstring._parse_attribute_docstring = lambda self: self._dedent(self._consume_to_end())
    app.connect("missing-reference", is_real)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
