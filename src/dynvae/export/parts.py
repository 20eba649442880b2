"""The parts of a model for whole sequences, as functions of tensors alone: encoder and decoder."""

from __future__ import annotations

__all__ = [
    "Decoder",
    "Encoder",
    "Part",
    "condition_ports",
    "has_std",
    "law_of",
    "looks_further",
    "moments",
    "observed",
]

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from dynvae.condition import Condition
from dynvae.distributions import GaussianLikelihood, Likelihood, PartsLikelihood
from dynvae.export.ports import Port, example
from dynvae.models import DVAE, VQVAE, Latents

_SEQUENCE = ("batch", "time")


class Part(nn.Module, ABC):
    """A part of a model: tensors in, tensors out, both in the order of their ports.

    Args:
        model: in evaluation mode.
    """

    name: ClassVar[str]
    """Of the part, and of its file."""
    about: ClassVar[str]
    """What it computes."""

    def __init__(self, model: DVAE) -> None:
        super().__init__()
        self.model = model

    @property
    @abstractmethod
    def inputs(self) -> list[Port]:
        """What goes in."""

    @property
    @abstractmethod
    def outputs(self) -> list[Port]:
        """What comes out."""

    def example(self, sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Values of the inputs such as may occur, for a size of each named axis."""
        return example(self.inputs, sizes, generator)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """From the values of the inputs to those of the outputs."""
        given = dict(zip((port.name for port in self.inputs), values, strict=True))
        found = self.compute(given)
        return tuple(found[port.name].clone() for port in self.outputs)  # none is an input itself

    @abstractmethod
    def compute(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same by names."""


class Encoder(Part):
    """q(z | x) of whole sequences, with the noise of its sample given."""

    name = "encoder"
    about = "the posterior of the latents of whole sequences, and a sample of it: zero noise gives the means"

    @property
    def inputs(self) -> list[Port]:
        model = self.model
        ports = [Port("x", (*_SEQUENCE, model.x_dim), "observed frames")]
        if not model.discrete:
            ports.append(Port("noise", (*_SEQUENCE, model.noise_dim), "standard normal noise of z", "noise"))
        if model.w_dim:
            ports.append(Port("noise_w", ("batch", model.w_dim), "standard normal noise of w", "noise"))
        if looks_further(model):
            ports.append(Port("lengths", ("batch",), "valid frames of each sequence", "lengths"))
        return ports + condition_ports(model, _SEQUENCE)

    @property
    def outputs(self) -> list[Port]:
        model = self.model
        frame = (*_SEQUENCE, model.z_dim)
        ports = [Port("z", frame, "a sample of q(z | x)")]
        if isinstance(model, VQVAE):
            return [*ports, Port("codes", (*_SEQUENCE, model.positions), "the numbers of the codes")]
        ports += law_of("z", frame, "q(z_t | ...)")
        if model.w_dim:
            w = ("batch", model.w_dim)
            ports += [Port("w", w, "a sample of q(w | x)"), *law_of("w", w, "q(w | x)")]
        return ports

    def compute(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        x, lengths = given["x"], given.get("lengths")
        if isinstance(self.model, VQVAE):
            values, codes, _ = self.model.quantise(self.model.encode(x, lengths))
            return {"z": values, "codes": codes}
        noise = Latents(given["noise"], given.get("noise_w"))
        posterior = self.model.posterior(x, lengths, noise=noise, **conditions(given))
        found = {"z": posterior.latents.z, **moments("z", posterior.z)}
        if posterior.w is not None and posterior.latents.w is not None:
            found |= {"w": posterior.latents.w, **moments("w", posterior.w)}
        return found


class Decoder(Part):
    """p(x | z) of whole sequences; for a model that feeds frames back, with the true ones as past."""

    name = "decoder"
    about = "the law of the observed frames, given the latents (and, if the model feeds them back, the frames before)"

    @property
    def inputs(self) -> list[Port]:
        model = self.model
        ports = [Port("z", (*_SEQUENCE, model.z_dim), "latents", "noise")]
        if model.w_dim:
            ports.append(Port("w", ("batch", model.w_dim), "the latent of the sequence", "noise"))
        if model.autoregressive:
            ports.append(Port("x", (*_SEQUENCE, model.x_dim), "observed frames; frame t is seen from t + 1 on"))
        if not model.causal:
            ports.append(Port("lengths", ("batch",), "valid frames of each sequence", "lengths"))
        return ports + condition_ports(model, _SEQUENCE)

    @property
    def outputs(self) -> list[Port]:
        return observed(self.model, _SEQUENCE)

    def example(self, sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
        """Latents that the encoder infers."""
        encoder = Encoder(self.model)
        given = encoder.example(sizes, generator)
        known = super().example(sizes, generator) | given | encoder.compute(given)
        return {port.name: known[port.name] for port in self.inputs}

    def compute(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        z = given["z"]
        x = given["x"] if "x" in given else z.new_zeros(*z.shape[:2], self.model.x_dim)
        latents = Latents(z, given.get("w"))
        law = self.model.likelihood(latents, x, given.get("lengths"), **conditions(given))
        return {"x_mean": law.mean, "x_std": law.variance.sqrt()} if has_std(self.model) else {"x_mean": law.mean}


def looks_further(model: DVAE) -> bool:
    """Whether the encoder sees later frames."""
    return bool(model.w_dim) or any(span.future for span in model.dependencies.parents("posterior"))


def law_of(symbol: str, shape: tuple[str | int, ...], law: str) -> list[Port]:
    """The ports of a law's mean and standard deviation."""
    return [Port(f"{symbol}_mean", shape, f"the mean of {law}"),
            Port(f"{symbol}_std", shape, f"the standard deviation of {law}")]  # fmt: skip


def observed(model: DVAE, axes: tuple[str, ...]) -> list[Port]:
    """The ports of the likelihood's parameters."""
    ports = law_of("x", (*axes, model.x_dim), "p(x_t | ...)")
    return ports if has_std(model) else ports[:1]


def has_std(model: DVAE) -> bool:
    """Whether the likelihood has a deviation that is neither fixed nor a function of its mean."""
    kind: Likelihood = model.observation
    kinds = kind.kinds if isinstance(kind, PartsLikelihood) else (kind,)
    return any(isinstance(one, GaussianLikelihood) for one in kinds)


def moments(symbol: str, law: Distribution) -> dict[str, Tensor]:
    """Mean and standard deviation of a law, by the names of their ports."""
    return {f"{symbol}_mean": law.mean, f"{symbol}_std": law.variance.sqrt()}


def condition_ports(model: DVAE, axes: tuple[str, ...]) -> list[Port]:
    """The ports of what is known beside x, of models that see something."""
    if not model.condition_dim:
        return []
    return [Port("condition", (*axes, model.condition_dim), "what is known beside x, such as lips"),
            Port("present", axes, "which frames have a condition", "present")]  # fmt: skip


def conditions(given: dict[str, Tensor]) -> dict[str, Any]:
    """The condition of these frames as a model's methods take it."""
    return {"condition": Condition(given["condition"], given["present"])} if "condition" in given else {}
