"""The multimodal dynamical VAE: what two sequences share and what each has alone, static and from frame to frame."""

from __future__ import annotations

__all__ = ["MDVAE", "SHARED"]

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dynvae.dependencies import Dependencies
from dynvae.errors import ConfigError
from dynvae.models.modalities import MultimodalDVAE
from dynvae.models.recursive import Recursion, RecursiveDVAE, Use
from dynvae.models.values import Latents, Posterior
from dynvae.nn import MLP, Recurrent
from dynvae.recurrence import past, run
from dynvae.recurrence.program import Map, Read, Sample, Signal
from dynvae.recurrence.schedule import Stage, schedule

SHARED = "shared"
"""The name of the latent stream that all modalities share."""

Sizes = Sequence[int] | Sequence[Sequence[int]]


class MDVAE(MultimodalDVAE, RecursiveDVAE):
    r"""Multimodal dynamical VAE (Sadok et al., 2024): of sound and video, or any sequences on the same frames.

    .. math::
        p(x, z, w) &= p(w) \prod_t p(z^{av}_t | z^{av}_{1:t-1}) \prod_m p(z^m_t | z^m_{1:t-1})\,
                      p(x^m_t | w, z^{av}_t, z^m_t), \\
        q(z, w | x) &= q(w | x_{1:T}) \prod_t q(z^{av}_t | z^{av}_{1:t-1}, x_t, w)
                       \prod_m q(z^m_t | z^m_{1:t-1}, x^m_t, z^{av}_t, w).

    w is what stays in a sequence (who speaks, in which mood), :math:`z^{av}` what moves in all modalities (lips and
    phonemes), :math:`z^m` what moves in one alone. The contract's z is :math:`(z^{av}, z^1, z^2, ...)` side by side
    (:attr:`streams`). Given w, q filters: a frame's latents see nothing of later frames.

    A frame may lack modalities (:mod:`dynvae.models.modalities`): the networks see zeros in the place of their
    features, and :math:`q(z^m_t | ·)` is :math:`p(z^m_t | z^m_{1:t-1})` where there is no :math:`x^m_t`, which costs
    nothing. Without any modality, so it is with :math:`z^{av}`. Sound makes lips by that (``hide`` trains it).

    With ``codecs`` it is the VQ-MDVAE: x is what the encoders of VQ-VAEs make of each modality, before it is quantised.

    The recurrent networks over past latents serve prior and posterior both.

    Args:
        x_dim: the sizes of the modalities.
        z_dim: size of what they share, a frame.
        w_dim: size of what stays.
        private_dim: size of what each has alone, one for all or one for each.
        x_hidden: layers on the features of each, for all or for each.
        w_rnn: size of the bidirectional GRU that infers w.
        w_hidden: layers between its last states and q(w)'s parameters.
        prior_rnn: size of the GRU over each latent stream.
        prior_hidden: layers from there to the prior's parameters, for all streams or for each.
        encoder_hidden: layers to those of q(z_t), for all streams or for each.
        decoder_hidden: layers of each decoder, for all or for each.
        activation: of the hidden layers.
        dropout: in the hidden layers.
        kwargs: see :class:`~dynvae.models.modalities.MultimodalDVAE`.

    Raises:
        ConfigError: the sizes do not fit, or an option is unknown.
    """

    title: ClassVar[str] = "Multimodal dynamical VAE"
    paper: ClassVar[str] = "Sadok et al., 2024"
    dependencies = Dependencies(
        prior="z[1:t-1]",
        likelihood="z[t], w",
        posterior="z[1:t-1], x[t], w",
        sequence_latent="w",
        sequence_posterior="x[1:T]",
        in_order=True,
        note="z_t is what all modalities share, then what each has alone; each has its own prior.",
    )

    def __init__(
        self,
        x_dim: Sequence[int] | int = (513, 4489),
        z_dim: int = 16,
        w_dim: int = 32,
        *,
        private_dim: Sequence[int] | int = 8,
        x_hidden: Sizes = (256,),
        w_rnn: int = 128,
        w_hidden: Sequence[int] = (),
        prior_rnn: int = 64,
        prior_hidden: Sizes = (32,),
        encoder_hidden: Sizes = (128,),
        decoder_hidden: Sizes = (128, 256),
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        count = 1 if isinstance(x_dim, int) else len(x_dim)
        private = (private_dim,) * count if isinstance(private_dim, int) else tuple(private_dim)
        if len(private) != count or min(private) < 1 or w_dim < 1 or z_dim < 1:
            raise ConfigError(f"an MDVAE has positive sizes of what stays, of what is shared and of what each of "
                              f"{count} modalities has alone, not {w_dim}, {z_dim}, {list(private)}")  # fmt: skip
        super().__init__(x_dim, z_dim + sum(private), w_dim=w_dim, **kwargs)
        names, sizes = self.modalities.names, self.modalities.sizes
        if SHARED in names:
            raise ConfigError(f"'{SHARED}' is the name of what modalities share; call none of them so")
        self.streams: dict[str, slice] = {SHARED: slice(0, z_dim)}
        """Where each latent stream is in z: ``"shared"``, and one of each modality's name."""
        end = z_dim
        for name, size in zip(names, private, strict=True):
            self.streams[name] = slice(end, end + size)
            end += size
        options: dict[str, Any] = {"activation": activation, "dropout": dropout}

        def mlps(keys: Sequence[str], ins: Sequence[int], hidden: Sizes, outs: Sequence[int | None]) -> nn.ModuleDict:
            each = _each(hidden, len(keys))
            return nn.ModuleDict({k: MLP(i, h, o, **options) for k, i, h, o in zip(keys, ins, each, outs, strict=True)})

        self.x_nets = mlps(names, sizes, x_hidden, [None] * count)
        seen = self.embedded
        self.w_rnn = Recurrent(sum(seen), w_rnn, direction="both", cell="gru")
        self.w_encoder = MLP(2 * w_rnn, w_hidden, 2 * w_dim, **options)
        widths = [z_dim, *private]
        self.prior_rnns = nn.ModuleDict(
            {name: Recurrent(width, prior_rnn, cell="gru") for name, width in zip(self.streams, widths, strict=True)}
        )
        keys, doubled = list(self.streams), [2 * width for width in widths]
        self.prior_nets = mlps(keys, [prior_rnn] * len(keys), prior_hidden, doubled)
        ins = [prior_rnn + w_dim + sum(seen), *(prior_rnn + w_dim + z_dim + size for size in seen)]
        self.encoders = mlps(keys, ins, encoder_hidden, doubled)
        self.decoders = mlps(names, [w_dim + z_dim + width for width in private], decoder_hidden, self.outputs)

    # ---- the declaration -----------------------------------------------------------------------------------------

    def inference(self, p: Recursion) -> None:
        sizes = zip(self.modalities.names, self.embedded, strict=True)
        seen = {name: (Read(f"seen.{name}", 0, size),) for name, size in sizes}
        everything = tuple(seen.values())
        p.sequence_posterior(p(self.w_encoder, p.last(self.w_rnn, p(self.w_rnn, *everything))))
        parts: list[tuple[Read, Read]] = []
        for name, width in self.widths.items():
            h = self._memory(p, name, (Read(f"z.{name}", 0, width),))
            sees = everything if name == SHARED else (seen[name], (Read(f"z.{SHARED}", 0, self.widths[SHARED]),))
            own, prior = p(self.encoders[name], h, p.w, *sees), p(self.prior_nets[name], h)
            gate = (Read(f"present.{name}", 0, width),)
            mean = p.map(f"mean.{name}", "blend", gate, _half(prior, 0), _half(own, 0))
            log_variance = p.map(f"log_variance.{name}", "blend", gate, _half(prior, 1), _half(own, 1))
            p.add(Sample(f"z.{name}", width, mean[0], log_variance[0], f"noise.z.{name}"))
            parts.append((mean[0], log_variance[0]))
        p.laws["posterior"] = _beside(p, "posterior", parts)
        reads = tuple(Read(f"z.{name}", 0, width) for name, width in self.widths.items())
        p.add(Map("z", self.z_dim, "beside", reads))

    def generation(self, p: Recursion) -> None:
        z = {name: self._stream(p, name) for name in self.streams}
        packed = [p(self.prior_nets[name], self._memory(p, name, z[name])) for name in self.streams]
        p.laws["prior"] = _beside(p, "prior", [(_half(law, 0)[0], _half(law, 1)[0]) for law in packed])
        decoded = [p(net, p.w, z[SHARED], z[name]) for name, net in self.decoders.items()]
        reads = tuple(read for signal in decoded for read in signal)
        p.likelihood(p.add(Map("likelihood", sum(read.width for read in reads), "beside", reads)))

    @property
    def embedded(self) -> list[int]:
        """The sizes of what the encoder makes of each modality, frame by frame."""
        return [int(net.out_features) for net in self.x_nets.values()]  # type: ignore[arg-type]

    @property
    def widths(self) -> dict[str, int]:
        """The size of each latent stream."""
        return {name: span.stop - span.start for name, span in self.streams.items()}

    def _memory(self, p: Recursion, name: str, z: Signal) -> Signal:
        return p(self.prior_rnns[name], past(z))

    def _stream(self, p: Recursion, name: str) -> Signal:
        """A stream of z; where inference has been declared, it has made it already."""
        if f"z.{name}" in p.operations:
            return (Read(f"z.{name}", 0, self.widths[name]),)
        span = self.streams[name]
        return p.map(f"z.{name}", "identity", (Read("z", span.start, span.stop),))

    def schedule(self, use: Use) -> tuple[Stage, ...]:
        if use != "inference":
            return super().schedule(use)
        d = self.declared
        kinds = ("seen.", "present.", "noise.z.")
        known = {"noise.w", *(kind + name for kind in kinds for name in self.streams)}
        return schedule(d.program, known, d.names("posterior", "sequence_posterior") | {"z"}, training=False)

    # ---- whole sequences -----------------------------------------------------------------------------------------

    def infer(
        self,
        x: Tensor,
        lengths: Tensor | None,
        *,
        noise: Latents | None = None,
        latents: Latents | None = None,
        **unused: Any,
    ) -> Posterior:
        d, known = self.declared, self._embedded(x, lengths)
        for values, prefix in ((latents, ""), (noise, "noise.")):
            if values is not None:
                assert values.w is not None, "an MDVAE has a latent of the sequence"
                known |= {f"{prefix}z.{name}": values.z[..., span] for name, span in self.streams.items()}
                known[f"{prefix}w"] = values.w
                break
        wanted = d.names("posterior", "sequence_posterior") | d.shared | {"z", "w"}
        values_of = run(d.program, self, known, wanted, lengths=lengths)
        seen = {name: values_of[name] for name in d.shared}
        laws = (self._gaussian("posterior", values_of), self._gaussian("sequence_posterior", values_of))
        return Posterior(Latents(values_of["z"], values_of["w"]), *laws, seen)

    def _embedded(self, x: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
        """What networks on single frames make of x, and which streams an observation tells something of."""
        present = self.seen(x)
        known, gates = {}, {SHARED: present.any(-1)}
        for index, (name, part) in enumerate(self.modalities.split(self.features(x, lengths)).items()):
            gates[name] = present[..., index]
            embedded = self.x_nets[name](part)
            known[f"seen.{name}"] = embedded * gates[name].unsqueeze(-1)
        for name, gate in gates.items():
            known[f"present.{name}"] = gate.unsqueeze(-1).to(self.weight.dtype).expand(-1, -1, self.widths[name])
        return known

    def noise_of(
        self, x: Tensor, latents: Literal["mean", "sample"] = "mean", generator: torch.Generator | None = None
    ) -> Latents:
        """The noise that makes the posterior's mean along its recursion, or a sample, of frames like x.

        Raises:
            ConfigError: it is neither.
        """
        return self._noise(x, latents, None, generator)

    # ---- the streams ---------------------------------------------------------------------------------------------

    def latents_of(self, latents: Latents) -> dict[str, Tensor]:
        """The latents by name: ``"w"``, ``"shared"``, and each modality's own."""
        assert latents.w is not None
        return {"w": latents.w, **{name: latents.z[..., span] for name, span in self.streams.items()}}

    def assembled(self, parts: Mapping[str, Tensor]) -> Latents:
        """The way back from :meth:`latents_of`."""
        return Latents(torch.cat([parts[name] for name in self.streams], -1), parts["w"])

    def swapped(self, latents: Latents, other: Latents, names: Sequence[str]) -> Latents:
        """The first latents with some of the other's in their place.

        Args:
            latents: of a batch of sequences.
            other: of as many, with as many frames.
            names: of what is taken from the other: ``"w"``, ``"shared"``, or modalities.

        Raises:
            ConfigError: there is no such latent.
        """
        own, others = self.latents_of(latents), self.latents_of(other)
        unknown = sorted(set(names) - set(own))
        if unknown:
            raise ConfigError(f"the latents are {', '.join(own)}; not {', '.join(unknown)}")
        return self.assembled({name: (others if name in names else own)[name] for name in own})


def _half(packed: Signal, which: int) -> Signal:
    """The mean (0) or the log-variance (1) of a network's output."""
    (read,) = packed
    half = read.width // 2
    start = read.start + which * half
    return (Read(read.name, start, start + half, read.delay),)


def _beside(p: Recursion, law: str, parts: Sequence[tuple[Read, Read]]) -> Signal:
    """The Gaussians of the streams as one: a mean and a log-variance."""
    result: Signal = ()
    for kind, reads in zip(("mean", "log_variance"), zip(*parts, strict=True), strict=True):
        result += p.add(Map(f"{law}.{kind}", sum(read.width for read in reads), "beside", tuple(reads)))
    return result


def _each(sizes: Sizes, count: int) -> list[tuple[int, ...]]:
    """Layers for each: one choice for all, or one for each of them."""
    given = list(sizes)
    if all(isinstance(size, int) for size in given):
        return [tuple(given)] * count  # type: ignore[arg-type]
    if len(given) != count:
        raise ConfigError(f"layers are for all or for each of {count}, not {given}")
    return [tuple(each) for each in given]  # type: ignore[arg-type]
