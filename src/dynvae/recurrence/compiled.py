"""The compiled executor of loops: float32 on CPUs, with the results of :mod:`dynvae.recurrence.plain`.

To torch, a run of a loop is one operator and its way back another; :file:`native/program.c` does the work.
"""

from __future__ import annotations

__all__ = ["available", "run_loop", "supports"]

import ctypes
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dynvae.native import library
from dynvae.native.tracing import constant_when_traced
from dynvae.recurrence import plain
from dynvae.recurrence.layout import STEP_SIZE, Layout, by_handle, layout_of
from dynvae.recurrence.plain import Parameters
from dynvae.recurrence.program import Linear
from dynvae.recurrence.schedule import Loop

_PRODUCTS_WORTH_A_THREAD = 1_000_000
_NO_GRADIENT = (0,) * 8


@constant_when_traced
def available() -> bool:
    """Whether the compiled library is there."""
    return library() is not None


def supports(loop: Loop) -> bool:
    """Whether the compiled executor is there and knows all that a loop does."""
    return available() and layout_of(loop) is not None


def run_loop(
    loop: Loop,
    inputs: Mapping[str, Tensor],
    parameters: Parameters,
    initial: Mapping[str, Tensor],
    lengths: Tensor | None,
) -> dict[str, Tensor]:
    """Run a loop as :func:`dynvae.recurrence.plain.run_loop` does, and give what is needed outside and what is carried.

    The plain executor takes over where this one cannot: in other precisions and on other devices, inside of
    ``torch.func``'s transforms, without the compiled library.
    """
    layout = layout_of(loop) if available() else None
    if layout is not None:
        tensors = [inputs[name] for name in layout.inputs]
        tensors += [initial[name] for name in layout.carried]
        tensors += [parameters(name) for name in layout.parameters]
    if layout is None or not _are_ours(tensors):
        return plain.run_loop(loop, inputs, parameters, initial, lengths)
    batch, frames = next(iter(inputs.values())).shape[:2]
    if lengths is not None and layout.backward:
        lengths = lengths.to("cpu", torch.int64).contiguous()
    else:
        lengths = None
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        values = _Run.apply(layout.handle, lengths, batch, frames, *tensors)
    else:
        values = torch.ops.dynvae.run_loop(tensors, lengths, layout.handle, batch, frames, False)
    return dict(zip(layout.returned, values, strict=True))


def _are_ours(tensors: Sequence[Tensor]) -> bool:
    if not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return all(x.dtype is torch.float32 and x.device.type == "cpu" for x in tensors)


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, handle: int, lengths: Tensor | None, batch: int, frames: int, *tensors: Tensor) -> Any:
        values = torch.ops.dynvae.run_loop(tensors, lengths, handle, batch, frames, True)
        ctx.save_for_backward(*tensors, *values, lengths)
        ctx.handle, ctx.batch, ctx.frames, ctx.taken = handle, batch, frames, len(tensors)
        ctx.set_materialize_grads(False)
        return tuple(values[: len(by_handle(handle).returned)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        *saved, lengths = ctx.saved_tensors
        tensors, values, wanted = saved[: ctx.taken], saved[ctx.taken :], ctx.needs_input_grad[4:]
        gradients = iter(
            torch.ops.dynvae.run_loop_back(
                tensors, values, upstream, lengths, ctx.handle, ctx.batch, ctx.frames, wanted
            )
        )  # fmt: skip
        return None, None, None, None, *(next(gradients) if want else None for want in wanted)


_operators = torch.library.Library("dynvae", "FRAGMENT")
_operators.define(
    "run_loop(Tensor[] tensors, Tensor? lengths, int handle, SymInt batch, SymInt frames, bool keep) -> Tensor[]"
)
_operators.define(
    "run_loop_back(Tensor[] tensors, Tensor[] values, Tensor?[] upstream, Tensor? lengths, int handle, SymInt batch, "
    "SymInt frames, bool[] wanted) -> Tensor[]"
)


def _forward(
    tensors: Sequence[Tensor], lengths: Tensor | None, handle: int, batch: int, frames: int, keep: bool
) -> list[Tensor]:
    """The returned variables, (batch, time, width), and where all are kept the internal ones, (time, batch, width)."""
    layout = by_handle(handle)
    _check(layout, tensors, lengths, batch, frames)
    returned, internal = _room(layout, tensors, batch, frames, keep)
    tensors = [_with_unit_stride(x) for x in tensors]
    numbers = array("q")
    for places in _places(layout, tensors, returned, internal).values():
        numbers.extend(places)
        numbers.extend(_NO_GRADIENT)
    _call("program_forward", layout, tensors, numbers, layout.arrays[0], {}, lengths, batch, frames)
    return returned + internal if keep else returned


def _check(layout: Layout, tensors: Sequence[Tensor], lengths: Tensor | None, batch: int, frames: int) -> None:
    """Nothing may be read beyond its end."""
    inputs, states = len(layout.inputs), len(layout.inputs) + len(layout.carried)
    for index, (x, (rows, columns)) in enumerate(zip(tensors, layout.sizes, strict=True)):
        outer = (batch, frames) if index < inputs else (batch,) if index < states else (rows,) if rows else ()
        *shape, size = x.shape
        if tuple(shape) != outer or size < columns:
            name = layout.arguments[index]
            raise ValueError(f"'{name}' is {tuple(x.shape)}, where the loop needs {(*outer, columns)}")
    if lengths is not None and lengths.shape != (batch,):
        raise ValueError(f"the lengths are {tuple(lengths.shape)}, where there are {batch} sequences")


def _room(
    layout: Layout, tensors: Sequence[Tensor], batch: int, frames: int, keep: bool
) -> tuple[list[Tensor], list[Tensor]]:
    like = tensors[-1]
    returned = [like.new_empty((batch, frames, layout.widths[name])) for name in layout.returned]
    many = frames if keep else 1
    internal = [like.new_empty((1 if n in layout.passing else many, batch, layout.widths[n])) for n in layout.internal]
    return returned, internal


def _forward_shapes(
    tensors: Sequence[Tensor], lengths: Tensor | None, handle: int, batch: int, frames: int, keep: bool
) -> list[Tensor]:
    returned, internal = _room(by_handle(handle), tensors, batch, frames, keep)
    return returned + internal if keep else returned


def _backward(
    tensors: Sequence[Tensor],
    values: Sequence[Tensor],
    upstream: Sequence[Tensor | None],
    lengths: Tensor | None,
    handle: int,
    batch: int,
    frames: int,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The wanted gradients, in the order of the tensors."""
    layout = by_handle(handle)
    way = layout.way_back(tuple(wanted))
    tensors = [_with_unit_stride(x) for x in tensors]
    like = tensors[-1]
    outer = {n: _with_unit_stride(x) for n, x in zip(layout.returned, upstream, strict=True) if x is not None}
    places = _places(layout, tensors, values[: len(layout.returned)], values[len(layout.returned) :])
    gradients: dict[str, Tensor] = {}
    for name, how in way.kept.items():
        width, count = places[name][0], frames if isinstance(how, str) else how
        if name not in way.shared:
            gradients[name] = like.new_empty((batch, count, width) if how == "batch" else (count, batch, width))
        if name in layout.carried:
            gradients[f"initial.{name}"] = like.new_zeros((batch, width))
    for name, other in way.shared.items():
        gradients[name] = gradients[other]
    numbers = array("q")
    for name, place in places.items():
        numbers.extend(place)
        if name not in way.kept:
            numbers.extend(_NO_GRADIENT)
            continue
        how, width = way.kept[name], place[0]
        strides = (frames * width, width) if how == "batch" else (width, 0 if how == 1 else batch * width)
        numbers.extend((gradients[name].data_ptr(), *strides, int(how == 2)))
        u = outer.get(name)
        numbers.extend((0, 0, 0) if u is None else (u.data_ptr(), u.stride(0), u.stride(1)))
        numbers.append(gradients[f"initial.{name}"].data_ptr() if name in layout.carried else 0)
    of = dict(zip(layout.arguments, tensors, strict=True))
    for name in layout.weights:
        if name in way.wanted:
            gradients[name] = torch.zeros_like(of[name], memory_format=torch.contiguous_format)
    steps = layout.arrays[0][:]
    of_biases = []
    for index, step in enumerate(layout.steps):
        if isinstance(step, Linear) and not way.wanted.isdisjoint(step.biases):
            x = like.new_empty(step.width)
            steps[STEP_SIZE * (index + 1) - 1] = x.data_ptr()
            of_biases.append((step.biases, x))
    _call("program_backward", layout, tensors, numbers, steps, gradients, lengths, batch, frames)
    for names, x in of_biases:
        for name in names:  # no two results may be the same tensor
            gradients[name] = gradients[name] + x if name in gradients else x.clone()
    return [gradients[name] for name, want in zip(layout.arguments, wanted, strict=True) if want]


def _backward_shapes(tensors: Sequence[Tensor], *arguments: Any) -> list[Tensor]:
    *_, wanted = arguments
    contiguous = torch.contiguous_format
    return [torch.empty_like(x, memory_format=contiguous) for x, want in zip(tensors, wanted, strict=True) if want]


def _with_unit_stride(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _places(
    layout: Layout, tensors: Sequence[Tensor], returned: Sequence[Tensor], internal: Sequence[Tensor]
) -> dict[str, tuple[int, ...]]:
    """For each variable, the first half of its structure in program.h."""
    places = {}
    for name, x in zip(layout.inputs, tensors, strict=False):
        places[name] = (x.shape[2], 0, x.data_ptr(), x.stride(0), x.stride(1), 0, 0)
    initial = dict(zip(layout.carried, tensors[len(layout.inputs) :], strict=False))
    for name, x in zip(layout.returned, returned, strict=True):
        _, frames, width = x.shape
        before = (initial[name].data_ptr(), initial[name].stride(0)) if name in initial else (0, 0)
        places[name] = (width, int(name in initial), x.data_ptr(), frames * width, width, *before)
    for name, x in zip(layout.internal, internal, strict=True):
        frames, batch, width = x.shape
        places[name] = (width, 0, x.data_ptr(), width, batch * width if frames > 1 else 0, 0, 0)
    return {name: places[name] for name in layout.widths}


def _call(
    function: str,
    layout: Layout,
    tensors: Sequence[Tensor],
    variables: array[int],
    steps: array[int],
    gradients: Mapping[str, Tensor],
    lengths: Tensor | None,
    batch: int,
    frames: int,
) -> None:
    """Lay out the structure program of program.h and run it."""
    of = dict(zip(layout.arguments, tensors, strict=True))
    weights = array("q")
    for name in layout.weights:
        weight, gradient = of[name], gradients.get(name)
        of_gradient = (0, 0) if gradient is None else (gradient.data_ptr(), gradient.stride(0))
        weights.extend((weight.data_ptr(), weight.stride(0), *of_gradient))
    biases = array("q", [of[name].data_ptr() for name in layout.biases])
    _, products, reads = layout.arrays
    numbers = array("q")
    for part, size in ((steps, STEP_SIZE), (products, 6), (reads, 4), (variables, 15)):
        numbers.extend((part.buffer_info()[0], len(part) // size))
    numbers.extend((weights.buffer_info()[0], biases.buffer_info()[0], 0 if lengths is None else lengths.data_ptr()))
    threads = torch.get_num_threads() if layout.products * batch * frames > _PRODUCTS_WORTH_A_THREAD else 1
    numbers.extend((batch, frames, int(layout.backward), max(1, min(threads, batch))))
    if getattr(library(), function)(ctypes.c_void_p(numbers.buffer_info()[0])):
        raise MemoryError("the compiled executor got no memory")


_operators.impl("run_loop", _forward, "CPU")
_operators.impl("run_loop_back", _backward, "CPU")
torch.library.register_fake("dynvae::run_loop", _forward_shapes)
torch.library.register_fake("dynvae::run_loop_back", _backward_shapes)
