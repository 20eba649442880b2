"""From the modules of a model to the operations of its program."""

from __future__ import annotations

__all__ = ["Builder"]

from typing import Any

from torch import nn

from dynvae.nn import MLP, Recurrent
from dynvae.recurrence.program import (
    Cell,
    Dropout,
    Last,
    Linear,
    Map,
    Operation,
    Product,
    Program,
    Read,
    Signal,
    width,
)


class Builder:
    """Collects what a model computes, in the model's own words: ``h = p(self.rnn, p(self.x_net, past(x)))``.

    Applied to a module, it adds the module's operations and gives the signal of its output; variables are named after
    the module. Applied to the same module and the same signals again, it gives the same variables. Nothing is
    computed.

    Args:
        model: the module whose parameters the program uses.
    """

    def __init__(self, model: nn.Module) -> None:
        self._paths = {module: name for name, module in model.named_modules()}
        self.operations: dict[str, Operation] = {}

    @property
    def program(self) -> Program:
        """What has been collected so far."""
        return Program(dict(self.operations))

    def add(self, operation: Operation) -> Signal:
        """Add an operation; the signal of its variable.

        Raises:
            ValueError: the variable is already defined otherwise.
        """
        if self.operations.setdefault(operation.out, operation) != operation:
            raise ValueError(f"'{operation.out}' is defined twice: a module can be applied to one signal only")
        return (Read(operation.out, 0, operation.width),)

    def __call__(self, module: nn.Module, *signals: Signal, activation: str = "identity") -> Signal:
        """Apply a network to signals side by side; ``activation`` follows the last linear layer of an MLP.

        Raises:
            TypeError: there are no operations for this kind of module.
        """
        source: Signal = tuple(read for signal in signals for read in signal)
        match module:
            case MLP():
                return self._mlp(module, source, activation)
            case Recurrent():
                return self._recurrent(module, source)
            case nn.Linear():
                return self._linear(self._paths[module], module, source, activation)
        raise TypeError(f"there are no operations for a {type(module).__name__}")

    def map(self, name: str, function: str, *sources: Signal) -> Signal:
        """Apply an element-wise function to signals of the same width."""
        reads = tuple(read for source in sources for read in source)
        return self.add(Map(name, reads[0].width, function, reads))

    def last(self, module: Recurrent, out: Signal) -> Signal:
        """The state in which each direction of a recurrent network ends, given its output: one value a sequence."""
        ends: Signal = ()
        for read, backward in zip(out, module.directions, strict=True):
            ends += self.add(Last(f"{read.name}.last", read.width, read, first=backward))
        return ends

    def _mlp(self, module: MLP, source: Signal, activation: str) -> Signal:
        path, count = self._paths[module], len(module.layers)
        for index, layer in enumerate(module.layers):
            name = path if index == count - 1 else f"{path}.{index}"
            hidden = index < module.hidden_layers
            follows = module.activation if hidden else activation if index == count - 1 else "identity"
            source = self._linear(name, layer, source, follows)
            if hidden:
                source = self._dropout(source, module.dropout)
        return source

    def _linear(self, name: str, layer: nn.Module, source: Signal, activation: str) -> Signal:
        path = self._paths[layer]
        products, column = [], 0
        for read in source:
            products.append(Product(read, f"{path}.weight", column))
            column += read.width
        assert column == layer.in_features, f"{path} takes {layer.in_features} features, not {column}"
        biases = () if layer.bias is None else (f"{path}.bias",)
        return self.add(Linear(name, int(layer.out_features), tuple(products), biases, activation))  # type: ignore[arg-type]

    def _recurrent(self, module: Recurrent, source: Signal) -> Signal:
        path = self._paths[module]
        for index, layer in enumerate(module.layers):
            if index:
                source = self._dropout(source, module.dropout)
            out: Signal = ()
            for run, backward in zip(_children(layer), module.directions, strict=True):
                name = path if len(module.layers) == 1 else f"{path}.{index}"
                name = name if len(module.directions) == 1 else f"{name}.{'backward' if backward else 'forward'}"
                out += self.add(Cell(name, module.hidden, module.cell, source, self._paths[run], backward))
            source = out
        assert width(source) == module.out_features
        return source

    def _dropout(self, source: Signal, probability: float) -> Signal:
        if not probability:
            return source
        return tuple(
            read for one in source for read in self.add(Dropout(f"{one.name}.dropout", one.width, one, probability))
        )


def _children(layer: Any) -> list[nn.Module]:
    return list(layer)
