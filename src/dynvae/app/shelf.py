"""The models of the demo: those that come with the package, and those that the operator gives."""

from __future__ import annotations

__all__ = ["Shelf"]

import os
from collections.abc import Sequence
from pathlib import Path

from dynvae.audio import FrontEnd
from dynvae.errors import ConfigError
from dynvae.models import DVAE
from dynvae.motion import BoxView
from dynvae.pretrained import bundled, load


class Shelf:
    """Models by a name that visitors see: of a folder, its last part; never its path.

    Args:
        given: folders of models or runs, or names on the hub, beside those that are bundled.
        device: where they are.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: it is of no use here.

    Example:
        >>> shelf = Shelf()
        >>> shelf.boxes, shelf.lips
        (['srnn-boxes'], [])
    """

    def __init__(self, given: Sequence[str | os.PathLike[str]] = (), device: str = "cpu") -> None:
        self._models: dict[str, DVAE] = {}
        for name in bundled():
            self._models[name] = load(name, device)
        for place in given:
            model = load(place, device)
            if not isinstance(model.front_end, FrontEnd | BoxView):
                raise ConfigError(f"{place}: the demo has no use for a {type(model).__name__} of {model.front_end}; it "
                                  "takes models of sound and of boxes")  # fmt: skip
            self._models[self._free(Path(place))] = model

    def _free(self, place: Path) -> str:
        plain = place.resolve().parent.name if place.name == "model" else place.name or place.resolve().name
        names = [plain, *(f"{plain}-{count}" for count in range(2, len(self._models) + 3))]
        return next(name for name in names if name not in self._models)

    def __getitem__(self, name: object) -> DVAE:
        """A model by its name.

        Raises:
            ConfigError: there is none of this name.
        """
        if not isinstance(name, str) or name not in self._models:
            raise ConfigError(f"there is no such model here; there are {', '.join(self._models)}")
        return self._models[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._models)

    def _named(self, kind: type, *, sees: bool) -> list[str]:
        return [name for name, model in self._models.items()
                if isinstance(model.front_end, kind) and bool(model.condition_dim) == sees]  # fmt: skip

    @property
    def sound(self) -> list[str]:
        """Models that hear only."""
        return self._named(FrontEnd, sees=False)

    def usual(self, name: str) -> str:
        """A model of sound to begin with: this one, or where it is not here any other."""
        return name if name in self.sound else self.sound[0]

    @property
    def lips(self) -> list[str]:
        """Models that hear, and see lips."""
        return self._named(FrontEnd, sees=True)

    @property
    def boxes(self) -> list[str]:
        """Models of boxes."""
        return self._named(BoxView, sees=False)
