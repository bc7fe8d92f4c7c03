"""Pickles of plain values and byte arrays, read without running what they ask for.

CIFAR's batches are pickles, and unpickling runs whatever a planted file names. This reader knows the opcodes that
dictionaries, lists, tuples, numbers, texts and numpy's uint8 arrays need; it calls nothing and imports nothing.
"""

import math
import pickletools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
NAMES = (*RECONSTRUCT, "numpy ndarray", "numpy dtype", "_codecs encode")
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}


class Refused(ValueError):
    """The pickle asks for something else than plain values."""


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass
class _Type:
    """A numpy type, by the code that it was made with."""

    code: str


class _Array:
    """An array that is still without its state."""

    value: "np.ndarray"

    def fill(self, state: Any) -> None:
        """Takes the state of numpy.ndarray.__reduce__: version, shape, type, Fortran order, bytes."""
        import numpy as np

        _, shape, kind, fortran, raw = state
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        plain = isinstance(kind, _Type) and kind.code in ("u1", "|u1") and isinstance(raw, bytes)
        if not plain or math.prod(shape) != len(raw):
            raise Refused("an array that is not one of bytes")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


def parse(data: bytes) -> Any:
    """The value of a pickle of plain values; raises Refused for any other one, ValueError for a damaged one."""
    try:
        return _run(data)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise ValueError(f"damaged: {type(error).__name__}") from error


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in LITERALS:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS"):
            values, stack = stack, marks.pop()
            _gather(name, values, stack)
        elif name == "APPEND":
            value = stack.pop()
            stack[-1].append(_finished(value))
        elif name == "SETITEM":
            values, stack = stack[-2:], stack[:-2]
            _gather("SETITEMS", values, stack)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if argument is None:
                stack[-2:] = [_Name(f"{stack[-2]} {stack[-1]}")]
            else:
                stack.append(_Name(argument))
            if stack[-1].text not in NAMES:
                raise Refused(f"it names {stack[-1].text.replace(' ', '.')}")
        elif name == "REDUCE":
            stack[-2:] = [_reduced(*stack[-2:])]
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], _Array):
                stack[-1].fill(state)
            elif not isinstance(stack[-1], _Type):
                raise Refused("it sets the state of something else than an array")
        elif name == "STOP":
            return _finished(stack.pop())
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"it has the opcode {name}")
    raise ValueError("cut short")


def _gather(name: str, values: list[Any], stack: list[Any]) -> None:
    """What was pushed since the mark becomes a container, or goes into the one below."""
    finished = [_finished(value) if name in ("LIST", "APPENDS", "DICT", "SETITEMS") else value for value in values]
    if name == "TUPLE":
        stack.append(tuple(finished))
    elif name == "LIST":
        stack.append(finished)
    elif name == "APPENDS":
        stack[-1].extend(finished)
    else:
        if name == "DICT":
            stack.append({})
        stack[-1].update(zip(finished[::2], finished[1::2], strict=True))


def _reduced(call: Any, arguments: Any) -> Any:
    """What the call would have made, for the three calls that are known."""
    text = call.text if isinstance(call, _Name) else ""
    if text in RECONSTRUCT:
        return _Array()
    if text == "numpy dtype":
        return _Type(str(arguments[0]))
    if text == "_codecs encode" and isinstance(arguments[0], str) and arguments[1] in ("latin1", "latin-1"):
        return arguments[0].encode("latin-1")
    raise Refused(f"it calls {text.replace(' ', '.') or 'something else than a name'}")


def _finished(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value
