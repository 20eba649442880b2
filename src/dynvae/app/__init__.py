"""The web demo: a page that shows what the models do. gradio is imported when it is served."""

from __future__ import annotations

__all__ = ["Limits", "Serving", "Shelf", "serve"]

from dynvae.app.limits import Limits
from dynvae.app.serving import Serving, serve
from dynvae.app.shelf import Shelf
