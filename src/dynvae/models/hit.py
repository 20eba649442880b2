"""The hierarchical Transformer DVAEs: HiT-DVAE with a decoder each for z and x, LigHT-DVAE with one for both."""

from __future__ import annotations

__all__ = ["HiTDVAE", "LigHTDVAE", "State"]

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dynvae.dependencies import Dependencies
from dynvae.distributions import gaussian, reparameterize
from dynvae.errors import ConfigError
from dynvae.models.base import DVAE, Latents, Posterior
from dynvae.models.transformer import Caches, Decoder, Encoder, Positions
from dynvae.nn import MLP, Direction, Recurrent, shift
from dynvae.recurrence import Builder, run
from dynvae.recurrence.program import Read

Law = Literal["prior", "likelihood"]


class State(NamedTuple):
    """Where the generation of a batch of sequences stands before a frame.

    Attributes:
        time: the number of frames past.
        w: ``(batch, w_dim)``.
        z: the latent of the last frame, ``(batch, z_dim)``; zero before the first.
        x: what the networks see of the last frame, ``(batch, x_dim)``; zero before the first.
        prior: the parameters of p(z_t | past); None if nobody will ask.
        caches: what attention has made of the frames past.
    """

    time: int
    w: Tensor
    z: Tensor
    x: Tensor
    prior: Tensor | None
    caches: Caches


class HiTDVAE(DVAE):
    r"""Hierarchical Transformer DVAE (Bie et al., 2022), as applied to speech by Lin et al. (2023).

    .. math::
        p(x, z, w) = p(w) \prod_t p(x_t | x_{1:t-1}, z_{1:t}, w)\, p(z_t | x_{1:t-1}, z_{1:t-1}, w), \quad
        q(z, w | x) = q(w | x_{1:T}) \prod_t q(z_t | x_{1:T}, w).

    A recurrent network sums the sequence up in :math:`w`; a Transformer encoder over :math:`(x_t, w)` gives all
    :math:`q(z_t)` at once. There is one Transformer decoder for z, which asks with :math:`x_{t-1}` and remembers
    :math:`(z_{t-1}, w)`, and one for x, which asks with :math:`(z_t, w)` and remembers :math:`x_{t-1}`. Both streams
    are delayed at the decoders' input (``x_0 = z_0 = 0``), where attention is causal. What a decoder asks with goes on
    through its residual branches; hence x leans on z, and feeding the own frames back costs little.

    With the defaults it has 21,749,633 parameters; the paper says 21.75 M. What the paper leaves open and that number
    fits: w comes from one bidirectional GRU of 1024 units in each direction (43 % of all parameters), the attention has
    biases, mean and log-variance have a linear map each, and w enters the decoders beside z. It was found by trying;
    others may fit too.

    Args:
        x_dim: size of an observed frame.
        z_dim: size of a latent frame.
        w_dim: size of the sequence-level latent.
        model_dim: size of the Transformers' vectors.
        layers: number of layers of the encoder and of each decoder.
        heads: number of heads of each attention.
        feed_forward: size of the hidden dense layer.
        w_rnn: size of the recurrent network that infers w (of each direction).
        w_cell: its kind: ``"gru"``, ``"lstm"`` or ``"rnn"``.
        w_direction: ``"both"``, ``"forward"`` or ``"backward"``.
        rnn_layers: number of its layers.
        positions: ``"absolute"`` adds sinusoids of a frame's number to what enters the Transformers, as the papers do.
            ``"relative"`` turns queries and keys instead (:func:`~dynvae.models.transformer.rotated`), so that what
            was learned from short sequences holds in long ones.
        span: attention sees so many frames, itself included, of the past (the encoder, also of the future); 0 is all.
            Through all layers a frame sees further. With relative positions, sequences of any length are then what
            training has seen, and a frame of generation costs the same however many came before it.
        memory_positions: whether what the decoders remember gets positions too; without, as drawn in the paper, past
            frames of the memory are a set without order.
        pre_norm: normalise what enters a residual branch instead of what leaves it.
        projection: a linear layer after each decoder.
        ablation: ``"inv-s"``: the decoder of x asks with x_t-1 and remembers (z_t, w); ``"inv-s-nr"``: it also has no
            residual connections. Both are there to show why it is done as it is.
        activation: of the dense layers.
        dropout: in the residual branches and between recurrent layers.
        past_dropout: probability that training silences a past frame that the decoders see (Bowman et al., 2016, do so
            with words). What the past would tell, z has to tell; it is the better when the past is the model's own.
        kwargs: see :class:`~dynvae.models.base.DVAE`.

    Raises:
        ConfigError: the sizes do not fit, or the ablation is unknown.
    """

    title: ClassVar[str] = "Hierarchical Transformer DVAE"
    paper: ClassVar[str] = "Bie et al., 2022"
    dependencies = Dependencies(
        prior="z[1:t-1], x[1:t-1], w",
        likelihood="z[1:t], x[1:t-1], w",
        posterior="x[1:T], w",
        sequence_latent="w",
        sequence_posterior="x[1:T]",
    )
    decoder_count: ClassVar[int] = 2
    """A decoder for each law, or one for both."""
    prior_query: ClassVar[Literal["z", "x"]] = "x"
    """What the decoder of z asks with."""

    def __init__(
        self,
        x_dim: int = 513,
        z_dim: int = 16,
        w_dim: int = 32,
        *,
        model_dim: int = 256,
        layers: int = 4,
        heads: int = 1,
        feed_forward: int = 1024,
        w_rnn: int = 1024,
        w_cell: Literal["lstm", "gru", "rnn"] = "gru",
        w_direction: Direction = "both",
        rnn_layers: int = 1,
        positions: Positions = "absolute",
        span: int = 0,
        memory_positions: bool = False,
        pre_norm: bool = False,
        projection: bool = False,
        ablation: Literal["none", "inv-s", "inv-s-nr"] = "none",
        activation: str = "relu",
        dropout: float = 0.0,
        past_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, z_dim, w_dim=w_dim, **kwargs)
        if w_dim < 1:
            raise ConfigError(f"a {type(self).__name__} has a sequence-level latent: w_dim must be positive")
        if ablation not in ("none", "inv-s", "inv-s-nr"):
            raise ConfigError(f"there is no ablation '{ablation}'; there are none, inv-s, inv-s-nr")
        if not 0 <= past_dropout < 1:
            raise ConfigError(f"past_dropout is a probability below one, not {past_dropout}")
        self.past_dropout = past_dropout
        self.likelihood_query: Literal["z", "x"] = "z" if ablation == "none" else "x"
        self.residual = ablation != "inv-s-nr"
        sizes = (model_dim, layers, heads, feed_forward)
        if positions not in ("absolute", "relative") or span < 0:
            raise ConfigError(f"positions are absolute or relative, and the span not negative: {positions}, {span}")
        options: dict[str, Any] = {"positions": positions, "span": span, "pre_norm": pre_norm}
        options |= {"activation": activation, "dropout": dropout}
        self.w_rnn = Recurrent(x_dim, w_rnn, layers=rnn_layers, direction=w_direction, cell=w_cell, dropout=dropout)
        self.w_encoder = MLP(self.w_rnn.out_features, (), 2 * w_dim)
        self.encoder = Encoder(x_dim + w_dim, *sizes, **options)
        self.z_encoder = MLP(model_dim, (), 2 * self.z_dim)
        options |= {"memory_positions": memory_positions, "projection": projection}
        self.decoders = nn.ModuleList(
            Decoder(z_dim + w_dim, x_dim, *sizes, **options) for _ in range(self.decoder_count)
        )
        self.prior_net = MLP(model_dim, (), 2 * self.z_dim)
        self.decoder = MLP(model_dim, (), x_dim * self.observation.outputs)
        p = Builder(self)
        p(self.w_encoder, p.last(self.w_rnn, p(self.w_rnn, (Read("x", 0, x_dim),))))
        self.w_program = p.program

    # ---- whole sequences -----------------------------------------------------------------------------------------

    def posterior(
        self,
        x: Tensor,
        lengths: Tensor | None = None,
        *,
        noise: Latents | None = None,
        generator: torch.Generator | None = None,
        latents: Latents | None = None,
    ) -> Posterior:
        if latents is None and noise is None:
            noise = self.draw_noise(x.shape[0], x.shape[1], generator)
        x = self.features(x, lengths)
        about_w = run(self.w_program, self, {"x": x}, {"w_encoder"}, lengths=lengths)["w_encoder"]
        w = latents.w if latents is not None else _sampled(about_w, noise.w if noise is not None else None)
        assert w is not None, f"a {type(self).__name__} has a sequence-level latent"
        about_z = self.z_encoder(self.encoder(_beside(x, w), lengths))
        z = latents.z if latents is not None else _sampled(about_z, noise.z if noise is not None else None)
        assert z is not None
        return Posterior(Latents(z, w), gaussian(about_z), gaussian(about_w), {"x": x})

    def prior(self, latents: Latents, x: Tensor, lengths: Tensor | None = None) -> Distribution:
        return self._prior(latents, self._past(self.features(x, lengths)), {})

    def likelihood(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> Distribution:
        return self._likelihood(latents, self._past(seen["x"] if seen else self.features(x, lengths)), {})

    def generative(
        self,
        latents: Latents,
        x: Tensor,
        lengths: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> tuple[Distribution, Distribution]:
        past, caches = self._past(seen["x"] if seen else self.features(x, lengths)), Caches()
        return self._prior(latents, past, caches), self._likelihood(latents, past, caches)

    def _past(self, x: Tensor) -> Tensor:
        """What the decoders see of the frames before each frame."""
        if self.training and self.past_dropout:
            x = x * (torch.rand_like(x[..., :1]) >= self.past_dropout)
        return shift(x)

    def _prior(self, latents: Latents, past: Tensor, caches: Caches) -> Distribution:
        return self.prior_of(gaussian(self.prior_net(self._decode("prior", shift(latents.z), past, latents.w, caches))))

    def _likelihood(self, latents: Latents, past: Tensor, caches: Caches) -> Distribution:
        return self.observation(self.decoder(self._decode("likelihood", latents.z, past, latents.w, caches)))

    def _decode(self, law: Law, z: Tensor, x: Tensor, w: Tensor | None, caches: Caches, start: int = 0) -> Tensor:
        """New frames through the decoder of a law: z_t (of the prior: z_t-1) and x_t-1 as the networks see it.

        In either role, w goes with z.
        """
        assert w is not None, f"a {type(self).__name__} has a sequence-level latent"
        last = law == "likelihood"
        index = len(self.decoders) - 1 if last else 0
        query = self.likelihood_query if last else self.prior_query
        # The observed stream, x_t-1, is the same in both laws; the latent one, z_t or z_t-1, is not.
        memory = f"memory.{index}" if query == "z" else f"memory.{law}"
        return self.decoders[index](
            _beside(self.code(z), w),
            x,
            caches,
            start,
            query=query,
            name=law,
            memory=memory,
            residual=self.residual or not last,
        )

    # ---- frame by frame ------------------------------------------------------------------------------------------

    def start(self, batch: int, w: Tensor | None = None) -> State:
        state = self._start_along(batch, w)
        return self._open(state, state.z.unsqueeze(1), state.x.unsqueeze(1))

    def _start_along(self, batch: int, w: Tensor | None, **given: Any) -> State:
        if w is None:
            raise ValueError(f"a {type(self).__name__} generates from a sequence-level latent: give start its w")
        z, x = (self.weight.new_zeros(batch, size) for size in (self.z_dim, self.x_dim))
        return State(0, w, z, x, None, {})

    def _open(self, state: State, z: Tensor, x: Tensor) -> State:
        """The state that knows the prior of its frame; the prior's decoder has not seen these last frames yet."""
        caches = dict(state.caches)
        h = self._decode("prior", z, x, state.w, caches, state.time + 1 - z.shape[1])
        return state._replace(prior=self.prior_net(h[:, -1]), caches=caches)

    def step_prior(self, state: State) -> Distribution:
        assert state.prior is not None, "this state was made for latents that are known"
        return self.prior_of(gaussian(state.prior))

    def step_likelihood(self, state: State, z: Tensor) -> tuple[Distribution, State]:
        h, state = self._decode_likelihood(state, z.unsqueeze(1), state.x.unsqueeze(1))
        return self.observation(self.decoder(h[:, 0])), state

    def _decode_likelihood(self, state: State, z: Tensor, x: Tensor) -> tuple[Tensor, State]:
        caches = dict(state.caches)
        h = self._decode("likelihood", z, x, state.w, caches, state.time)
        return h, state._replace(caches=caches)

    def advance(self, state: State, z: Tensor, x: Tensor) -> State:
        seen = state.caches.get("likelihood.0")
        if seen is None or seen.length <= state.time:  # nobody has asked for the likelihood of this frame
            _, state = self.step_likelihood(state, z)
        return self._close(state, z.unsqueeze(1), self.features(x).unsqueeze(1))

    def observe(self, state: State, z: Tensor, x: Tensor) -> State:
        x = self.features(x)
        _, state = self._decode_likelihood(state, z, torch.cat([state.x.unsqueeze(1), x[:, :-1]], 1))
        return self._close(state, z, x)

    def _close(self, state: State, z: Tensor, x: Tensor) -> State:
        """The state after frames that the likelihood's decoder has seen."""
        after = state._replace(time=state.time + z.shape[1], z=z[:, -1], x=x[:, -1])
        return after if state.prior is None else self._open(after, z, x)


class LigHTDVAE(HiTDVAE):
    """Light hierarchical Transformer DVAE (Lin et al., 2023): one decoder for both laws of HiT-DVAE.

    The decoder asks with (z_t-1, w) for the prior and with (z_t, w) for the likelihood, and remembers x_t-1 in both.
    All else is as in :class:`HiTDVAE`, with the same arguments.

    With the defaults it has 17,391,745 parameters (17.39 M); the paper says 17.46 M. With ``projection=True``, the
    preset ``light-reported``, there are 17,457,537. Where the 65,792 parameters of a layer from 256 to 256 units are
    missing the paper does not tell; after the decoder is an assumption, beside those of :class:`HiTDVAE`.
    """

    title: ClassVar[str] = "Light hierarchical Transformer DVAE"
    paper: ClassVar[str] = "Lin et al., 2023"
    decoder_count: ClassVar[int] = 1
    prior_query: ClassVar[Literal["z", "x"]] = "z"


def _beside(frames: Tensor, w: Tensor) -> Tensor:
    """Each frame with the latent of its sequence, ``(batch, time, feature + w_dim)``."""
    return torch.cat([frames, w.to(frames.dtype).unsqueeze(1).expand(-1, frames.shape[1], -1)], -1)


def _sampled(packed: Tensor, noise: Tensor | None) -> Tensor:
    assert noise is not None, "there is noise for z and for w"
    mean, log_variance = packed.chunk(2, -1)
    return reparameterize(mean, log_variance, noise)
