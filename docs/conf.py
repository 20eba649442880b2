"""Settings of the documentation: ``make docs`` builds it into build/docs, and any warning fails the build."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ.setdefault("MPLBACKEND", "Agg")

from pygments.lexers.special import TextLexer  # noqa: E402
from sphinx.highlighting import lexers  # noqa: E402

import dynvae  # noqa: E402

project = "dynvae"
author = "the dynvae authors"
copyright = author
version = release = dynvae.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "guests",
    "generated",
    "api_pages",
]
exclude_patterns = ["_ext"]
templates_path: list[str] = []
nitpicky = True
smartquotes = False
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"dynvae {release}"
html_static_path = ["_static"]
html_css_files = ["dynvae.css"]
html_theme_options = {"navigation_with_keys": True}

# What a block before it prints.
lexers["prints"] = TextLexer()

# Markdown.
myst_enable_extensions = [
    "amsmath",
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "substitution",
]
myst_heading_anchors = 4

# Notebooks. What they computed is kept until a source file of dynvae changes.
sources = sorted((ROOT / "src" / "dynvae").rglob("*.py"))
state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs-notebooks" / state)
nb_execution_timeout = 600  # seconds for a cell, on a machine that does other work too
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True

copybutton_exclude = ".linenos, .gp, .go"

# API.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
default_role = "code"

# Links to torch, numpy and Python need the network: DYNVAE_DOCS_ONLINE=1.
if os.environ.get("DYNVAE_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
