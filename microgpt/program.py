"""Record a function of Values once, and replay it as often as you like without touching Python for each operation.

    program = record(lambda x, y: (x * y + 1).tanh(), 0.5, 2.0)
    program(0.25, 3.0)       # a new result, as if the function had been called
    program.backward()       # and its gradients
    program.inputs[0].grad

The values that the function made keep their places on the tape, so any of them can be read after each replay.
"""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypedDict, TypeVar, Union, cast, overload

from .arguments import integer
from .core import check, ffi, lib
from .errors import FrozenBranchWarning, ShapeError
from .handles import Handle
from .index import Index, Selector
from .listing import listing
from .tape import Tape, tape_for
from .value import Number, Value
from .vector import Vector

MOST_INDICES: int = lib.MG_MOST_INPUTS

Input = Union[Value, Vector, Index]
Listed = Union[Sequence[float], Index]
Given = Union[Number, Sequence[float], Index]
Returned = TypeVar("Returned", bound=Union[Value, Vector])
Numbers = TypeVar("Numbers", covariant=True)
if TYPE_CHECKING:  # what type checkers know for every Python
    import typing_extensions
    from typing_extensions import Unpack

    Result = typing_extensions.TypeVar("Result", bound="_Numbered[Any]", default=Any, covariant=True)
    Inputs = typing_extensions.TypeVar("Inputs", bound=tuple[Input, ...], default=Any, covariant=True)
else:
    Result, Inputs = TypeVar("Result"), TypeVar("Inputs")


class _Numbered(Protocol[Numbers]):
    """A Value, whose data is a number, or a Vector, whose data is a list of them."""

    @property
    def data(self) -> Numbers: ...


class _Recorder:
    """What a tape tells while a function is being recorded, perhaps inside of another."""

    def __init__(self, inputs: Sequence[Input], quiet: bool, outer: _Recorder | None) -> None:
        self.selections: list[tuple[int, int, int, Selector]] = []  # a lane of the statement, operand, entry, how
        self.quiet = quiet
        self._inputs, self._outer = inputs, outer
        self._noticed: set[str] = set()
        self.thread = threading.get_ident()

    def notice_no_grad(self) -> None:
        self._notice(
            "a recorded function began a no_grad() block: a replay uses the numbers that were computed there, whatever "
            "its inputs are; x.detach() is x without a derivative, computed anew"
        )

    def notice_branch(self) -> None:
        self._notice(
            "a recorded function compared Values or asked for the truth of one: a replay takes the same branch, "
            "whatever its inputs are"
        )

    def notice_reading(self) -> None:
        self._notice(
            "a recorded function read `data`: a replay uses the number that it was then, whatever its inputs are; "
            "x.detach() is x without a derivative, computed anew",
            4,
        )

    def notice_gradient(self) -> None:
        self._notice(
            "a recorded function read `grad` or called backward(): a replay uses the numbers that it had then, and "
            "calls no backward()",
            4,
        )

    def notice_writing(self) -> None:
        self._notice("a recorded function set `data` or `grad`: a replay does not set them again", 4)

    def notice_integer(self, stacklevel: int = 4) -> None:
        self._notice(
            "a recorded function read the integer of an Index: a replay uses what it was then, whatever its inputs "
            "are; w[index] is a row, and x[index] a lane, of whatever it is",
            stacklevel,
        )

    def notice_examples(self, examples: Sequence[Given]) -> None:
        """Another function is recorded inside, with these: an Index of this one is an integer to that."""
        if any(example is handle for example in examples for handle in self._inputs if isinstance(handle, Index)):
            self.notice_integer(6)

    def _notice(self, message: str, stacklevel: int = 5) -> None:
        """Warn, once, in the line of the function: so many calls away."""
        if message not in self._noticed and self.thread == threading.get_ident():
            self._noticed.add(message)
            warnings.warn(message, FrozenBranchWarning, stacklevel=stacklevel)

    def select(self, node: int, operand: int, entry: int, selector: Selector) -> None:
        self.selections.append((node, operand, entry, selector))
        if self._outer is not None:  # which may use what is computed inside
            self._outer.select(node, operand, entry, selector)


class Program(Generic[Result, Inputs]):
    """A recorded function, as `record` makes it.

    To a type checker `Program[Value, tuple[Value, Vector]]` is one of a Value and a Vector that gives a Value.
    """

    __slots__ = ("_indices", "_integers", "_pointer", "_selections", "inputs", "result")

    inputs: Inputs
    """What the function was called with: a Value, Vector or Index each. Their gradients are those of `backward()`."""
    result: Result
    """What it returned, computed anew by each replay."""

    def __init__(self, inputs: Any, result: Any, since: int, selections: Any, plan: bool = True) -> None:
        self.result = result
        pointer = lib.mg_program_new(self._tape._pointer, result._node, since)
        if pointer == ffi.NULL:
            self._tape._raise_status()
        self._pointer = ffi.gc(pointer, lib.mg_program_free)  # in whatever order a tape and its programs are finalized
        self.inputs = inputs
        self._selections: list[tuple[int, int, int, Selector]] = selections  # these hold the tables
        # The number of an index is its place among those of the inputs, also where some before it select nothing.
        used = {id(selector.index): selector.index for *_, selector in selections}
        given = {id(handle): handle for handle in self.inputs if isinstance(handle, Index)}
        indices = given | used
        last = max((number for number, key in enumerate(indices, 1) if key in used), default=0)
        self._indices = [index if key in used else None for key, index in indices.items()][:last]
        if len(self._indices) > MOST_INDICES:
            raise ShapeError(
                f"a recorded function selects by {len(self._indices)} Indices; a program has at most {MOST_INDICES}"
            )
        self._integers = len(self._indices) == len(self.inputs) == len(given)
        numbers = {key: number for number, key in enumerate(indices)}
        for node, operand, entry, selector in selections:
            run = selector.table._node + selector.offset, selector.size, selector.count
            check(lib.mg_program_bind(self._pointer, numbers[id(selector.index)], node, operand, entry, *run))
        if plan:
            check(lib.mg_program_plan(self._pointer))

    @property
    def _tape(self) -> Tape:
        """The tape of the result."""
        tape: Tape = cast(Any, self.result)._tape
        return tape

    def __repr__(self) -> str:
        kinds = ", ".join(type(handle).__name__ for handle in self.inputs)
        what = "Value" if isinstance(self.result, Value) else "Vector"
        how = "planned" if self.why_not_planned is None else f"not planned: {self.why_not_planned}"
        return f"<Program ({kinds[:60] + '...' if len(kinds) > 60 else kinds}) -> {what}, {how}>"

    def text(self, most: int = 40) -> str:
        """The program statement by statement, as `print(program)` shows it; of more than `most` statements the first
        and the last."""
        return listing(self.inputs, cast(Handle, self.result), self._pointer, self._selections, most)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """For notebooks."""
        import html  # here, as it takes long to import

        return f"<b>{html.escape(repr(self))}</b><pre>{html.escape(self.text())}</pre>"

    def __call__(self: Program[_Numbered[Numbers], Any], *values: Number | Sequence[float]) -> Numbers:
        """Set the inputs, run forward, and return the result's numbers."""
        self.set(*values)
        self.forward()
        return self.result.data

    def set(self, *values: Any) -> None:
        """Set the inputs: numbers, sequences of numbers and integers, as they were when the function was recorded.

        ShapeError for another number or length of inputs, IndexError for an integer that selects nothing.
        """
        if len(values) != len(self.inputs):
            raise ShapeError(f"the function was recorded with {len(self.inputs)} inputs, and {len(values)} are given")
        if self._integers and self._set_integers(values):
            return
        for handle, value in zip(self.inputs, values):
            if isinstance(handle, Index):
                handle._value = operator.index(value)
        for *_, selector in self._selections:  # what can go wrong, before a number changes
            if not 0 <= selector.index._value < selector.count:
                raise IndexError(f"an index of {selector.index._value} where there are {selector.count} to select from")
        for handle, value in zip(self.inputs, values):
            if not isinstance(handle, Index):
                handle.data = value
        if self._indices:
            numbers = [0 if index is None else index._value for index in self._indices]
            check(lib.mg_program_set(self._pointer, numbers, len(numbers)))

    def _set_integers(self, values: tuple[Any, ...]) -> bool:
        """The same at once where all inputs are integers; False, with nothing changed, when one is not in range."""
        with suppress(TypeError, OverflowError):
            if lib.mg_program_set(self._pointer, values, len(values)) == lib.MG_OK:
                for index, value in zip(cast("tuple[Index, ...]", self.inputs), values):
                    index._value = value
                return True
        return False

    @property
    def why_not_planned(self) -> str | None:
        """None if the core computes the statements of all positions together; otherwise why it does not.

        It does for the sum or the mean of losses that were recorded one after the other by the same operations, such as
        GPT.loss, where it can prove that every gradient is added up in the same order; the numbers are the same.
        """
        why = lib.mg_program_why_not_planned(self._pointer)
        return None if why == ffi.NULL else ffi.string(why).decode()

    def forward(self) -> None:
        """Compute everything again from the inputs, and whatever else the function used, as they are now.

        Raises what the operations would; the values are then partly new.
        """
        check(lib.mg_program_forward(self._pointer))

    def backward(self) -> None:
        """The gradients of the result with respect to everything: fresh for the inputs and for all that was computed,
        added to what was there for other leaves, such as parameters. (In a program that is planned, what is computed
        from largest() alone counts as a number, and has the gradient 0.) Belongs to the forward() before it:
        OverwrittenError when numbers were written since. ShapeError when the result is a Vector."""
        if not isinstance(self.result, Value):
            raise ShapeError("backward() starts from one Value, and this program's result is a Vector")
        for handle in self.inputs:
            if isinstance(handle, Handle):
                check(lib.mg_clear_adjoints(self._tape._pointer, handle._node, handle._size))
        check(lib.mg_program_reverse(self._pointer))


class _Options(TypedDict, total=False):
    tape: Tape | None
    since: int | None
    quiet: bool


# What the parameters of a lambda are, and so what its result is, a type checker can tell where one of these, and no
# other, fits; a function with annotations tells it by itself.
@overload
def record(f: Callable[[], Returned], /, **options: Unpack[_Options]) -> Program[Returned, tuple[()]]: ...
@overload
def record(
    f: Callable[[Value], Returned], a: Number, /, **options: Unpack[_Options]
) -> Program[Returned, tuple[Value]]: ...
@overload
def record(
    f: Callable[[Value, Value], Returned], a: Number, b: Number, /, **options: Unpack[_Options]
) -> Program[Returned, tuple[Value, Value]]: ...
@overload
def record(
    f: Callable[[Value, Value, Value], Returned], a: Number, b: Number, c: Number, /, **options: Unpack[_Options]
) -> Program[Returned, tuple[Value, Value, Value]]: ...
@overload
def record(
    f: Callable[[Vector], Returned], a: Sequence[float], /, **options: Unpack[_Options]
) -> Program[Returned, tuple[Vector]]: ...
@overload
def record(
    f: Callable[..., Returned], a: Number, b: Number, c: Number, d: Given, /, *more: Given, **options: Unpack[_Options]
) -> Program[Returned, Any]: ...
@overload
def record(
    f: Callable[..., Returned], a: Number, b: Number, c: Listed, /, *more: Given, **options: Unpack[_Options]
) -> Program[Returned, Any]: ...
@overload
def record(
    f: Callable[..., Returned], a: Number, b: Listed, /, *more: Given, **options: Unpack[_Options]
) -> Program[Returned, Any]: ...
@overload
def record(
    f: Callable[..., Returned], a: Sequence[float], b: Given, /, *more: Given, **options: Unpack[_Options]
) -> Program[Returned, Any]: ...
@overload
def record(
    f: Callable[..., Returned], a: Index, /, *more: Given, **options: Unpack[_Options]
) -> Program[Returned, Any]: ...
def record(
    function: Callable[..., Value | Vector],
    /,
    *examples: Given,
    tape: Tape | None = None,
    since: int | None = None,
    quiet: bool = False,
) -> Program[Any, Any]:
    """Call the function once, with a Value for each number, a Vector for each sequence, an Index for each Index, and
    return what it did as a program.

    What the function decides by itself is decided for good: a comparison of Values takes the same branch in every
    replay, a number read from `data` stays what it was, and nothing is set again (FrozenBranchWarning says so, once).
    What it uses besides its inputs is used again as it then is. A value with children and local_grads of its own is
    NotReplayableError.
    With `quiet` the examples may be numbers that mean nothing: an operation that Python would refuse leaves a NaN.
    The program computes anew what was recorded since the mark `since`; by default, all that the result depends on.
    """
    start = 0 if since is None else integer("since", since)
    return record_with(function, examples, tape_for(tape), start, quiet)


def record_with(
    function: Callable[..., Value | Vector],
    examples: Sequence[Given],
    tape: Tape,
    since: int = 0,
    quiet: bool = False,
    plan: bool = True,
) -> Program[Any, Any]:
    """`record`, and without `plan` a program that is not to be replayed, but for the core to look into."""
    with tape, tape._recording:
        inputs = tuple(_input(example) for example in examples)
        outer: _Recorder | None = tape._recorder
        if outer is not None:
            outer.notice_examples(examples)
            quiet = quiet or outer.quiet
        tape._recorder = _Recorder(inputs, quiet, outer)
        check(lib.mg_tape_record_quietly(tape._pointer, quiet))
        without = lib.mg_no_grad(False)
        try:
            result = function(*inputs)
            selections = tape._recorder.selections
        finally:
            lib.mg_no_grad(without)
            tape._recorder = outer
            while lib.mg_tape_record_quietly(tape._pointer, outer is not None and outer.quiet) == lib.MG_BUSY:
                pass  # another thread's call is in progress, and this must be said after it
    if not isinstance(result, (Value, Vector)):
        raise TypeError(f"a recorded function returns a Value or a Vector, not {type(result).__name__}")
    return Program(inputs, result, since, selections, plan)


def _input(example: Number | Sequence[float] | Index) -> Input:
    if isinstance(example, Index):
        return Index(example._value)
    return Vector(example) if isinstance(example, Sequence) else Value(example)
