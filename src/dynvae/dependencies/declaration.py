"""The declared conditional structure of a member of the family, and the properties that follow from it."""

from __future__ import annotations

__all__ = ["Dependencies"]

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dynvae.dependencies.equations import LATEX, TEXT, Style, write_joint, write_posterior
from dynvae.dependencies.notation import Parents, Span
from dynvae.dependencies.separation import Boundaries, ExactPosterior
from dynvae.errors import ConfigError

if TYPE_CHECKING:
    import networkx as nx

_OBSERVATION = "x"


@dataclass(frozen=True)
class Dependencies:
    """What prior, likelihood and posterior of frame t see, in the field's own notation.

    Every factor of

        p(x[1:T], z[1:T]) = ∏_t p(x_t | z_1:t, x_1:t-1) p(z_t | z_1:t-1, x_1:t-1),   q(z[1:T] | x[1:T]) = ∏_t q(z_t | .)

    is declared by a list of spans such as ``"z[t-1], x[1:T]"``: ``z[t]``, ``z[t-1]``, ``z[1:t]``, ``x[1:t-1]``,
    ``x[t:T]``, ``x[1:T]``, ``z[t-3:t-1]``; an empty list sees nothing. What a factor sees through a deterministic
    recurrent state counts as seen. A letter that is not x, the latent or the sequence-level latent is an input
    from outside (``u[1:T]``, or ``c`` for one without frames), which is always known.

    Args:
        prior: parents of z_t in the generative model, all of them past.
        likelihood: parents of x_t: past x, and any z. (A decoder may see future z, as the non-causal RVAE's does.)
        posterior: parents of z_t in the inference model: past z, and any x.
        latent: the symbol of z (KVAE's is a).
        sequence_latent: the symbol of a latent that the whole sequence shares (DSAE's v, HiT-DVAE's w). Its prior
            is independent of everything; the three factors may name it.
        sequence_posterior: what its posterior sees.
        in_order: whether the parts of z_t are inferred one after another, each with those before it known, as in
            q(z_t | .) = q(a_t | .) q(b_t | a_t, .): its parameters depend on z_t itself, part by part.
        note: anything worth telling beside the equations.

    Raises:
        ConfigError: the notation cannot be read, or the factors do not make a valid model.

    Example:
        >>> srnn = Dependencies(prior="z[t-1], x[1:t-1]", likelihood="z[t], x[1:t-1]", posterior="z[t-1], x[1:T]")
        >>> print(srnn.equations())
        p(x₁:T, z₁:T) = ∏ₜ p(xₜ | zₜ, x₁:ₜ₋₁) p(zₜ | zₜ₋₁, x₁:ₜ₋₁)
        q(z₁:T | x₁:T) = ∏ₜ q(zₜ | zₜ₋₁, x₁:T)
        >>> print(srnn.exact_posterior())
        p(z₁:T | x₁:T) = ∏ₜ p(zₜ | zₜ₋₁, x₁:T)
        >>> srnn.autoregressive, srnn.true_posterior, srnn.dynamical_latent
        (True, True, True)
    """

    prior: str
    likelihood: str
    posterior: str
    latent: str = "z"
    sequence_latent: str | None = None
    sequence_posterior: str = ""
    in_order: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse what is not a model."""
        z, v = self.latent, self.sequence_latent
        symbols = [symbol for symbol in (_OBSERVATION, z, v) if symbol is not None]
        if len(set(symbols)) < len(symbols):
            raise ConfigError(f"the symbols of observation, latent and sequence-level latent coincide: {symbols}")
        for symbol in symbols:
            if Span.parse(symbol).start is not None:
                raise ConfigError(f"a symbol is a name such as z, not '{symbol}'")
        for name in ("prior", "likelihood", "posterior", "sequence_posterior"):
            self._check_kinds(name, self.parents(name))
        self._only_past("prior", z, f"the prior of {z}[t] sees only earlier {z}")
        self._only_past("prior", "x", f"the prior of {z}[t] is drawn before x[t] and sees only earlier x")
        self._only_past("likelihood", "x", "the likelihood of x[t] sees only earlier x, or the product is no density")
        self._only_past("posterior", z, f"the posterior of {z}[t] is drawn forward in time and sees only earlier {z}")
        if not self.causal and self.parents("prior").of("x"):
            raise ConfigError(
                f"the likelihood '{self.likelihood}' sees later {z}, so that all {z} come before all x, but the prior "
                f"'{self.prior}' sees x: a circle, not a factorisation"
            )
        self._check_sequence_latent()

    def _check_kinds(self, name: str, parents: Parents) -> None:
        for span in parents:
            framed = span.symbol in (_OBSERVATION, self.latent)
            if framed and span.start is None:
                raise ConfigError(f"{name}: '{span}' has no frames; write {span}[t], {span}[1:T] or the like")
            if span.symbol == self.sequence_latent and span.start is not None:
                raise ConfigError(f"{name}: '{span}' has frames, but {span.symbol} belongs to the whole sequence")
            if name == "sequence_posterior":
                whole = span.start is None or (span.start == "1" and span.stop == "T")
                if not whole or span.symbol in (self.latent, self.sequence_latent):
                    raise ConfigError(f"sequence_posterior: it sees whole sequences, such as x[1:T], and not '{span}'")

    def _only_past(self, name: str, symbol: str, rule: str) -> None:
        for span in self.parents(name).of(symbol):
            if not span.past:
                raise ConfigError(f"{name}: '{span}' is not allowed: {rule}")

    def _check_sequence_latent(self) -> None:
        v = self.sequence_latent
        if v is None and self.sequence_posterior:
            raise ConfigError("sequence_posterior is given, but no sequence_latent")
        if v is not None and not self.sequence_posterior:
            raise ConfigError(f"the sequence-level latent {v} needs a sequence_posterior, such as x[1:T]")
        if v is not None and not (self.parents("prior").of(v) or self.parents("likelihood").of(v)):
            raise ConfigError(f"neither prior nor likelihood sees the sequence-level latent {v}")

    def parents(self, factor: str) -> Parents:
        """What ``"prior"``, ``"likelihood"``, ``"posterior"`` or ``"sequence_posterior"`` sees."""
        return Parents.parse(getattr(self, factor))

    @cached_property
    def inputs(self) -> Parents:
        """The whole of every variable that is given from outside."""
        known = (_OBSERVATION, self.latent, self.sequence_latent)
        spans = [span for factor in ("prior", "likelihood", "posterior", "sequence_posterior")
                 for span in self.parents(factor) if span.symbol not in known]  # fmt: skip
        framed = {span.symbol: span.start is not None for span in spans}
        return Parents(tuple(Span(symbol, "1", "T") if has else Span(symbol) for symbol, has in framed.items()))

    # ---- properties ----------------------------------------------------------------------------------------------

    @cached_property
    def autoregressive(self) -> bool:
        """Whether past observations are fed back: prior or likelihood sees past x."""
        return any(self.parents(factor).of(_OBSERVATION) for factor in ("prior", "likelihood"))

    @cached_property
    def dynamical_latent(self) -> bool:
        """Whether the latents have dynamics of their own: the prior sees past latents."""
        return bool(self.parents("prior").of(self.latent))

    @cached_property
    def causal(self) -> bool:
        """Whether x_t can be generated without the latents of later frames."""
        return not any(span.future for span in self.parents("likelihood").of(self.latent))

    @cached_property
    def true_posterior(self) -> bool:
        """Whether the inference model respects the structure of the exact posterior: it misses nothing.

        That is, q(z_t | .) (and q(v | .), where there is one) sees every variable that the exact posterior's
        factor depends on, so that the structure alone keeps the bound from being tight in no way. Seeing more than
        that is allowed: a DKF whose encoder is bidirectional still has the tick. For all models of the published
        comparison (Bie et al., 2021) the encoders that miss nothing see nothing superfluous either, so that "has
        exactly the structure" gives the same ticks. The published table leaves the static VAE blank; its encoder
        q(z_t | x_t) has the exact structure, and is ticked here.
        """
        factors = ("posterior", "sequence_posterior")
        return not any(nodes for factor in factors for nodes in self._boundaries.differences(factor).values())

    # ---- the exact posterior -------------------------------------------------------------------------------------

    def graph(self, T: int) -> nx.DiGraph:
        """The generative model, unrolled over T frames.

        Nodes are ``(symbol, frame)`` with frames counted from 1, or ``(symbol, None)`` for variables of the sequence;
        each has a ``kind``: ``"latent"``, ``"observation"`` or ``"input"``.

        Example:
            >>> hmm = Dependencies(prior="z[t-1]", likelihood="z[t]", posterior="z[t-1], x[t:T]")
            >>> sorted(hmm.graph(2).edges)
            [(('z', 1), ('x', 1)), (('z', 1), ('z', 2)), (('z', 2), ('x', 2))]
        """
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(self.inputs.nodes(1, T), kind="input")
        if self.sequence_latent is not None:
            graph.add_node((self.sequence_latent, None), kind="latent")
        for t in range(1, T + 1):
            graph.add_node((self.latent, t), kind="latent")
            graph.add_node((_OBSERVATION, t), kind="observation")
        for t in range(1, T + 1):
            for child, factor in ((self.latent, "prior"), (_OBSERVATION, "likelihood")):
                graph.add_edges_from((node, (child, t)) for node in self.parents(factor).nodes(t, T))
        return graph

    def exact_posterior(self) -> ExactPosterior:
        """What the exact posterior's factor p(z_t | z[1:t-1], x[1:T], v) really depends on, by d-separation.

        With a sequence-level latent v the posterior is factorised as p(v | x[1:T]) ∏_t p(z_t | z[1:t-1], x[1:T], v).

        Raises:
            ConfigError: the frames it depends on are not runs of neighbours, as with ``prior="z[t-2]"``.
        """
        return self._boundaries.exact()

    def missing(self, factor: str = "posterior") -> Parents:
        """What the exact factor depends on and the declared ``posterior`` or ``sequence_posterior`` does not see."""
        return self._boundaries.spans(self._boundaries.differences(factor))

    def superfluous(self, factor: str = "posterior") -> Parents:
        """What the declared factor sees although the exact one does not depend on it."""
        return self._boundaries.spans(self._boundaries.differences(factor, extra=True))

    def reasons(self) -> dict[str, str]:
        """Why it is, or is not, ``autoregressive``, ``true_posterior``, ``dynamical_latent`` and ``causal``, in words.

        Example:
            >>> Dependencies(prior="z[t-1]", likelihood="z[t]", posterior="z[t-1], x[t]").reasons()["true_posterior"]
            'q(z[t]) misses x[t+1:T]'
        """
        factors = {f"q({self.latent}[t])": "posterior", f"q({self.sequence_latent})": "sequence_posterior"}
        missing = ", ".join(f"{head} misses {seen}" for head, name in factors.items() if (seen := self.missing(name)))
        return {
            "autoregressive": "past x is fed back" if self.autoregressive else "past x is not fed back",
            "true_posterior": missing or "the encoder misses nothing that the exact posterior depends on",
            "dynamical_latent": "the prior sees past latents" if self.dynamical_latent else "the prior sees no latents",
            "causal": "frame t needs no later latents" if self.causal else "the decoder sees later latents",
        }

    @cached_property
    def _boundaries(self) -> Boundaries:
        return Boundaries(self)

    # ---- equations -----------------------------------------------------------------------------------------------

    def equations(self) -> str:
        """The joint law's factorisation and the inference model's, a line each, in Unicode."""
        return "\n".join(self.formulas(TEXT))

    def latex(self) -> str:
        r"""The same in LaTeX: an ``aligned`` environment, for any display of mathematics."""
        lines = " \\\\\n".join(self.formulas(LATEX, equals=" &= "))
        return f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"

    def formulas(self, style: Style, equals: str = " = ") -> tuple[str, str]:
        """The joint law's factorisation and the inference model's, in a style of one's choice."""
        joint = write_joint(
            style,
            latent=self.latent,
            prior=self.parents("prior"),
            likelihood=self.parents("likelihood"),
            sequence_latent=self.sequence_latent,
            inputs=self.inputs,
            equals=equals,
        )
        posterior = write_posterior(
            style,
            "q",
            latent=self.latent,
            parents=self.parents("posterior"),
            sequence_latent=self.sequence_latent,
            sequence_parents=self.parents("sequence_posterior"),
            inputs=self.inputs,
            equals=equals,
        )
        return joint, posterior
