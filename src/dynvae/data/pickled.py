"""Arrays in dictionaries, out of files that numpy wrote as pickles, and that nobody should unpickle.

A pickle is a program: to load one is to run it. Here it is only *read*. The opcodes are taken apart by
:mod:`pickletools`, which runs nothing, and followed for the few things that dictionaries of numeric arrays are made of.
Whatever else a file asks for is refused; no name in it is ever looked up.
"""

from __future__ import annotations

__all__ = ["read_dictionary"]

import math
import os
import pickletools
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dynvae.errors import DataError

_KINDS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
_NAMES = {
    **{f"{module}.multiarray _reconstruct": "array" for module in ("numpy.core", "numpy._core")},
    **{f"{module}.numeric _frombuffer": "buffer" for module in ("numpy.core", "numpy._core")},
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
_MARK = object()
_MOST_BYTES = 2**33
_MOST_ITEMS = 10**6


class _Name(NamedTuple):
    text: str


class _Kind(NamedTuple):
    text: str


class _Array:
    """An array that has been announced, and is told its content later."""

    value: Any = None


def read_dictionary(path: str | os.PathLike[str], key: str) -> Any:
    """The dictionary (of dictionaries) of numeric arrays that an ``.npz`` file holds under a key.

    Args:
        path: a file that ``numpy.savez`` wrote of ``{key: {name: array, ...}}``, in any depth.
        key: which of its arrays.

    Raises:
        DataError: the file cannot be read, or holds anything besides dictionaries, lists, text, numbers and arrays.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            name = f"{key}.npy"
            if archive.getinfo(name).file_size > _MOST_BYTES:
                raise DataError(f"{path}: '{key}' takes more than {_MOST_BYTES >> 30} GiB")
            with archive.open(name) as file:
                version = np.lib.format.read_magic(file)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else (
                    np.lib.format.read_array_header_2_0)  # fmt: skip
                shape, _, dtype = header(file)
                if dtype.hasobject and shape == ():
                    content = file.read()
                else:
                    raise DataError(f"{path}: '{key}' is no dictionary")
        value = _follow(content)
    except KeyError:
        raise DataError(f"{path}: there is no '{key}' in this file") from None
    except (OSError, zipfile.BadZipFile, ValueError, IndexError, TypeError, EOFError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise DataError(f"{path}: '{key}' is not a dictionary of arrays ({reason}); nothing in it was run") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: '{key}' is no dictionary")
    return value


def _follow(content: bytes) -> Any:
    """The value that a pickle describes.

    Raises:
        ValueError: it asks for something else than arrays in dictionaries.
    """
    stack: list[Any] = []
    memory: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "INT" | "LONG" | "BINFLOAT" | "FLOAT":
                stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "UNICODE":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8":
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING" | "STRING":  # of Python 2
                stack.append(argument.encode("latin1") if isinstance(argument, str) else argument)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "LIST":
                stack.append(_since_mark(stack))
            case "APPEND":
                item = stack.pop()
                _the(list, stack).append(item)
            case "APPENDS":
                items = _since_mark(stack)
                _the(list, stack).extend(items)
            case "SETITEM":
                value, name = stack.pop(), stack.pop()
                _put(_the(dict, stack), [name, value])
            case "SETITEMS":
                items = _since_mark(stack)
                _put(_the(dict, stack), items)
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memory[int(argument)] = stack[-1]
            case "MEMOIZE":
                memory[len(memory)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                if int(argument) not in memory:
                    raise ValueError("it refers to what is not there")
                stack.append(memory[int(argument)])
            case "GLOBAL":
                stack.append(_name(argument))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_name(f"{module} {name}"))
            case "REDUCE":
                arguments, name = stack.pop(), stack.pop()
                stack.append(_make(name, arguments))
            case "BUILD":
                state = stack.pop()
                _fill(stack[-1], state)
            case "STOP":
                return _values(stack.pop())
            case other:
                raise ValueError(f"it holds {other}, which arrays have no need of")
    raise ValueError("it ends too early")


def _since_mark(stack: list[Any]) -> list[Any]:
    place = max(index for index, item in enumerate(stack) if item is _MARK)
    items = stack[place + 1 :]
    del stack[place:]
    return items


def _the(kind: type, stack: list[Any]) -> Any:
    if type(stack[-1]) is not kind:
        raise ValueError(f"{kind.__name__} expected")
    return stack[-1]


def _put(target: dict[Any, Any], items: list[Any]) -> None:
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, (str, bytes, int)):
            raise ValueError("a key is neither text nor a number")
        target[name.decode("latin1") if isinstance(name, bytes) else name] = value


def _name(text: str) -> _Name:
    if text not in _NAMES:
        raise ValueError(f"it asks for {text.replace(' ', '.')!r}")
    return _Name(_NAMES[text])


def _make(name: Any, arguments: Any) -> Any:
    """What a function of those that are known would give."""
    match name, arguments:
        case _Name("encode"), (str(text), "latin1"):
            return text.encode("latin1")
        case _Name("encode"), (str(""), *_):
            return b""
        case _Name("dtype"), (str() | bytes() as kind, *_):
            return _kind(kind)
        case _Name("array"), (_Name("ndarray"), *_):
            return _Array()
        case _Name("buffer"), (bytes(data), _Kind(kind), tuple(shape), "C" | "F" as order):
            made = _Array()
            made.value = _numbers(data, kind, shape, order == "F")
            return made
    raise ValueError("it calls what arrays have no need of")


def _kind(text: str | bytes) -> _Kind:
    plain = text.decode("latin1") if isinstance(text, bytes) else text
    known = {np.dtype(kind).str.lstrip("<|"): kind for kind in _KINDS}
    if plain.startswith("O"):
        return _Kind("object")
    if plain.lstrip("<|") not in known:
        raise ValueError(f"its numbers are {plain[:20]!r}; known are {', '.join(_KINDS)}")
    return _Kind(known[plain.lstrip("<|")])


def _fill(target: Any, state: Any) -> None:
    """Tell an array its content; of a type of numbers, only see that it is of this machine's byte order."""
    match target, state:
        case _Kind(), (_, "<" | "|" | b"<" | b"|", *_):
            return
        case _Array(), (_, tuple(shape), _Kind("object"), _, list(items)) if math.prod(shape) == len(items) == 1:
            target.value = items[0]
            return
        case _Array(), (_, tuple(shape), _Kind(kind), fortran, bytes(data)) if kind != "object":
            target.value = _numbers(data, kind, shape, bool(fortran))
            return
    raise ValueError("an array is described in a way that is not known")


def _numbers(data: bytes, kind: str, shape: tuple[Any, ...], fortran: bool) -> NDArray[Any]:
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError("an array has an impossible shape")
    flat = np.frombuffer(data, np.dtype(kind).newbyteorder("<"))
    return flat.reshape(shape, order="F" if fortran else "C")


def _values(item: Any) -> Any:
    """The same with arrays in the place of their announcements."""
    seen = 0

    def value(item: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > _MOST_ITEMS:  # few that refer to each other again and again
            raise ValueError(f"it holds more than {_MOST_ITEMS} items")
        match item:
            case _Array():
                return value(item.value) if isinstance(item.value, dict) else item.value
            case dict():
                return {name: value(entry) for name, entry in item.items()}
            case list():
                return [value(entry) for entry in item]
            case _Name() | _Kind():
                raise ValueError("it holds a function or a type")
        return item

    return value(item)
