"""From the tree of a YAML file to a Document: all structural mistakes of the file at once.

What is checked here needs no shapes: keys, types of literal values, names and their order, the syntax of
expressions and the names in them. What depends on shapes or on values of expressions is left to the expansion.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any, NoReturn

from archprof.collector import rare_collections
from archprof.cost import COUNTINGS
from archprof.errors import Refusal
from archprof.operators import find, listed, listed_and, nearest, required_fields, shown
from archprof.operators.base import Integer, Kind, Number, Operator
from archprof.spec.document import (
    Block,
    Document,
    Expect,
    InputSpec,
    Layer,
    Parameter,
    PublishedErrors,
    Variant,
)
from archprof.spec.errors import MAX_MISTAKES, Mistake, SpecError, clipped
from archprof.spec.expressions import MAX_EXPRESSIONS, MAX_SOURCE, RESERVED, ExpressionError, name_hint
from archprof.spec.expressions import parse as parse_expression
from archprof.spec.reader import Mapping as TreeMapping
from archprof.spec.reader import Scalar, Sequence, Tree, missing_space, plain

NAME = re.compile(r"[A-Za-z0-9_-]+\Z")
_WORD = re.compile(r"[^\W0-9]\w*")
MAX_NAME = 100
MAX_NAMES = 1_000  # of parameters and of let, in one scope
RESERVED_NAMES = ("input", "previous")
SCOPE_NAMES = ("index", "item", "in_channels")
LAYER_KEYS = (
    "name", "op", "block", "from", "repeat", "parallel", "share", "when", "with", "weights", "norm", "activation",
)  # fmt: skip
FOLLOWING_FIELDS = ("in_channels", "in_features", "num_features", "num_channels", "input_size", "embed_dim")
BLOCK_KEYS = ("parameters", "let", "inputs", "layers")
PARAMETER_KEYS = ("default", "choices", "minimum", "step", "help")
INPUT_KEYS = ("shape", "dtype", "samples")
DTYPES = ("float", "int64")
EXPECT_KEYS = (
    "params", "training_params", "depth", "memory", "output", "receptive_field", "activations", "flops",
    *COUNTINGS, "published",
)  # fmt: skip
VARIANT_KEYS = ("with", "title", "year", "source", "input", "expect", "aliases", "published_errors")
ERROR_KEYS = ("top1", "top5", "source")
FILE_KEYS = (
    "name", "title", "year", "source", "published_errors", "input", "counting", "fold", "parameters", "let",
    "defaults", "blocks", "layers", "outputs", "training_outputs", "expect", "variants",
)  # fmt: skip


def expression_source(tree: Tree) -> str | None:
    """The text of an expression behind its `=`, or None for what is no expression."""
    if isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.value.startswith("="):
        return tree.value[1:]
    return None


def is_expression(tree: Tree) -> bool:
    """Whether a scalar is an expression: a word that begins with `=`."""
    return expression_source(tree) is not None


def is_constant(tree: Tree) -> bool:
    """Whether no expression stands anywhere in it."""
    if isinstance(tree, Scalar):
        return not is_expression(tree)
    if isinstance(tree, Sequence):
        return all(map(is_constant, tree.items))
    return all(is_constant(value) for _, value in tree.entries)


def mentioned(tree: Tree) -> set[str]:
    """The names in the expressions of a tree; of one that cannot be read, every word."""
    if isinstance(tree, Scalar):
        if not is_expression(tree):
            return set()
        try:
            return set(parse_expression(tree.text[1:]).names)
        except ExpressionError:
            return set(_WORD.findall(tree.text))
    items = tree.items if isinstance(tree, Sequence) else (value for _, value in tree.entries)
    return set().union(*map(mentioned, items))


class _Names:
    """The names that expressions of one scope may use, and which of them were."""

    def __init__(self, known: Iterable[str], block: str | None, file_names: Collection[str]) -> None:
        self.known = set(known)
        self.block = block
        self.file_names = file_names
        self.used: set[str] = set()

    def unknown(self, name: str, allowed: Collection[str]) -> tuple[str, str]:
        """The code and the message for a name that is not there."""
        if name in ("index", "item"):
            own = f"; block {self.block} gets it as a parameter, by `with`" if self.block else ""
            return "outside-repeat", f"{name} exists only in a layer with repeat or parallel{own}"
        if name == "in_channels":
            return (
                "no-in-channels",
                "in_channels exists only where something enters: in a layer, and in a block's `let`",
            )
        if self.block is not None and name in self.file_names:
            return (
                "file-name-in-block",
                f"block {self.block} has no parameter {name}; the file has: "
                f"add it to the block's parameters and to `with`",
            )
        close = nearest(name, allowed)
        if close:
            self.used.add(close)
        has = "" if close or not allowed else f"; the names here are {listed_and(sorted(allowed))}"
        return "unknown-name", f"unknown name {name}: {name_hint(name, allowed)}{has}"


class _Parser:
    def __init__(self, file: str) -> None:
        self.file = file
        self.mistakes: list[Mistake] = []
        self.sources: set[str] = set()  # of the expressions
        self.characters = 0  # in them
        self.block_names: tuple[str, ...] = ()
        self.block_parameters: dict[str, Mapping[str, Parameter]] = {}
        self.block_inputs: dict[str, tuple[str, ...]] = {}
        self.defaults: dict[str, dict[str, Tree]] = {}

    # --- mistakes

    def add(self, place: Any, code: str, message: str) -> None:
        self.mistakes.append(Mistake(self.file, place.line, place.column, clipped(message), code))
        if len(self.mistakes) >= MAX_MISTAKES:
            self.stop(place, "too-many-mistakes", f"{MAX_MISTAKES} mistakes so far; the rest was not checked")

    def stop(self, place: Any, code: str, message: str) -> NoReturn:
        self.mistakes.append(Mistake(self.file, place.line, place.column, message, code))
        raise SpecError(self.mistakes)

    def refuse(self, tree: Tree, prefix: str, refusal: Refusal, names: _Names | None = None) -> None:
        """A value that is refused; where it is one of the `names` in scope, that was meant and counts as used."""
        known = names.known if names is not None else ()
        if names is not None and isinstance(tree, Scalar) and tree.value in known:
            names.used.add(str(tree.value))
        self.add(tree, refusal.code, f"{prefix}{advised(refusal, tree, known)}")

    # --- small pieces

    def map(self, tree: Tree | None, what: str) -> tuple[tuple[Scalar, Tree], ...]:
        """The entries of a map with words (or integers) as keys; nothing where it is null or absent."""
        if tree is None or (isinstance(tree, Scalar) and tree.value is None):
            return ()
        if not isinstance(tree, TreeMapping):
            self.add(tree, "wrong-type", f"{what} must be a map, not {shown(plain(tree))}")
            return ()
        return tree.entries

    def keys(self, tree: Tree | None, allowed: Collection[str], what: str) -> dict[str, Tree]:
        """A map's entries by key, each key one of `allowed`."""
        found: dict[str, Tree] = {}
        for key, value in self.map(tree, what):
            if key.text in allowed:
                found[key.text] = value
            else:
                self.unknown_key(key, allowed, what)
        return found

    def unknown_key(self, key: Scalar, allowed: Collection[str], what: str) -> None:
        close = nearest(key.text, allowed)
        hint = f"did you mean {close}?" if close else f"its keys are {listed_and(allowed)}"
        self.add(key, "unknown-key", f"{what}: unknown key {key.text}: {hint}")

    def name(self, scalar: Tree, what: str) -> str | None:
        """A name as written: letters, digits, `_` and `-`, and not what YAML reads as something else."""
        if not isinstance(scalar, Scalar):
            self.add(scalar, "bad-name", f"{what} must be a word, not {shown(plain(scalar))}")
            return None
        text = scalar.text
        if len(text) > MAX_NAME:
            self.add(scalar, "bad-name", f"{what} has {len(text):,} characters, and a name at most {MAX_NAME}")
            return None
        if not isinstance(scalar.value, str):
            kind = "a number" if isinstance(scalar.value, (int, float)) and not isinstance(scalar.value, bool) else text
            if not text:
                self.add(scalar, "bad-name", f"{what} is empty: write a word")
            else:
                prefix, colon, noun = what.rpartition(": ")
                self.add(scalar, "bad-name", f'{prefix}{colon}YAML reads the {noun} {text} as {kind}: write "{text}"')
            return None
        if is_expression(scalar):
            self.add(scalar, "bad-name", f"{what} cannot be an expression: write a word")
            return None
        if not NAME.match(text):
            dots = "; a dot only joins the names of a path" if "." in text else ""
            self.add(scalar, "bad-name", f'{what} "{text}" may have only letters, digits, _ and -{dots}')
            return None
        if text in RESERVED_NAMES:
            self.add(scalar, "bad-name", f"{what} {text} is taken by the language: choose another")
            return None
        return text

    def text(self, tree: Tree | None, what: str) -> str | None:
        if tree is None:
            return None
        if not isinstance(tree, Scalar):
            self.add(tree, "wrong-type", f"{what} must be text, not {shown(plain(tree))}")
            return None
        return None if tree.value is None else tree.text

    def value(self, tree: Tree | None, kind: Kind, what: str, names: _Names | None = None) -> Any:
        """A literal value of a kind, or None where it is absent or wrong."""
        if tree is None:
            return None
        if not is_constant(tree):
            self.add(tree, "not-an-expression", f"{what} cannot be an expression: write the value")
            return None
        value = plain(tree)
        try:
            return kind.check(value)
        except Refusal as refusal:
            inside = value[1:-1] if isinstance(value, str) and value.startswith("(") and value.endswith(")") else None
            if inside is not None:
                self.add(tree, "list-in-parentheses", f"{what}: a list is written [{inside}]")
            else:
                self.refuse(tree, f"{what} ", refusal, names)
            return None

    def flag(self, tree: Tree | None, what: str) -> bool:
        if tree is None:
            return False
        if not (isinstance(tree, Scalar) and isinstance(tree.value, bool)):
            self.add(tree, "not-a-boolean", f"{what} must be true or false, not {shown(plain(tree))}")
            return False
        return tree.value

    def words(self, tree: Tree | None, what: str) -> tuple[Scalar, ...]:
        """A word or a list of words."""
        if tree is None:
            return ()
        items = tree.items if isinstance(tree, Sequence) else (tree,)
        found = []
        for item in items:
            if isinstance(item, Scalar) and isinstance(item.value, str) and not is_expression(item):
                found.append(item)
            else:
                self.add(item, "wrong-type", f"{what} must be a name or a list of names, not {shown(plain(item))}")
        return tuple(found)

    def expressions(
        self, tree: Tree, names: _Names, extra: Collection[str] = (), what: str = "", told: Collection[str] = ()
    ) -> None:
        """Check every expression in a tree: its syntax, and that its names are known.

        `extra` are names that the scope has here; of those in `told` a mistake has spoken already.
        """
        if isinstance(tree, Sequence):
            for item in tree.items:
                self.expressions(item, names, extra, what, told)
        elif isinstance(tree, TreeMapping):
            for _, value in tree.entries:
                self.expressions(value, names, extra, what, told)
        elif (source := expression_source(tree)) is not None:
            try:
                expression = parse_expression(source)
            except ExpressionError as error:
                self.add(tree, error.code, f"{what}{error.message}")
                names.used |= mentioned(tree)
                return
            self.count_expression(tree)
            names.used |= expression.names
            allowed = names.known.union(extra)
            for name in sorted((expression.names - allowed).difference(told)):
                code, message = names.unknown(name, allowed)
                self.add(tree, code, f"{what}{message}")

    def count_expression(self, tree: Scalar) -> None:
        """Every expression is parsed once, which takes its time."""
        if tree.text in self.sources:
            return
        self.sources.add(tree.text)
        self.characters += len(tree.text)
        if len(self.sources) > MAX_EXPRESSIONS or self.characters > MAX_SOURCE:
            bound = f"{MAX_EXPRESSIONS:,} different expressions, or {MAX_SOURCE:,} characters in them"
            self.stop(tree, "too-many-values", f"the file has more than {bound}")

    # --- parameters, let, inputs

    def names(self, tree: Tree | None, what: str) -> tuple[tuple[Scalar, Tree], ...]:
        """The entries of a map of names that expressions use; every copy of a layer carries them all."""
        entries = self.map(tree, what)
        if len(entries) > MAX_NAMES:
            self.add(tree, "too-many-values", f"{what} has {len(entries):,} names, and may have {MAX_NAMES:,}")
            return ()
        return entries

    def parameters(self, tree: Tree | None, what: str) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {}
        for key, value in self.names(tree, f"{what}parameters"):
            name = self.name(key, f"{what}parameter")
            if name is None:
                continue
            if not name.isidentifier():
                self.add(key, "bad-name", f"{what}parameter {name} cannot be named in an expression: write it with _")
                continue
            if name in RESERVED or name in SCOPE_NAMES:
                self.add(key, "bad-name", f"{what}parameter {name} is taken by the language: choose another")
                continue
            found[name] = self.parameter(name, key, value, f"{what}parameter {name}")
        return found

    def parameter(self, name: str, key: Scalar, tree: Tree, what: str) -> Parameter:
        if not isinstance(tree, TreeMapping):
            default = self.literal(tree, what)
            return Parameter(name=name, default=default, required=default is None, line=key.line, column=key.column)
        entries = self.keys(tree, PARAMETER_KEYS, what)
        choices: tuple[Any, ...] | None = None
        if "choices" in entries:
            listing = entries["choices"]
            if isinstance(listing, Sequence) and listing.items:
                choices = tuple(self.literal(item, f"{what} choices") for item in listing.items)
            else:
                self.add(listing, "wrong-type", f"{what} choices must be a list, not {shown(plain(listing))}")
        made = Parameter(
            name=name,
            default=self.literal(entries["default"], f"{what} default") if "default" in entries else None,
            required="default" not in entries,
            choices=choices,
            minimum=self.value(entries.get("minimum"), Number(), f"{what} minimum"),
            step=self.value(entries.get("step"), Integer(1), f"{what} step"),
            help=self.text(entries.get("help"), f"{what} help"),
            line=key.line,
            column=key.column,
        )
        if made.step is not None and (made.minimum is None or made.minimum != int(made.minimum)):
            self.add(entries["step"], "missing-key", f"{what} step needs minimum, an integer that it counts from")
            return made
        if made.default is not None:
            try:
                check_argument(made, made.default)
            except Refusal as refusal:
                self.refuse(entries["default"], f"{what} default ", refusal)
        return made

    def literal(self, tree: Tree, what: str) -> Any:
        if not is_constant(tree):
            self.add(tree, "not-an-expression", f"{what} cannot be an expression: compute it under `let`")
            return None
        return plain(tree)

    def let(self, tree: Tree | None, names: _Names, extra: Collection[str], what: str) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        for key, value in self.names(tree, f"{what}let"):
            name = self.name(key, f"{what}let")
            if name is None:
                continue
            if not name.isidentifier():
                self.add(key, "bad-name", f"{what}let {name} cannot be named in an expression: write it with _")
            elif name in RESERVED or name in SCOPE_NAMES:
                self.add(key, "bad-name", f"{what}let {name} is taken by the language: choose another")
            elif name in names.known:
                self.add(key, "duplicate-name", f"{what}let {name} is the name of a parameter already: choose another")
            else:
                self.expressions(value, names, extra, f"let {name}: ")
                names.known.add(name)
                found[name] = value
        return found

    def inputs(self, tree: Tree | None, names: _Names, place: Any) -> tuple[InputSpec, ...]:
        if tree is None:
            self.add(place, "missing-key", "the file needs input: write input: [3, 224, 224]")
            return ()
        if not isinstance(tree, TreeMapping):
            return self.input("input", tree, names)
        if not tree.entries:
            self.add(tree, "wrong-type", "input must be a shape or a map of named shapes, not an empty map")
        found: list[InputSpec] = []
        if any(key.text == "shape" for key, _ in tree.entries):
            return self.input("input", tree, names)
        for key, value in self.map(tree, "input"):
            name = "input" if key.text == "input" else self.name(key, "input")
            if name is not None:
                found.extend(self.input(name, value, names))
        return tuple(found)

    def input(self, name: str, tree: Tree, names: _Names) -> tuple[InputSpec, ...]:
        shape: Tree = tree
        dtype: str = "float"
        samples: Tree | None = None
        what = "input" if name == "input" else f"input {name}"
        if isinstance(tree, TreeMapping):
            entries = self.keys(tree, INPUT_KEYS, what)
            samples = entries.get("samples")
            dtype = self.text(entries.get("dtype"), f"{what} dtype") or "float"
            if dtype not in DTYPES:
                self.add(entries["dtype"], "not-a-choice", f"{what} dtype must be {listed(DTYPES)}, not {dtype}")
            if "shape" not in entries:
                self.add(tree, "missing-key", f"{what} needs shape")
                return ()
            shape = entries["shape"]
            if samples is not None:
                self.integer(samples, 1, names, f"{what} samples")
        if not isinstance(shape, Sequence):
            if is_expression(shape):
                self.expressions(shape, names, (), f"{what}: ")
                return (InputSpec(name=name, shape=shape, dtype=dtype, samples=samples),)
            self.add(shape, "wrong-type", f"{what} must be a shape such as [3, 224, 224], not {shown(plain(shape))}")
            return ()
        if not shape.items:
            self.add(shape, "wrong-length", f"{what} must have at least one dimension: write [3, 224, 224]")
        for item in shape.items:
            self.integer(item, 1, names, f"{what} dimension")
        return (InputSpec(name=name, shape=shape, dtype=dtype, samples=samples),)

    def integer(self, tree: Tree, minimum: int, names: _Names, what: str) -> None:
        """A whole number, or an expression that will give one."""
        if is_expression(tree):
            self.expressions(tree, names, (), f"{what}: ")
        else:
            self.value(tree, Integer(minimum), what, names)

    # --- layers

    def operator_fields(
        self,
        cls: type[Operator],
        fields: Mapping[str, Tree],
        names: _Names,
        places: Mapping[str, Scalar],
        label: str,
    ) -> set[str]:
        """Unknown fields of a known operator, and literal values that do not fit it; the fields that were meant."""
        meant: set[str] = set()
        for field, tree in fields.items():
            kind = cls.fields.get(field)
            if kind is None:
                close = None if field in FOLLOWING_FIELDS else nearest(field, [*cls.fields, *LAYER_KEYS])
                meant.add(close or "")
                has = f"its fields are {listed_and(cls.fields)}" if cls.fields else "it has no fields"
                if field in FOLLOWING_FIELDS:
                    has = "it follows from what enters: leave it out"
                hint = f"did you mean {close}?" if close else has
                self.add(places[field], "unknown-key", f"{label}: unknown key {field}: {hint}")
            elif is_constant(tree) and not _is_null(tree):
                self.value(tree, kind, f"{label}: {field}", names)
        return meant

    def companion(self, tree: Tree, names: _Names, extra: Collection[str], what: str) -> None:
        """A `norm` or an `activation`: an operator's name, a map with `op`, an expression or null."""
        if isinstance(tree, Scalar):
            if tree.value is None:
                return
            if is_expression(tree):
                self.expressions(tree, names, extra, f"{what}: ")
            elif not isinstance(tree.value, str):
                self.add(
                    tree, "wrong-type", f"{what} must be an operator's name, a map or null, not {shown(tree.value)}"
                )
            else:
                self.operator_name(tree, f"{what}: ")
            return
        if isinstance(tree, Sequence):
            self.add(tree, "wrong-type", f"{what} must be an operator's name, a map or null, not a list")
            return
        op = tree.get("op")
        if op is None:
            self.add(tree, "missing-key", f"{what} needs op: write {{op: gelu}}")
            return
        fields = {key.text: value for key, value in tree.entries if key.text != "op"}
        for field, value in fields.items():
            self.expressions(value, names, extra, f"{what}: {field}: ")
        if is_expression(op):
            self.expressions(op, names, extra, f"{what}: ")
            return
        cls = self.operator_name(op, f"{what}: ")
        if cls is not None:
            places = {key.text: key for key, _ in tree.entries}
            self.operator_fields(cls, fields, names, places, what)

    def operator_name(self, tree: Tree, prefix: str) -> type[Operator] | None:
        if not (isinstance(tree, Scalar) and isinstance(tree.value, str)):
            self.add(tree, "wrong-type", f"{prefix}op must be an operator's name, not {shown(plain(tree))}")
            return None
        try:
            return find(tree.value)
        except Refusal as refusal:
            self.refuse(tree, prefix, refusal)
            return None

    def default_fields(self, tree: Tree | None, names: _Names) -> None:
        for key, value in self.map(tree, "defaults"):
            cls = self.operator_name(key, "defaults: ")
            fields: dict[str, Tree] = {}
            what = f"defaults of {key.text}"
            places: dict[str, Scalar] = {}
            for written, item in self.map(value, what):
                fields[written.text] = item
                places[written.text] = written
            self.defaults[key.text] = fields
            own = {field: item for field, item in fields.items() if field not in ("norm", "activation")}
            for field, item in own.items():
                self.expressions(item, names, ("in_channels",), f"{what}: {field}: ")
            for field in ("norm", "activation"):
                if field in fields:
                    self.companion(fields[field], names, ("in_channels",), f"{what}: {field}")
            if cls is not None:
                self.operator_fields(cls, own, names, places, what)

    def layers(
        self, tree: Tree | None, names: _Names, entering: Collection[str], where: str, place: Any
    ) -> tuple[Layer, ...]:
        """A list of layers. `entering` names what enters the list."""
        if tree is None or (isinstance(tree, Scalar) and tree.value is None):
            self.add(tree or place, "missing-key", f"{where} needs layers: a list of at least one layer")
            return ()
        if not isinstance(tree, Sequence):
            self.add(tree, "wrong-type", f"layers of {where} must be a list, not {shown(plain(tree))}")
            return ()
        if not tree.items:
            self.add(tree, "missing-key", f"{where} has no layer")
        later = self.names_ahead(tree)
        found: list[Layer] = []
        earlier: dict[str, Layer | None] = {}
        for item in tree.items:
            layer = self.layer(item, names, earlier, later, entering)
            if layer is not None:
                found.append(layer)
        return tuple(found)

    def names_ahead(self, tree: Sequence) -> dict[str, Tree]:
        """Each layer's name in a list and its place, for saying that a name comes later."""
        ahead: dict[str, Tree] = {}
        for item in tree.items:
            if isinstance(item, TreeMapping):
                named = item.get("name") or item.get("op") or item.get("block")
                if isinstance(named, Scalar):
                    ahead.setdefault(named.text, item)
        return ahead

    def layer(
        self,
        tree: Tree,
        names: _Names,
        earlier: dict[str, Layer | None],
        later: Mapping[str, Tree],
        entering: Collection[str],
    ) -> Layer | None:
        meant = missing_space(tree.text) if isinstance(tree, Scalar) and not tree.quoted else None
        if meant:
            self.add(tree, "missing-space", f"a space is missing after the colon: write {meant}")
            return None
        if not isinstance(tree, TreeMapping):
            example = f"{{op: {tree.text}}}" if isinstance(tree, Scalar) and _is_operator(tree.text) else "{op: relu}"
            self.add(tree, "wrong-type", f"a layer is a map such as {example}, not {shown(plain(tree))}")
            return None
        entries = {key.text: value for key, value in tree.entries}
        places = {key.text: key for key, _ in tree.entries}
        op, block = entries.get("op"), entries.get("block")
        if op is None and block is None:
            close = next((k for k in entries if k not in LAYER_KEYS and nearest(k, ("op", "block"))), None)
            if close:
                self.add(
                    places[close],
                    "unknown-key",
                    f"unknown key {close}: did you mean {nearest(close, ('op', 'block'))}?",
                )
            else:
                self.add(tree, "missing-key", "a layer needs op (an operator) or block (a block of this file)")
            if "name" in entries:
                given = self.name(entries["name"], "name")
                if given is not None:
                    earlier.setdefault(given, None)
            names.used |= mentioned(tree)
            return None
        if op is not None and block is not None:
            self.add(places["block"], "op-and-block", "a layer has op or block, not both")
            names.used |= mentioned(tree)
            return None
        kind = op if op is not None else block
        assert kind is not None
        what = "op" if op is not None else "block"
        if not (isinstance(kind, Scalar) and isinstance(kind.value, str)):
            self.add(kind, "wrong-type", f"{what} must be a name, not {shown(plain(kind))}")
            names.used |= mentioned(tree)
            return None
        name = self.layer_name(tree, entries, kind, what, earlier, entering)
        if name is None:
            name = f"{kind.text}"
        label = f"layer {name}" if name == kind.text else f"layer {name} ({kind.text})"

        repeated = "repeat" in entries or "parallel" in entries
        extra = ("in_channels", "index", "item") if repeated else ("in_channels",)
        if is_expression(kind):
            self.expressions(kind, names, extra, f"{label}: {what}: ")
        self.flow(entries, places, names, extra, label, earlier, later, entering)

        fields = {key: value for key, value in entries.items() if key not in LAYER_KEYS}
        if block is not None:
            allowed = tuple(key for key in LAYER_KEYS if key not in ("op", "norm", "activation"))
            for key in entries:
                if key not in allowed:
                    self.unknown_block_key(places[key], kind.text, allowed, label)
            if not is_expression(kind):
                self.block_use(kind, entries.get("with"), names, places, label)
            if "with" in entries:
                self.expressions(entries["with"], names, extra, f"{label}: with: ")
        else:
            if "with" in entries:
                self.add(
                    places["with"],
                    "unknown-key",
                    f"{label}: with gives a block its parameters; an operator's fields stand in the layer",
                )
            for companion in ("norm", "activation"):
                if companion in entries:
                    self.companion(entries[companion], names, extra, f"{label}: {companion}")
                    fields[companion] = entries[companion]
            for field, value in fields.items():
                if field not in ("norm", "activation"):
                    self.expressions(value, names, extra, f"{label}: {field}: ")
            if not is_expression(kind):
                self.operator_use(kind, tree, fields, names, places, label)
        made = Layer(
            name=name,
            op=kind if op is not None else None,
            block=kind if block is not None else None,
            source=entries.get("from"),
            repeat=entries.get("repeat"),
            parallel=entries.get("parallel"),
            share=self.flag(entries.get("share"), f"{label}: share"),
            when=self.condition(entries.get("when"), label),
            arguments=entries.get("with"),
            weights=self.weights(entries.get("weights"), earlier, later, label),
            fields=fields,
            line=tree.line,
            column=tree.column,
        )
        earlier[name] = made
        return made

    def layer_name(
        self,
        tree: TreeMapping,
        entries: Mapping[str, Tree],
        kind: Scalar,
        what: str,
        earlier: Mapping[str, Layer | None],
        entering: Collection[str],
    ) -> str | None:
        if "name" in entries:
            name = self.name(entries["name"], "name")
            if name is not None and name in earlier:
                first = earlier[name]
                line = f" (the first is on line {first.line})" if first else ""
                self.add(
                    entries["name"],
                    "duplicate-name",
                    f"a second layer is called {name}{line}: names are unique in a list",
                )
            elif name in entering:
                self.add(entries["name"], "duplicate-name", f"{name} is the name of an input: give the layer another")
            return name
        if is_expression(kind):
            self.add(tree, "missing-key", f"a layer whose {what} is an expression needs a name")
            return None
        if kind.text in earlier:
            first = earlier[kind.text]
            line = f" (the first is on line {first.line})" if first else ""
            self.add(tree, "duplicate-name", f"a second layer would be called {kind.text}{line}: give it a name")
        elif kind.text in entering:
            self.add(tree, "duplicate-name", f"{kind.text} is the name of an input: give the layer a name")
        return kind.text

    def flow(
        self,
        entries: Mapping[str, Tree],
        places: Mapping[str, Scalar],
        names: _Names,
        extra: Collection[str],
        label: str,
        earlier: Mapping[str, Layer | None],
        later: Mapping[str, Tree],
        entering: Collection[str],
    ) -> None:
        """The keys that say what a layer takes and how often it stands there."""
        source = entries.get("from")
        if source is not None:
            self.expressions(source, names, extra, f"{label}: from: ")
            if not is_expression(source):
                items = source.items if isinstance(source, Sequence) else (source,)
                if not items:
                    self.add(source, "wrong-length", f"{label}: from must name at least one layer")
                for item in items:
                    if not is_expression(item):
                        self.source(item, label, earlier, later, entering)
        if "repeat" in entries and "parallel" in entries:
            self.add(places["parallel"], "repeat-and-parallel", f"{label}: a layer has repeat or parallel, not both")
        for key, least in (("repeat", 0), ("parallel", 1)):
            if key in entries:
                self.before_copies(entries[key], names, extra, f"{label}: {key}")
                self.copies(entries[key], least, f"{label}: {key}")
        if "share" in entries and "repeat" not in entries and "parallel" not in entries:
            self.add(places["share"], "share-without-repeat", f"{label}: share is for the copies of a repeat")
        if "when" in entries:
            self.before_copies(entries["when"], names, extra, f"{label}: when")

    def before_copies(self, tree: Tree, names: _Names, extra: Collection[str], what: str) -> None:
        """Expressions that are evaluated once for all copies of a layer have no index."""
        told = mentioned(tree).intersection(extra, ("index", "item"))
        for name in sorted(told):
            self.add(tree, "outside-repeat", f"{what} is decided before there are copies: it has no {name}")
        self.expressions(tree, names, ("in_channels",), f"{what}: ", told)

    def source(
        self,
        item: Tree,
        label: str,
        earlier: Mapping[str, Layer | None],
        later: Mapping[str, Tree],
        entering: Collection[str],
    ) -> None:
        if not (isinstance(item, Scalar) and isinstance(item.value, str)):
            text = plain(item)
            quoted = f': write "{item.text}"' if isinstance(item, Scalar) and item.text else ""
            self.add(item, "wrong-type", f"{label}: from must be a layer's name, not {shown(text)}{quoted}")
            return
        head = item.value.partition(".")[0]
        if head == "input" and "input" not in entering:
            if len(entering) == 1:
                return  # one named input is `input` too
            self.add(item, "unknown-layer", f"{label}: input is ambiguous here: write {listed(entering)}")
        elif head in earlier or head in entering or head in RESERVED_NAMES:
            return
        else:
            self.unknown_layer(item, head, f"{label}: from", earlier, later, entering)

    def unknown_layer(
        self,
        item: Scalar,
        head: str,
        what: str,
        earlier: Collection[str],
        later: Mapping[str, Tree],
        entering: Collection[str],
    ) -> None:
        if head in later:
            self.add(
                item,
                "later-layer",
                f"{what}: {head} comes later (line {later[head].line}); a layer takes earlier ones only",
            )
            return
        close = nearest(head, [*earlier, *entering])
        hint = f": did you mean {close}?" if close else ""
        self.add(item, "unknown-layer", f"{what}: no earlier layer of this list is called {head}{hint}")

    def copies(self, tree: Tree, least: int, what: str) -> None:
        if isinstance(tree, Sequence) or is_expression(tree):
            return
        if isinstance(tree, Scalar) and isinstance(tree.value, int):
            self.value(tree, Integer(least), what)
        else:
            self.add(tree, "wrong-type", f"{what} must be a count or a list, not {shown(plain(tree))}")

    def condition(self, tree: Tree | None, label: str) -> Scalar | None:
        if tree is None:
            return None
        if isinstance(tree, Scalar) and (isinstance(tree.value, bool) or is_expression(tree)):
            return tree
        meant = tree.text.lower() if isinstance(tree, Scalar) else ""
        hint = f": write {meant} without quotes" if meant in ("true", "false") else ""
        self.add(tree, "not-a-boolean", f"{label}: when must be true or false, not {shown(plain(tree))}{hint}")
        return None

    def weights(
        self, tree: Tree | None, earlier: Mapping[str, Layer | None], later: Mapping[str, Tree], label: str
    ) -> Scalar | None:
        if tree is None:
            return None
        if not (isinstance(tree, Scalar) and isinstance(tree.value, str)):
            self.add(tree, "wrong-type", f"{label}: weights must be an earlier layer's name, not {shown(plain(tree))}")
            return None
        head = tree.value.partition(".")[0]
        if head not in earlier:
            self.unknown_layer(tree, head, f"{label}: weights", earlier, later, ())
        return tree

    def unknown_block_key(self, key: Scalar, block: str, allowed: Collection[str], label: str) -> None:
        if key.text in self.block_parameters.get(block, {}):
            self.add(key, "unknown-key", f"{label}: {key.text} is a parameter of block {block}: write it under `with`")
        else:
            self.unknown_key(key, allowed, label)

    def block_use(
        self, kind: Scalar, arguments: Tree | None, names: _Names, places: Mapping[str, Scalar], label: str
    ) -> None:
        block = kind.text
        if block not in self.block_names:
            close = nearest(block, self.block_names)
            operator = ": it is an operator: write op" if _is_operator(block) else ""
            hint = f": did you mean {close}?" if close else operator
            self.add(kind, "unknown-block", f"{label}: this file has no block {block}{hint}")
            return
        parameters = self.block_parameters.get(block)
        if parameters is None:
            return
        given: set[str] = set()
        unknown = 0
        if arguments is not None and not _is_null(arguments):
            if is_expression(arguments):
                return
            if not isinstance(arguments, TreeMapping):
                self.add(arguments, "wrong-type", f"{label}: with must be a map, not {shown(plain(arguments))}")
                return
            for key, value in arguments.entries:
                given.add(key.text)
                parameter = parameters.get(key.text)
                if parameter is None:
                    unknown += 1
                    self.add(
                        key,
                        "unknown-parameter",
                        f"{label}: block {block} has no parameter {key.text}{parameter_hint(key.text, parameters)}",
                    )
                elif is_constant(value):
                    try:
                        check_argument(parameter, plain(value))
                    except Refusal as refusal:
                        self.refuse(value, f"{label}: {key.text} ", refusal, names)
        missing = [name for name, parameter in parameters.items() if parameter.required and name not in given]
        if len(missing) > unknown:  # a misnamed one is not missing too
            self.add(
                kind,
                "missing-parameter",
                f"{label}: block {block} needs {listed_and(missing)}: give it in `with`",
            )

    def operator_use(
        self,
        kind: Scalar,
        tree: TreeMapping,
        fields: Mapping[str, Tree],
        names: _Names,
        places: Mapping[str, Scalar],
        label: str,
    ) -> None:
        if not _is_operator(kind.text) and kind.text in self.block_names:
            self.add(
                kind, "unknown-operator", f"{label}: {kind.value} is a block of this file: write block: {kind.value}"
            )
            return
        cls = self.operator_name(kind, f"{label}: " if label != f"layer {kind.text}" else "")
        if cls is None:
            return
        own = {field: value for field, value in fields.items() if field not in ("norm", "activation")}
        meant = self.operator_fields(cls, own, names, places, label)
        given = {**self.defaults.get(kind.text, {}), **own}
        missing = [
            field
            for field in required_fields(cls)
            if (field not in given or _is_null(given[field])) and field not in meant
        ]
        if missing:
            self.add(tree, "missing-field", f"{label}: {kind.value} needs {listed_and(missing)}")

    # --- blocks, variants, the file

    def block_heads(self, tree: Tree | None) -> list[tuple[str, Scalar, dict[str, Tree]]]:
        """The blocks' names and parameters, which uses of a block are checked against wherever they stand."""
        found = []
        for key, value in self.map(tree, "blocks"):
            name = self.name(key, "block")
            if name is None:
                continue
            entries = self.keys(value, BLOCK_KEYS, f"block {name}")
            self.block_parameters[name] = self.parameters(entries.get("parameters"), f"block {name}: ")
            inputs = self.words(entries.get("inputs"), f"block {name}: inputs")
            self.block_inputs[name] = tuple(
                found_name for word in inputs if (found_name := self.name(word, f"block {name}: input")) is not None
            )
            if len(set(self.block_inputs[name])) < len(self.block_inputs[name]):
                self.add(entries["inputs"], "duplicate-name", f"block {name}: two inputs have one name")
            found.append((name, key, entries))
        self.block_names = tuple(name for name, _, _ in found)
        return found

    def block(self, name: str, key: Scalar, entries: Mapping[str, Tree], file_names: Collection[str]) -> Block:
        parameters = self.block_parameters[name]
        names = _Names(parameters, name, file_names)
        let = self.let(entries.get("let"), names, ("in_channels",), f"block {name}: ")
        entering = self.block_inputs[name] or ("input",)
        layers = self.layers(entries.get("layers"), names, entering, f"block {name}", key)
        for parameter in parameters.values():
            if parameter.name not in names.used:
                self.add(parameter, "unused-parameter", f"block {name}: nothing uses parameter {parameter.name}")
        return Block(name=name, parameters=parameters, let=let, inputs=self.block_inputs[name], layers=layers)

    def expect(self, tree: Tree | None, what: str) -> Expect:
        values: dict[str, Tree] = {}
        published: Scalar | None = None
        for key, value in self.keys(tree, EXPECT_KEYS, what).items():
            if key == "published":
                if isinstance(value, Scalar) and isinstance(value.value, str):
                    published = value
                else:
                    self.add(value, "wrong-type", f"{what}: published must be a file's path, not {shown(plain(value))}")
            elif is_constant(value):
                values[key] = value
            else:
                self.add(value, "not-an-expression", f"{what}: {key} cannot be an expression: write the figure")
        return Expect(values=values, published=published)

    def published_errors(self, tree: Tree | None, what: str) -> PublishedErrors | None:
        if tree is None:
            return None
        entries = self.keys(tree, ERROR_KEYS, f"{what}published_errors")
        percent = Number(0, 100)
        return PublishedErrors(
            top1=self.value(entries.get("top1"), percent, f"{what}published_errors: top1"),
            top5=self.value(entries.get("top5"), percent, f"{what}published_errors: top5"),
            source=self.text(entries.get("source"), f"{what}published_errors: source"),
        )

    def variant(self, key: Scalar, tree: Tree, parameters: Mapping[str, Parameter], names: _Names) -> Variant:
        what = f"variant {key.text}"
        entries = self.keys(tree, VARIANT_KEYS, what)
        arguments: dict[str, Tree] = {}
        for name, value in self.map(entries.get("with"), f"{what}: with"):
            parameter = parameters.get(name.text)
            if parameter is None:
                hint = parameter_hint(name.text, parameters)
                self.add(name, "unknown-parameter", f"{what}: the file has no parameter {name.text}{hint}")
            elif not is_constant(value):
                self.add(value, "not-an-expression", f"{what}: {name.text} cannot be an expression: write the value")
            else:
                arguments[name.text] = value
                try:
                    check_argument(parameter, plain(value))
                except Refusal as refusal:
                    self.refuse(value, f"{what}: {name.text} ", refusal)
        return Variant(
            name=key.text,
            arguments=arguments,
            title=self.text(entries.get("title"), f"{what}: title"),
            year=self.value(entries.get("year"), Integer(1900, 2100), f"{what}: year"),
            source=self.text(entries.get("source"), f"{what}: source"),
            inputs=self.inputs(entries["input"], names, key) if "input" in entries else (),
            aliases=tuple(word.text for word in self.words(entries.get("aliases"), f"{what}: aliases")),
            expect=self.expect(entries.get("expect"), f"{what}: expect"),
            published_errors=self.published_errors(entries.get("published_errors"), f"{what}: "),
            line=key.line,
            column=key.column,
        )

    def document(self, root: TreeMapping) -> Document:
        top = {key.text: value for key, value in root.entries}
        for key, _ in root.entries:
            if key.text not in FILE_KEYS:
                self.unknown_key(key, FILE_KEYS, "the file")
        if "name" in top:
            name = self.name(top["name"], "name")
        else:
            name = None
            self.add(root, "missing-key", "the file needs name")
        counting = self.text(top.get("counting"), "counting") or COUNTINGS[0]
        if counting not in COUNTINGS:
            close = nearest(counting, COUNTINGS)
            hint = f"did you mean {close}?" if close else f"write {listed(COUNTINGS)}"
            self.add(top["counting"], "not-a-choice", f"unknown counting {counting}: {hint}")

        parameters = self.parameters(top.get("parameters"), "")
        names = _Names(parameters, None, ())
        let = self.let(top.get("let"), names, (), "")
        inputs = self.inputs(top.get("input"), names, root)
        heads = self.block_heads(top.get("blocks"))
        self.default_fields(top.get("defaults"), names)
        blocks = {name: self.block(name, key, entries, names.known) for name, key, entries in heads}
        entering = tuple(spec.name for spec in inputs) or ("input",)
        layers = self.layers(top.get("layers"), names, entering, "the file", root)
        outputs = self.outputs(top.get("outputs"), "outputs", layers)
        training_outputs = self.outputs(top.get("training_outputs"), "training_outputs", layers)
        variants = {
            key.text: self.variant(key, value, parameters, names)
            for key, value in self.map(top.get("variants"), "variants")
            if self.variant_name(key) is not None
        }
        self.unique_variants(variants)
        for parameter in parameters.values():
            if parameter.name not in names.used:
                self.add(parameter, "unused-parameter", f"nothing uses parameter {parameter.name}")
        return Document(
            file=self.file,
            name=name or "",
            title=self.text(top.get("title"), "title"),
            year=self.value(top.get("year"), Integer(1900, 2100), "year"),
            source=self.text(top.get("source"), "source"),
            published_errors=self.published_errors(top.get("published_errors"), ""),
            inputs=inputs,
            counting=counting,
            fold=self.fold(top.get("fold")),
            parameters=parameters,
            let=let,
            defaults=self.defaults,
            blocks=blocks,
            layers=layers,
            outputs=outputs,
            training_outputs=training_outputs,
            expect=self.expect(top.get("expect"), "expect"),
            variants=variants,
        )

    def variant_name(self, key: Scalar) -> str | None:
        """A variant's name is asked for on a command line, so `mobilenet-v2-1.0` may have a dot."""
        if isinstance(key.value, str) and re.fullmatch(r"[A-Za-z0-9_.-]+", key.text):
            return key.text
        return self.name(key, "variant")

    def unique_variants(self, variants: Mapping[str, Variant]) -> None:
        """No alias is another variant's name or alias."""
        taken = {name: name for name in variants}
        for name, variant in variants.items():
            for alias in variant.aliases:
                owner = taken.setdefault(alias, name)
                if owner != name:
                    self.add(variant, "duplicate-name", f"variant {name}: alias {alias} is variant {owner}'s already")

    def fold(self, tree: Tree | None) -> int | None:
        if tree is None:
            return 1
        if isinstance(tree, Scalar) and tree.value == "all":
            return None
        return self.value(tree, Integer(1), "fold") or 1

    def outputs(self, tree: Tree | None, what: str, layers: tuple[Layer, ...]) -> tuple[Scalar, ...]:
        found = self.words(tree, what)
        known = [layer.name for layer in layers]
        for word in found:
            if word.text.partition(".")[0] not in known:
                close = nearest(word.text, known)
                hint = f": did you mean {close}?" if close else ""
                self.add(word, "unknown-layer", f"{what}: the file has no layer {word.text}{hint}")
        return found


def _is_operator(name: str) -> bool:
    try:
        find(name)
    except Refusal:
        return False
    return True


def _is_null(tree: Tree | None) -> bool:
    return isinstance(tree, Scalar) and tree.value is None


def parameter_hint(name: str, parameters: Iterable[str]) -> str:
    """What an unknown parameter may have been meant to be, or which there are."""
    close = nearest(name, parameters)
    if close:
        return f": did you mean {close}?"
    return f"; it has {listed_and(parameters)}" if parameters else "; it has none"


def check_argument(parameter: Parameter, value: Any) -> None:
    """Whether a parameter takes a value: its choices, its minimum, and the type of its default.

    Raises Refusal.
    """
    if parameter.choices is not None:
        if not any(_same(value, choice) for choice in parameter.choices):
            raise Refusal("not-a-choice", f"must be {listed(map(shown_choice, parameter.choices))}, not {shown(value)}")
        return
    default = parameter.default
    if value is None or default is None:
        _check_bounds(parameter, value)
        return
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if number:
        if isinstance(default, int) and isinstance(value, float):
            Integer().check(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            kind = "an integer" if isinstance(default, int) else "a number"
            quoted = isinstance(value, str) and value.replace(".", "", 1).isdigit()
            if quoted:
                raise Refusal("quoted-number", f"must be {kind}, not {shown(value)}: write {value} without quotes")
            raise Refusal("wrong-type", f"must be {kind}, not {shown(value)}")
    elif type(value) is not type(default):
        kinds = {bool: "true or false", str: "a word", list: "a list", dict: "a map"}
        code = "not-a-boolean" if isinstance(default, bool) else "wrong-type"
        raise Refusal(code, f"must be {kinds[type(default)]}, not {shown(value)}")
    _check_bounds(parameter, value)


def _same(value: Any, choice: Any) -> bool:
    """Whether a value is a choice: 1 is 1.0 too, but true is not 1, nor 18.0 18."""
    return bool(value == choice) and (type(value) is type(choice) or (type(value) is int and type(choice) is float))


def advised(refusal: Refusal, tree: Tree | None, names: Container[str] = ()) -> str:
    """A refusal's message, and how to write a name among those in scope, or what made the wrong number."""
    if isinstance(tree, Scalar) and isinstance(tree.value, str) and tree.value in names and not is_expression(tree):
        return f"{refusal.message}: write ={tree.value}"
    if refusal.code != "not-an-integer" or not isinstance(tree, Scalar):
        return refusal.message
    if not is_expression(tree):
        whole = isinstance(tree.value, float)
        return f"{refusal.message}: write {tree.value:.0f}" if whole else refusal.message
    source = tree.text.removeprefix("=").strip()
    if refusal.message.endswith(("true", "false")):
        return f"{refusal.message}: write =2 if {source} else 1"
    divided = source.count("/") == 1
    return f"{refusal.message}: write ={source.replace('/', '//') if divided else f'int({source})'}"


def shown_choice(value: Any) -> str:
    """A parameter's choice as a message names it: words bare."""
    return value if isinstance(value, str) else shown(value)


def _check_bounds(parameter: Parameter, value: Any) -> None:
    minimum, step = parameter.minimum, parameter.step
    if minimum is None or not isinstance(value, (int, float)):
        return
    if value < minimum:
        raise Refusal("out-of-range", f"must be at least {minimum:g}, not {shown(value)}")
    if step is not None and (value - minimum) % step:
        below = int(value - (value - minimum) % step)
        form = f"{int(minimum)} + a multiple of {step}"
        raise Refusal("not-a-choice", f"must be {form}, not {shown(value)}: the nearest are {below} and {below + step}")


# Mistakes that do not follow from something the reader left out.
INDEPENDENT = frozenset(
    {
        "bad-name", "list-in-parentheses", "not-a-boolean", "not-a-choice", "not-an-expression", "not-an-integer",
        "out-of-range", "quoted-number", "unknown-key", "unknown-operator", "wrong-length", "wrong-type",
    }
)  # fmt: skip


@rare_collections()
def parse(root: TreeMapping, unread: tuple[Mistake, ...] = (), *, file: str) -> Document:
    """The Document of a file's tree. `unread` are the mistakes that kept the reader from reading all of it.

    Raises SpecError with all structural mistakes of the file.
    """
    parser = _Parser(file)
    with contextlib.suppress(SpecError):
        document = parser.document(root)
    mistakes = parser.mistakes
    if unread:
        spoilt = {mistake.line for mistake in unread}
        mistakes = [found for found in mistakes if found.code in INDEPENDENT and found.line not in spoilt]
    if unread or mistakes:
        raise SpecError([*unread, *mistakes])
    return document
