"""What an operator is, how its fields are checked, and the registry of all of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.shape import Shape

if TYPE_CHECKING:
    from fractions import Fraction

    from torch import nn

Inputs = tuple[Shape, ...]
Needed = tuple[bool, ...]  # of each input, whether a gradient of it is needed
ParameterShapes = Mapping[str, tuple[int, ...]]
NO_PARAMETERS: ParameterShapes = {}


# --- field kinds: each checks one plain value (what YAML or Python gives) and returns the normal form


class Kind:
    """A field's kind: `check` returns the normal form of a plain value or raises Refusal."""

    optional = False

    def check(self, value: Any) -> Any:
        raise NotImplementedError

    def json_schema(self) -> dict[str, Any]:
        raise NotImplementedError


def shown(value: Any) -> str:
    """A plain value as a message quotes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the word "{value}"' if len(value) <= 40 else f'the word "{value[:37]}..."'
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, (list, tuple)):
        text = "[" + ", ".join(map(_plain, value)) + "]"
        return text if len(text) <= 60 else f"a list of {len(value)}"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, list, tuple, Mapping)) or value is None:
        return shown(value)
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a number of {len(str(abs(value)))} digits" if abs(value) < 10**400 else "a huge number"
    return repr(value)


class Integer(Kind):
    """A whole number within bounds. Booleans are not integers, nor is 32.0."""

    def __init__(self, minimum: int | None = None, maximum: int | None = None) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check(self, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            raise Refusal("not-an-integer", f"must be an integer, not {value!r}")
        if isinstance(value, bool):
            raise Refusal("not-an-integer", f"must be an integer, not {shown(value)}")
        if isinstance(value, str) and value.lstrip("-").isdigit():
            raise Refusal("quoted-number", f"must be an integer, not {shown(value)}: write {value} without quotes")
        if not isinstance(value, int):
            raise Refusal("wrong-type", f"must be an integer, not {shown(value)}")
        if self.minimum is not None and value < self.minimum:
            raise Refusal("out-of-range", f"must be at least {self.minimum}, not {shown(value)}")
        if self.maximum is not None and value > self.maximum:
            raise Refusal("out-of-range", f"must be at most {self.maximum}, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "integer"}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        return schema


class Number(Kind):
    """A finite number within bounds, kept as a float."""

    def __init__(self, minimum: float | None = None, maximum: float | None = None) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Refusal("wrong-type", f"must be a number, not {shown(value)}")
        if not math.isfinite(value):
            raise Refusal("out-of-range", f"must be finite, not {shown(value)}")
        if self.minimum is not None and value < self.minimum:
            raise Refusal("out-of-range", f"must be at least {self.minimum:g}, not {shown(value)}")
        if self.maximum is not None and value > self.maximum:
            raise Refusal("out-of-range", f"must be at most {self.maximum:g}, not {shown(value)}")
        return float(value)

    def json_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "number"}
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        return schema


class Flag(Kind):
    """true or false, and nothing that merely looks like it."""

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise Refusal("not-a-boolean", f"must be true or false, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise Refusal("not-a-choice", f"must be {listed(self.words)}, not {shown(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Integers(Kind):
    """One integer for every spatial dimension, or a list of `length`; kept as a tuple.

    With `length` None it is a list of any length from `least` on (a shape, a permutation).
    """

    def __init__(self, length: int | None, minimum: int | None = None, *, least: int = 1) -> None:
        self.length = length
        self.least = least
        self.item = Integer(minimum)

    def check(self, value: Any) -> tuple[int, ...]:
        if isinstance(value, (list, tuple)):
            if self.length is not None and len(value) != self.length:
                raise Refusal("wrong-length", f"must be one integer or {self.length}, not {len(value)}: {shown(value)}")
            if len(value) < self.least:
                raise Refusal("wrong-length", f"must have at least {self.least} integers, not {len(value)}")
            return tuple(self.item.check(item) for item in value)
        if self.length is None:
            if isinstance(value, int) and not isinstance(value, bool):
                raise Refusal("wrong-type", f"must be a list of integers, not {shown(value)}: write [{value}]")
            raise Refusal("wrong-type", f"must be a list of integers, not {shown(value)}")
        return (self.item.check(value),) * self.length

    def json_schema(self) -> dict[str, Any]:
        item = self.item.json_schema()
        if self.length is None:
            return {"type": "array", "items": item, "minItems": self.least}
        array = {"type": "array", "items": item, "minItems": self.length, "maxItems": self.length}
        return {"anyOf": [item, array]}


class Optional(Kind):
    """Another kind, or null."""

    optional = True

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def check(self, value: Any) -> Any:
        return None if value is None else self.kind.check(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [self.kind.json_schema(), {"type": "null"}]}


# --- receptive fields


class Window(msgspec.Struct, frozen=True):
    """How one output position sees its input, a spatial dimension each.

    `size` is the extent in input positions (dilation included), `stride` the step between
    neighbouring outputs (below 1 where the operator enlarges), `before` the padding on the left.
    """

    size: tuple[int, ...]
    stride: tuple[int | Fraction, ...]
    before: tuple[int, ...]


WHOLE = "whole"  # an output that sees all of its input
NOTHING = "nothing"  # an output that sees none of its input: a constant
POINTWISE = None  # an output position that sees the same position of its input


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a forward call keeps for the backward one, beside parameters."""

    inputs: tuple[int, ...] = ()  # which inputs
    outputs: bool = False  # all outputs
    elements: int = 0  # further ones of the network's dtype, for one network input
    fixed: int = 0  # further ones whatever the batch
    index_bytes: int = 0  # integers and masks, for one network input


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator with its fields: the single home of all that archprof knows about it.

    Shapes come and go without the batch dimension; costs are for one network input. Methods get the
    shapes of all inputs, and for costs those of the outputs that `infer` returned. The class docstring
    is the operator's line on the reference page.
    """

    op: ClassVar[str] = ""
    arity: ClassVar[tuple[int, int | None]] = (1, 1)  # fewest and most inputs; None: any number
    view: ClassVar[bool] = False  # its output shares the input's memory, nothing is moved
    takes: ClassVar[str] = "float"  # the dtype of its inputs: float, int64, or any one
    depth: ClassVar[int] = 0  # weight layers it counts as in "a 19-layer net"
    frozen: ClassVar[bool] = False  # its parameters get no gradient
    detached: ClassVar[bool] = False  # no gradient passes through it either
    fields: ClassVar[Mapping[str, Kind]] = {}

    def validate(self) -> None:
        """Check fields against one another. Raises Refusal."""

    def shapes(self, inputs: Inputs) -> tuple[Shape, ...]:
        """The output shapes, after what holds for every operator: number, samples and types of its inputs.

        Raises Refusal where the inputs do not fit.
        """
        least, most = self.arity
        if len(inputs) < least or (most is not None and len(inputs) > most):
            raise Refusal("wrong-arity", f"{self.op} takes {_inputs_text(least, most)}, not {len(inputs)}")
        if len({shape.samples for shape in inputs}) > 1:
            counts = listed_and(str(shape.samples) for shape in inputs)
            raise Refusal("mixed-samples", f"its inputs stand for {counts} samples a network input: they must be equal")
        wanted = inputs[0].dtype if self.takes == "any" and inputs else self.takes
        for shape in inputs:
            if shape.dtype != wanted:
                names = {"float": "numbers (float)", "int64": "indices (int64)"}
                raise Refusal("wrong-dtype", f"{self.op} takes {names.get(wanted, wanted)}, not {shape.dtype}")
        return self.infer(inputs)

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        """The operator's own shape rule, on inputs that `shapes` has checked. Raises Refusal."""
        raise NotImplementedError

    def output_names(self) -> tuple[str, ...]:
        """The names of several outputs (`split.0`, `lstm.hidden`); empty where there is one."""
        return ()

    def parameters(self, inputs: Inputs) -> ParameterShapes:
        """Trainable parameters by their name in the torch module, with their full shapes."""
        return NO_PARAMETERS

    def buffers(self, inputs: Inputs) -> ParameterShapes:
        """Tensors kept beside the parameters (running statistics), by name."""
        return NO_PARAMETERS

    def cost(self, inputs: Inputs, outputs: Inputs, train: bool = False) -> Cost | None:
        """What one forward call computes for one network input; None where archprof cannot say."""
        return Cost()

    def backward_cost(self, inputs: Inputs, outputs: Inputs, needed: Needed, weight_gradient: bool) -> Cost | None:
        """What one backward call computes: the gradients of the inputs that need one, and of the parameters.

        Default: a product of tensors costs its forward multiply-adds once for the input gradient and
        once for the weight gradient; a bias gradient sums over positions; the rest costs one
        multiplication an element of an input for its gradient, and of all inputs for the parameters'.
        """
        forward = self.cost(inputs, outputs, train=True)
        if forward is None:
            return None
        if forward.multiply_adds:
            times = int(any(needed)) + int(weight_gradient)
            bias = forward.bias_additions if weight_gradient else 0
            return Cost(multiply_adds=forward.multiply_adds * times, bias_additions=bias)
        if self.view or forward == Cost():
            return Cost()
        gradients = [int(each) + int(weight_gradient) for each in needed]
        return Cost(multiplications=sum(shape.numel * count for shape, count in zip(inputs, gradients, strict=True)))

    def is_view(self, train: bool) -> bool:
        """Whether a call moves nothing: in training, dropout is no view."""
        return self.view

    def saved(self, inputs: Inputs, outputs: Inputs) -> Saved:
        """What its torch module keeps for the backward call (analysis.memory)."""
        return Saved()

    def window(self, inputs: Inputs, outputs: Inputs) -> Window | str | None:
        """The receptive field's step: a Window, WHOLE, NOTHING or POINTWISE."""
        return POINTWISE

    def kernel(self, inputs: Inputs) -> str:
        """The kernel cell of a paper's table ("7x7x3, 2"), or nothing."""
        return ""

    def module(self, inputs: Inputs) -> nn.Module:
        """The torch module that computes this operator on batched tensors (torch is imported here)."""
        raise NotImplementedError


REGISTRY: dict[str, type[Operator]] = {}

OperatorClass = TypeVar("OperatorClass", bound=type[Operator])


def register(name: str, **kinds: Kind) -> Callable[[OperatorClass], OperatorClass]:
    """Put an operator class under its name, with the kind of each of its fields.

    Raises TypeError for a class that is no Operator or whose fields and kinds differ,
    RuntimeError for a name that is taken.
    """

    def put(cls: OperatorClass) -> OperatorClass:
        if not (isinstance(cls, type) and issubclass(cls, Operator)):
            raise TypeError(f"operator {name}: expected a subclass of Operator, got {cls!r}")
        if name in REGISTRY:
            raise RuntimeError(f"operator {name} is registered already, by {REGISTRY[name].__qualname__}")
        if set(cls.__struct_fields__) != set(kinds):
            raise TypeError(f"operator {name}: fields {cls.__struct_fields__} and kinds {tuple(kinds)} differ")
        cls.op = name
        cls.fields = kinds
        REGISTRY[name] = cls
        return cls

    return put


def _inputs_text(least: int, most: int | None) -> str:
    if most is None:
        return f"at least {least} input{'s' if least > 1 else ''}"
    if least == most:
        return f"{least} input{'s' if least > 1 else ''}"
    return f"{least} to {most} inputs"


def axis(dim: int, rank: int, field: str = "dim") -> int:
    """The index into Shape.dims of a PyTorch dimension, which counts the batch as 0.

    Raises Refusal for the batch and for a dimension that is not there; `rank` leaves the batch out.
    """
    if dim == 0 or dim == -rank - 1:
        raise Refusal("batch-dimension", f"{field} {dim} is the batch: dimensions of a sample count from 1", field)
    if not -rank - 1 <= dim <= rank:
        raise Refusal("no-such-dimension", f"{field} {dim} is not there: the input has dimensions 1 to {rank}", field)
    return dim - 1 if dim > 0 else dim + rank


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to a misspelt one, or None where none is close."""
    import difflib  # only a mistake pays for it

    if len(word) > 100:
        return None
    names = list(islice(known, 2000))
    in_any_case = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word, names, n=1)
    found = found or [in_any_case[each] for each in difflib.get_close_matches(word.lower(), in_any_case, n=1)]
    return found[0] if found else None


def hint(word: str, known: Collection[str]) -> str:
    """What a message about an unknown word ends with: the nearest known one, or all of them."""
    close = nearest(word, known)
    return f"did you mean {close}?" if close else f"take {listed(known)}"


def listed(words: Iterable[str]) -> str:
    """Words as a sentence names a choice among them: a, b or c."""
    *head, last = words
    return f"{', '.join(head)} or {last}" if head else last


@functools.cache
def load_extensions() -> None:
    """Import what other packages register: their modules in the entry point group `archprof.operators`.

    Done once, and only where a name is unknown otherwise. Raises Refusal for one that cannot be imported.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group="archprof.operators"):
        try:
            entry.load()
        except Exception as error:  # whatever a stranger's module raises
            raise Refusal("unknown-operator", f"the extension {entry.name} ({entry.value}) fails: {error}") from None


def find(name: str) -> type[Operator]:
    """The operator class of a name. Raises Refusal with the nearest name."""
    cls = REGISTRY.get(name)
    if cls is None:
        load_extensions()
        cls = REGISTRY.get(name)
    if cls is None:
        if name in ("none", "off", "no"):
            raise Refusal("unknown-operator", f"unknown operator {name}: write null for none")
        close = nearest(name, REGISTRY)
        hint = f": did you mean {close}?" if close else ""
        raise Refusal("unknown-operator", f"unknown operator {name}{hint}")
    return cls


def create(name: str, /, **values: Any) -> Operator:
    """Make an operator from plain values (ints, floats, words, lists), as a spec gives them.

    Raises Refusal for an unknown operator or field, a missing field, or a value that does not fit.
    """
    cls = find(name)
    checked = {}
    for field, value in values.items():
        kind = cls.fields.get(field)
        if kind is None:
            close = nearest(field, cls.fields)
            hint = f": did you mean {close}?" if close else f"; it has {', '.join(cls.fields) or 'none'}"
            raise Refusal("unknown-field", f"has no field {field}{hint}", field)
        try:
            checked[field] = kind.check(value)
        except Refusal as refusal:
            raise Refusal(refusal.code, f"{field} {refusal.message}", field) from None
    missing = [field for field in required_fields(cls) if field not in values]
    if missing:
        raise Refusal("missing-field", f"needs {listed_and(missing)}", missing[0])
    made = cls(**checked)
    made.validate()
    return made


def listed_and(words: Iterable[str]) -> str:
    """Words as a sentence names all of them: a, b and c."""
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def required_fields(cls: type[Operator]) -> tuple[str, ...]:
    """The fields without a default, in the order of the class."""
    names, defaults = cls.__struct_fields__, cls.__struct_defaults__
    without = len(names) - len(defaults)  # msgspec lists defaults from the first field that has one
    return names[:without] + tuple(
        name for name, default in zip(names[without:], defaults, strict=True) if default is msgspec.NODEFAULT
    )
