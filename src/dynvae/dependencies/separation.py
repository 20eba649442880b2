"""What the exact posterior depends on, by d-separation on the unrolled graph (Pearl, 1988; Geiger et al., 1990)."""

from __future__ import annotations

__all__ = ["Boundaries", "ExactPosterior", "boundary"]

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynvae.dependencies.equations import LATEX, TEXT, Style, write_posterior
from dynvae.dependencies.notation import Node, Parents, generalize
from dynvae.errors import ConfigError

if TYPE_CHECKING:
    import networkx as nx

    from dynvae.dependencies.declaration import Dependencies


def boundary(graph: nx.DiGraph, target: Node, candidates: set[Node]) -> set[Node]:
    """The candidates that a variable depends on when all of them are known: its Markov boundary among them.

    A candidate is in it exactly if it is not d-separated from the target by all the other candidates. (d-separation
    is a compositional graphoid, so this set is unique and separates the target from the remaining candidates.)
    """
    import networkx as nx

    return {node for node in candidates if not nx.is_d_separator(graph, target, node, candidates - {node})}


class Boundaries:
    """Exact and declared posterior, side by side on a graph that is long enough.

    The middle frame is out of reach of both ends whatever path a dependence takes, so that what it depends on tells
    the spans; the other frames of the interior confirm them.

    Args:
        dependencies: the declaration.
    """

    def __init__(self, dependencies: Dependencies) -> None:
        factors = [dependencies.parents(name) for name in ("prior", "likelihood", "posterior")]
        margin = max((span.reach for parents in factors for span in parents), default=0) + 1
        self.dependencies = dependencies
        self.T, self.middle = 4 * margin + 1, 2 * margin + 1
        graph = dependencies.graph(self.T)
        known = {node for node, kind in graph.nodes(data="kind") if kind != "latent"}
        self.sequence: dict[int, set[Node]] = {}
        self.frames: dict[int, set[Node]] = {}
        if dependencies.sequence_latent is not None:
            v: Node = (dependencies.sequence_latent, None)
            self.sequence[self.middle] = boundary(graph, v, known)
            known.add(v)
        for t in range(1 + margin, self.T - margin + 1):
            past = {(dependencies.latent, s) for s in range(1, t)}
            self.frames[t] = boundary(graph, (dependencies.latent, t), known | past)

    def exact(self) -> ExactPosterior:
        """The exact posterior's structure."""
        declared = self.dependencies
        frames, sequence = self.spans(self.frames), self.spans(self.sequence)
        return ExactPosterior(declared.latent, frames, declared.sequence_latent, sequence, declared.inputs)

    def differences(self, factor: str, *, extra: bool = False) -> dict[int, set[Node]]:
        """What the exact factor depends on and the declared one does not see; with ``extra``, the other way round."""
        exact = self.frames if factor == "posterior" else self.sequence
        seen = {t: self.dependencies.parents(factor).nodes(t, self.T) for t in exact}
        return {t: seen[t] - exact[t] if extra else exact[t] - seen[t] for t in exact}

    def spans(self, nodes: dict[int, set[Node]]) -> Parents:
        """The spans that the nodes of each frame stand for.

        Raises:
            ConfigError: the frames say different things, as they do where dependence skips every second frame.
        """
        if not nodes:
            return Parents()
        declared = self.dependencies
        found = generalize(nodes[self.middle], self.middle, self.T)
        if any(found.nodes(t, self.T) != there for t, there in nodes.items()):
            raise ConfigError(
                f"the exact posterior of {declared} is not made of runs of frames and has no short notation"
            )
        symbols = [declared.latent, "x", *(span.symbol for span in declared.inputs), declared.sequence_latent]
        return Parents(tuple(sorted(found, key=lambda span: symbols.index(span.symbol))))


@dataclass(frozen=True)
class ExactPosterior:
    """The structure of the exact posterior, factorised forward in time: p(v | x[1:T]) ∏_t p(z_t | z[1:t-1], x[1:T], v).

    Attributes:
        latent: the symbol of z.
        parents: what z_t really depends on.
        sequence_latent: the symbol of v, if there is one.
        sequence_parents: what v really depends on.
        inputs: what is given to the model from outside.
    """

    latent: str
    parents: Parents
    sequence_latent: str | None
    sequence_parents: Parents
    inputs: Parents

    def text(self) -> str:
        """The factorisation in Unicode."""
        return self._write(TEXT)

    def latex(self) -> str:
        """The factorisation in LaTeX."""
        return self._write(LATEX)

    def _write(self, style: Style) -> str:
        return write_posterior(
            style,
            "p",
            latent=self.latent,
            parents=self.parents,
            sequence_latent=self.sequence_latent,
            sequence_parents=self.sequence_parents,
            inputs=self.inputs,
        )

    def __str__(self) -> str:
        return self.text()
