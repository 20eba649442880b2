"""A sequence model without latents: what a DVAE is compared with where it tells what comes next."""

from __future__ import annotations

__all__ = ["AutoregressiveLSTM", "load_lstm"]

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from dynvae.dependencies import Dependencies
from dynvae.models.recursive import Recursion, RecursiveDVAE
from dynvae.nn import MLP, Recurrent
from dynvae.recurrence import past


class AutoregressiveLSTM(RecursiveDVAE):
    r"""Each frame from those before it, by an LSTM: :math:`p(x) = \prod_t p(x_t | x_{1:t-1})`.

    It keeps to the contract of a DVAE, with a latent of one dimension that is noise and goes nowhere: posterior and
    prior are N(0, 1), and the ELBO is the log-likelihood.

    Args:
        x_dim: size of an observed frame.
        x_hidden: layers on x_t-1 before the LSTM.
        hidden: size of the LSTM.
        decoder_hidden: layers between h_t and x_t.
        activation: of the hidden layers.
        kwargs: see :class:`~dynvae.models.base.DVAE`.
    """

    title: ClassVar[str] = "Autoregressive LSTM"
    paper: ClassVar[str] = "a baseline of Lin et al., 2023"
    dependencies = Dependencies(prior="", likelihood="x[1:t-1]", posterior="")

    def __init__(
        self,
        x_dim: int = 4,
        *,
        x_hidden: Sequence[int] = (8,),
        hidden: int = 16,
        decoder_hidden: Sequence[int] = (16,),
        activation: str = "tanh",
        **kwargs: Any,
    ) -> None:
        super().__init__(x_dim, 1, **kwargs)
        self.x_net = MLP(x_dim, x_hidden, activation=activation)
        self.rnn = Recurrent(self.x_net.out_features, hidden)
        self.decoder = MLP(hidden, decoder_hidden, x_dim * self.observation.outputs, activation=activation)
        self.silence = MLP(x_dim, (), 2)
        for parameter in self.silence.parameters():
            torch.nn.init.zeros_(parameter.requires_grad_(False))

    def inference(self, p: Recursion) -> None:
        p.posterior(p(self.silence, p.x))

    def generation(self, p: Recursion) -> None:
        p.likelihood(p(self.decoder, p(self.rnn, p(self.x_net, past(p.x)))))


def load_lstm(path: str | os.PathLike[str]) -> AutoregressiveLSTM:
    """The baseline, in evaluation mode, from its folder or the folder of its run.

    Raises:
        CheckpointError: there is none, or it is damaged, foreign or too new.
    """
    from dynvae.pretrained.names import locate
    from dynvae.pretrained.storage import read

    network: Any = read(locate(path), kinds={"lstm": AutoregressiveLSTM})
    lstm: AutoregressiveLSTM = network
    return lstm
