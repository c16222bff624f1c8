"""From a Document to a Graph: expressions evaluated, blocks and repeats unfolded, shapes inferred as it goes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from archprof.collector import rare_collections
from archprof.errors import Refusal
from archprof.graph import Graph, Input, Node, Value
from archprof.operators import Operator, create, find, listed, listed_and, nearest, shown
from archprof.operators.base import Inputs, Integer
from archprof.shape import Shape
from archprof.spec.document import Block, Document, InputSpec, Layer, Variant
from archprof.spec.errors import MAX_MISTAKES, Mistake, SpecError, clipped
from archprof.spec.expressions import METER, ExpressionError, bounded
from archprof.spec.expressions import parse as parse_expression
from archprof.spec.parse import (
    advised,
    check_argument,
    expression_source,
    is_constant,
    is_expression,
    mentioned,
    parameter_hint,
)
from archprof.spec.reader import Mapping as TreeMapping
from archprof.spec.reader import Scalar, Tree, plain
from archprof.spec.reader import Sequence as TreeSequence

MAX_NODES = 200_000
MAX_DEPTH = 50
# What a network may take beside its nodes; real ones stay far below.
EDGES_PER_NODE = 10
CHARACTERS_PER_NODE = 200  # of paths
WORK_PER_NODE = 20  # items of lists that expressions go through
LARGEST_INTEGER = 2**63 - 1
MAX_RANK = 64  # torch's


class Origin(msgspec.Struct, frozen=True):
    """Where a node was written: the layer's place, and the layer as a message names it."""

    file: str
    line: int
    column: int
    label: str


class Expansion(msgspec.Struct, frozen=True):
    """What an expansion came to: the nodes that could be made, and the mistakes that stopped the rest."""

    graph: Graph
    mistakes: tuple[Mistake, ...]


class _Stop(Exception):
    """A layer that cannot be made: its mistake is noted, or it takes what could not be made."""


class _TooLarge(Exception):
    """The network passed a bound: the expansion ends."""


Values = tuple[Value, ...]
UNMADE: Values = (Value(-1),)  # stands for the output of a layer that could not be made


class _Frame(msgspec.Struct, kw_only=True):
    """One list of layers being expanded: the names it sees and where its nodes go."""

    prefix: str  # "" or "stage.0."
    names: dict[str, Any]
    entering: dict[str, Values]
    block: str | None
    ends: dict[str, Values]  # what each name of the list stands for
    level: int
    uses: tuple[Layer, ...]  # the layers whose blocks led here
    sharing: tuple[tuple[str, str], ...]  # (own path, path whose parameters it uses), outermost first


class _Call(msgspec.Struct):
    """An operator that a layer asks for, its field values, and where each was written."""

    op: str
    values: dict[str, Any]
    written: dict[str, Tree]
    operator: Operator | None = None  # once it was made


class _Expander:
    def __init__(self, document: Document, max_nodes: int) -> None:
        self.document = document
        self.max_nodes = max_nodes
        self.nodes: list[Node] = []
        self.uses: list[tuple[Layer, ...]] = []  # the layers whose blocks led to each node
        self.paths: dict[str, Values] = {}  # what every path stands for
        self.indices: dict[str, int] = {}  # a node's index by its path
        self.mistakes: dict[tuple[int, int], Mistake] = {}
        self.absent: dict[str, tuple[Layer, Values]] = {}  # by path: layers that are not there, and what they took
        self.constants: dict[int, Any] = {}  # lists and maps without expressions, by their tree
        self.steps = 0
        self.edges = 0
        self.characters = 0
        self.spent_before = METER.spent
        self.file_names: dict[str, Any] = {}
        self.calls: dict[int, _Call | None] = {}  # what blocks call, by the tree of `op`; None where expressions decide
        self.operators: dict[Any, Operator] = {}
        self.inferred: dict[tuple[Operator, Inputs], tuple[Inputs, Inputs]] = {}  # shapes that enter and that leave
        self.sizes: dict[str, int] = {}

    # --- mistakes

    def add(self, place: Any, code: str, message: str, uses: Sequence[Layer] = ()) -> None:
        """Note a mistake once for its place; inside a block, with the line that used it."""
        at = (place.line, place.column)
        if at in self.mistakes:
            return
        message = clipped(message)
        if uses:
            last = uses[-1]
            assert last.block is not None
            message += f" (in block {last.block.text}, used on line {last.line})"
        if len(self.mistakes) >= MAX_MISTAKES:
            code, message = "too-many-mistakes", f"{MAX_MISTAKES} mistakes so far; the rest was not checked"
        self.mistakes[at] = Mistake(self.document.file, *at, message, code)
        if len(self.mistakes) > MAX_MISTAKES:
            raise _TooLarge

    # --- expressions

    def evaluate(
        self, tree: Tree, names: Mapping[str, Any], entering: Values | None, what: str, frame: _Frame | None
    ) -> Any:
        """A tree with its expressions evaluated. `entering` is what `in_channels` speaks of."""
        if isinstance(tree, Scalar):
            source = expression_source(tree)
            if source is None:
                return tree.value
            expression = parse_expression(source)
            uses = frame.uses if frame else ()
            if "in_channels" in expression.names:
                names = {**names, "in_channels": self.in_channels(entering or (), tree, what, uses)}
            try:
                value = expression.evaluate(names)
            except ExpressionError as error:
                self.add(tree, error.code, f"{what}: {error.message}", uses)
                raise _Stop from None
            if METER.spent - self.spent_before > WORK_PER_NODE * self.max_nodes:
                self.add(
                    tree,
                    "too-much-work",
                    f"{what}: the expressions go through more than {WORK_PER_NODE * self.max_nodes:,} items of lists: "
                    "put what all copies share under `let`",
                    uses,
                )
                raise _TooLarge
            return value
        made: Any = self.constants.get(id(tree))
        if made is not None:
            return made
        if is_constant(tree):
            made = self.constants[id(tree)] = plain(tree)
            return made
        if isinstance(tree, TreeSequence):
            made = [self.evaluate(item, names, entering, what, frame) for item in tree.items]
        else:
            made = {key.value: self.evaluate(value, names, entering, what, frame) for key, value in tree.entries}
        try:
            return bounded(made)
        except ExpressionError as error:
            self.add(tree, error.code, f"{what}: {error.message}", frame.uses if frame else ())
            raise _Stop from None

    def in_channels(self, entering: Values, place: Any, what: str, uses: Sequence[Layer]) -> int:
        if UNMADE[0] in entering:
            raise _Stop
        if len(entering) != 1:
            self.add(
                place,
                "no-in-channels",
                f"{what}: in_channels needs exactly one input, and {len(entering) or 'nothing'} "
                f"{'enter' if len(entering) > 1 else 'enters'} here",
                uses,
            )
            raise _Stop
        return self.shape(entering[0]).channels

    def shape(self, value: Value) -> Shape:
        return self.nodes[value.node].output_shapes[value.output]

    # --- parameters, let, inputs

    def settings(self, given: Mapping[str, Any], variant: Variant | None) -> dict[str, Any]:
        """The file's parameters: defaults, then the variant's, then the caller's."""
        document = self.document
        literal = {name: plain(tree) for name, tree in variant.arguments.items()} if variant else {}
        names: dict[str, Any] = {}
        for name in given:
            if name not in document.parameters:
                hint = parameter_hint(name, document.parameters)
                self.mistakes[(0, len(self.mistakes))] = Mistake(
                    document.file, 0, 0, f"the file has no parameter {name}{hint}", "unknown-parameter"
                )
        for name, parameter in document.parameters.items():
            if name in given:
                try:
                    check_argument(parameter, given[name])
                except Refusal as refusal:
                    self.add(parameter, refusal.code, f"parameter {name} {refusal.message}")
                names[name] = given[name]
            elif name in literal:
                names[name] = literal[name]
            elif parameter.required:
                self.add(parameter, "missing-parameter", f"parameter {name} must be given: --set {name}=...")
            else:
                names[name] = parameter.default
        return names

    def make_inputs(self, specs: tuple[InputSpec, ...], names: Mapping[str, Any]) -> dict[str, Values]:
        entering: dict[str, Values] = {}
        for spec in specs:
            what = "input" if spec.name == "input" else f"input {spec.name}"
            try:
                dims = self.evaluate(spec.shape, names, None, what, None)
                if not isinstance(dims, list) or not dims:
                    self.add(
                        spec.shape, "wrong-type", f"{what} must be a shape such as [3, 224, 224], not {shown(dims)}"
                    )
                    raise _Stop
                if len(dims) > MAX_RANK:
                    message = f"{what} has {len(dims):,} dimensions; a tensor has at most {MAX_RANK}"
                    self.add(spec.shape, "wrong-rank", message)
                    raise _Stop
                places = spec.shape.items if isinstance(spec.shape, TreeSequence) else (spec.shape,) * len(dims)
                checked = tuple(
                    self.dimension(dim, place, f"{what} dimension") for dim, place in zip(dims, places, strict=True)
                )
                samples = self.samples(spec, names)
            except _Stop:
                entering[spec.name] = UNMADE
                continue
            entering[spec.name] = self.put_input(spec, checked, samples)
        return entering

    def samples(self, spec: InputSpec, names: Mapping[str, Any]) -> int:
        if spec.samples is None:
            return 1
        what = "input samples" if spec.name == "input" else f"input {spec.name} samples"
        return self.dimension(self.evaluate(spec.samples, names, None, what, None), spec.samples, what)

    def put_input(self, spec: InputSpec, dims: tuple[int, ...], samples: int) -> Values:
        shape = Shape(dims, samples, spec.dtype)
        made = (self.put(Node(path=spec.name, operator=Input(shape=shape), output_shapes=(shape,))),)
        self.paths[spec.name] = made
        return made

    def dimension(self, value: Any, place: Any, what: str) -> int:
        try:
            return Integer(1).check(value)
        except Refusal as refusal:
            self.add(place, refusal.code, f"{what} {advised(refusal, place)}")
            raise _Stop from None

    def put(self, node: Node, uses: tuple[Layer, ...] = ()) -> Value:
        index = len(self.nodes)
        self.nodes.append(node)
        self.uses.append(uses)
        self.indices[node.path] = index
        return Value(index)

    # --- the walk

    def step(self, path: str) -> None:
        """One layer or copy more. What makes no node (absent layers, blocks around blocks) is bounded too."""
        self.steps += 1
        self.characters += len(path)
        if self.characters > CHARACTERS_PER_NODE * self.max_nodes:
            raise _TooLarge(
                f"the paths of its nodes have more than {CHARACTERS_PER_NODE * self.max_nodes:,} characters"
            )
        if self.steps > len(self.nodes) + self.max_nodes:
            raise _TooLarge(
                f"more than {self.max_nodes:,} layers and copies make no node (they are absent, or blocks): "
                "--max-nodes raises the limit"
            )

    def layers(self, layers: Iterable[Layer], frame: _Frame) -> Values:
        """Expand a list; what its last layer puts out."""
        previous: Values | None = None
        if len(frame.entering) == 1:
            previous = next(iter(frame.entering.values()))
        for layer in layers:
            previous = self.layer(layer, frame, previous)
        assert previous is not None
        return previous

    def layer(self, layer: Layer, frame: _Frame, previous: Values | None) -> Values:
        self.step(frame.prefix)
        try:
            end = self.layer_end(layer, frame, previous)
        except _Stop:
            end = UNMADE
        frame.ends[layer.name] = self.paths[frame.prefix + layer.name] = end
        return end

    def layer_end(self, layer: Layer, frame: _Frame, previous: Values | None) -> Values:
        label = layer.label
        names = frame.names
        if layer.when is not None:
            entering = self.first_source(layer, frame, previous) if _speaks_of_channels(layer.when) else None
            present = self.evaluate(layer.when, names, entering, f"{label}: when", frame)
            if not isinstance(present, bool):
                self.add(
                    layer.when,
                    "not-a-boolean",
                    f"{label}: when must be true or false, not {shown(present)}",
                    frame.uses,
                )
                raise _Stop
            if not present:
                return self.stand_aside(layer, frame, previous)
        copies = layer.repeat if layer.repeat is not None else layer.parallel
        if copies is None:
            entering = self.source(layer, frame, previous, names, previous)
            return self.copy(layer, frame, names, entering, frame.prefix + layer.name, ())
        entering = self.first_source(layer, frame, previous) if _speaks_of_channels(copies) else None
        items = self.copy_items(copies, layer, self.evaluate(copies, names, entering, f"{label}: repeat", frame), frame)
        if not items:
            return self.stand_aside(layer, frame, previous)
        self.refuse_too_many(layer, len(items), frame)
        return self.copies(layer, frame, items, previous)

    def stand_aside(self, layer: Layer, frame: _Frame, previous: Values | None) -> Values:
        """An absent layer's name stands for its first input."""
        taken = self.source(layer, frame, previous, {**frame.names, "index": 0, "item": None}, previous)
        self.absent[frame.prefix + layer.name] = (layer, taken)
        return taken[:1]

    def first_source(self, layer: Layer, frame: _Frame, previous: Values | None) -> Values:
        return self.source(layer, frame, previous, {**frame.names, "index": 0, "item": None}, previous)

    def copy_items(self, tree: Tree, layer: Layer, value: Any, frame: _Frame) -> Sequence[Any]:
        key = "repeat" if layer.repeat is not None else "parallel"
        if isinstance(value, list):
            items: Sequence[Any] = value
        else:
            try:
                items = range(Integer(0).check(value))
            except Refusal as refusal:
                code, message = refusal.code, advised(refusal, tree)
                if code == "wrong-type":
                    message = f"must be a count or a list, not {shown(value)}"
                self.add(tree, code, f"{layer.label}: {key} {message}", frame.uses)
                raise _Stop from None
        if layer.parallel is not None and not items:
            self.add(tree, "out-of-range", f"{layer.label}: parallel needs at least one copy", frame.uses)
            raise _Stop
        return items

    def copies(self, layer: Layer, frame: _Frame, items: Sequence[Any], previous: Values | None) -> Values:
        path = frame.prefix + layer.name
        counted = isinstance(items, range)
        end: Values = ()
        ends: list[Values] = []
        before = previous
        entering: Values = ()
        for index, item in enumerate(items):
            self.step(path)
            names = {**frame.names, "index": index, "item": index if counted else item}
            if layer.parallel is not None or index == 0 or self.names_previous(layer, frame, names):
                entering = self.source(layer, frame, previous, names, before)
                if index == 0 and layer.repeat is not None and len(items) > 1:
                    self.require_chain(layer, frame, names, entering)
            else:
                entering = before or ()
            sharing = ((f"{path}.{index}", f"{path}.0"),) if layer.share and index > 0 else ()
            try:
                end = self.copy(layer, frame, names, entering, f"{path}.{index}", sharing)
            except _Stop:
                end = UNMADE
            self.paths[f"{path}.{index}"] = end
            before = end
            ends.append(end)
        return tuple(value for each in ends for value in each) if layer.parallel is not None else end

    def names_previous(self, layer: Layer, frame: _Frame, names: Mapping[str, Any]) -> bool:
        return layer.source is not None and "previous" in self.source_names(layer, frame, names)

    def require_chain(self, layer: Layer, frame: _Frame, names: Mapping[str, Any], entering: Values) -> None:
        """Several inputs of a repeat must say which of them the copy before takes the place of."""
        if len(entering) > 1 and not self.names_previous(layer, frame, names):
            written = self.source_names(layer, frame, names)
            rest = ", ".join(written[1:]) if len(written) > 1 else "..."
            self.add(
                layer.source or layer,
                "repeat-of-several-inputs",
                f"{layer.label}: the second copy has one input, not {len(entering)}: "
                f"say which one is previous: from: [previous, {rest}]",
                frame.uses,
            )
            raise _Stop

    def copy(
        self,
        layer: Layer,
        frame: _Frame,
        names: Mapping[str, Any],
        entering: Values,
        path: str,
        sharing: tuple[tuple[str, str], ...],
    ) -> Values:
        """One copy of a layer at its path: an operator with its norm and activation, or a block."""
        if layer.weights is not None and not sharing:
            own = frame.prefix + layer.name
            other = self.weights_path(layer, frame)
            if path != own and other + path[len(own) :] in self.paths:  # copies take from copies
                own, other = path, other + path[len(own) :]
            sharing = ((path, other),)
        sharing = frame.sharing + sharing
        if layer.block is not None:
            return self.block(layer, frame, names, entering, path, sharing)
        return self.operator_group(layer, frame, names, entering, path, sharing)

    def weights_path(self, layer: Layer, frame: _Frame) -> str:
        assert layer.weights is not None
        path = frame.prefix + layer.weights.text
        if path not in self.paths:
            self.unknown_path(layer.weights, layer.weights.text, layer, "weights", frame)
        if self.paths[path] == UNMADE:
            raise _Stop
        return path

    # --- what enters

    def source_names(self, layer: Layer, frame: _Frame, names: Mapping[str, Any]) -> list[str]:
        """The names in `from`, evaluated."""
        if layer.source is None:
            return []
        entering = next(iter(frame.entering.values())) if len(frame.entering) == 1 else None
        written = self.evaluate(layer.source, names, entering, f"{layer.label}: from", frame)
        found = written if isinstance(written, list) else [written]
        if not found or not all(isinstance(name, str) for name in found):
            self.add(
                layer.source,
                "wrong-type",
                f"{layer.label}: from must be names of layers, not {shown(written)}",
                frame.uses,
            )
            raise _Stop
        return found

    def source(
        self, layer: Layer, frame: _Frame, previous: Values | None, names: Mapping[str, Any], before: Values | None
    ) -> Values:
        """What enters a layer. `before` is what `previous` stands for: inside a repeat, the copy before."""
        if layer.source is None:
            if previous is None:
                entering = listed(frame.entering)
                self.add(
                    layer,
                    "ambiguous-input",
                    f"{layer.label}: several inputs enter here: write from: {entering}",
                    frame.uses,
                )
                raise _Stop
            return previous
        found: list[Value] = []
        for name in self.source_names(layer, frame, names):
            values = self.named(name, layer, frame, before)
            self.take(len(values))
            found.extend(values)
        return tuple(found)

    def take(self, count: int) -> None:
        """So many inputs more."""
        self.edges += count
        if self.edges > EDGES_PER_NODE * self.max_nodes:
            raise _TooLarge(f"its layers have more than {EDGES_PER_NODE * self.max_nodes:,} inputs")

    def named(self, name: str, layer: Layer, frame: _Frame, before: Values | None) -> Values:
        if name == "previous":
            if before is None:
                self.add(
                    layer,
                    "ambiguous-input",
                    f"{layer.label}: nothing comes before it: write {listed(frame.entering)}",
                    frame.uses,
                )
                raise _Stop
            return before
        if name in frame.entering:
            return frame.entering[name]
        if name in frame.ends:
            return frame.ends[name]
        if name == "input" and len(frame.entering) == 1:
            return next(iter(frame.entering.values()))
        head, dot, _ = name.partition(".")
        if dot and head in frame.ends:
            found = self.paths.get(frame.prefix + name)
            if found is not None:
                return found
            if frame.ends[head] == UNMADE:
                raise _Stop
        place = layer.source if layer.source is not None else layer
        self.unknown_path(place, name, layer, "from", frame)
        raise AssertionError

    def unknown_path(self, place: Any, name: str, layer: Layer, key: str, frame: _Frame) -> None:
        """A name that no earlier layer has: say how far it leads, and what there is."""
        known, parts = "", name.split(".")
        for count in range(len(parts) - 1, 0, -1):
            if frame.prefix + ".".join(parts[:count]) in self.paths:
                known = ".".join(parts[:count])
                break
        if known:
            inside = self.children(frame.prefix + known)
            if inside and all(child.isdigit() for child in inside):
                numbers = [f"{known}.{child}" for child in inside]
                has = (
                    f"{known} has {len(inside)} copies, {numbers[0]} to {numbers[-1]}"
                    if len(inside) > 1
                    else f"{known} has one copy, {numbers[0]}"
                )
            else:
                has = f"in {known} there are {listed_and(inside)}" if inside else f"there is nothing in {known}"
        else:
            close = nearest(name, [*frame.ends, *frame.entering])
            has = (
                f"did you mean {close}?"
                if close
                else f"the names here are {listed_and([*frame.entering, *frame.ends])}"
            )
        self.add(place, "unknown-layer", f"{layer.label}: {key}: no layer {name}: {has}", frame.uses)
        raise _Stop

    def children(self, path: str) -> list[str]:
        start = path + "."
        found = dict.fromkeys(known[len(start) :].partition(".")[0] for known in self.paths if known.startswith(start))
        return list(found)

    # --- operators

    def operator_group(
        self,
        layer: Layer,
        frame: _Frame,
        names: Mapping[str, Any],
        entering: Values,
        path: str,
        sharing: tuple[tuple[str, str], ...],
    ) -> Values:
        assert layer.op is not None
        if UNMADE[0] in entering:
            raise _Stop
        label = layer.label
        origin = Origin(self.document.file, layer.line, layer.column, label)
        own = self.call(layer.op, layer.fields, names, entering, label, frame)
        defaults = self.document.defaults.get(own.op, {})
        companions = []
        for role in ("norm", "activation"):
            tree, scope = (layer.fields[role], names) if role in layer.fields else (defaults.get(role), self.file_names)
            if tree is not None:
                call = self.companion(tree, scope, entering, f"{label}: {role}", frame)
                if call is not None:
                    companions.append((role, call))
        if not companions:
            return self.operator(own, label, origin, layer, frame, entering, path, sharing)
        end = self.operator(own, label, origin, layer, frame, entering, f"{path}.{own.op}", sharing)
        for role, call in companions:
            end = self.operator(call, f"{label}: {role}", origin, layer, frame, end, f"{path}.{role}", sharing)
        return end

    def call(
        self,
        op_tree: Scalar,
        own: Mapping[str, Tree],
        names: Mapping[str, Any],
        entering: Values,
        label: str,
        frame: _Frame,
    ) -> _Call:
        """An operator with its field values: the file's defaults for it, then its own; null drops a default.

        Inside a block, which is used many times, one without expressions is put together once.
        """
        known = self.calls.get(id(op_tree)) if frame.block is not None else None
        if known is not None:
            return known
        op = self.evaluate(op_tree, names, entering, f"{label}: op", frame)
        try:
            if not isinstance(op, str):
                raise Refusal("wrong-type", f"op must be an operator's name, not {shown(op)}")
            cls = find(op)
        except Refusal as refusal:
            self.add(op_tree, refusal.code, f"{label}: {refusal.message}", frame.uses)
            raise _Stop from None
        values: dict[str, Any] = {}
        written: dict[str, Tree] = {}
        defaults = self.document.defaults.get(op, {})
        for trees, scope in ((defaults, self.file_names), (own, names)):
            for field, tree in trees.items():
                if field in ("norm", "activation") or (trees is defaults and field in own):
                    continue
                value = self.evaluate(tree, scope, entering, f"{label}: {field}", frame)
                kind = cls.fields.get(field)
                if value is not None or (kind is not None and kind.optional):
                    values[field] = value
                    written[field] = tree
        call = _Call(op, values, written)
        if frame.block is not None and id(op_tree) not in self.calls:
            fixed = all(map(is_constant, (op_tree, *defaults.values(), *own.values())))
            self.calls[id(op_tree)] = call if fixed else None
        return call

    def companion(
        self, tree: Tree, names: Mapping[str, Any], entering: Values, what: str, frame: _Frame
    ) -> _Call | None:
        """The operator of a `norm` or an `activation`, or None."""
        if isinstance(tree, TreeMapping):
            op_tree = tree.get("op")
            assert isinstance(op_tree, Scalar)
            own = {key.text: value for key, value in tree.entries if key.text != "op"}
            return self.call(op_tree, own, names, entering, what, frame)
        assert isinstance(tree, Scalar)
        if self.evaluate(tree, names, entering, what, frame) is None:
            return None
        return self.call(tree, {}, names, entering, what, frame)

    def operator(
        self,
        call: _Call,
        label: str,
        origin: Origin,
        layer: Layer,
        frame: _Frame,
        entering: Values,
        path: str,
        sharing: tuple[tuple[str, str], ...],
    ) -> Values:
        """One node, its operator made, its shapes inferred."""
        self.take(len(entering))
        inputs = tuple(self.shape(value) for value in entering)
        try:
            operator = call.operator
            if operator is None:
                operator = call.operator = self.make(call.op, call.values)
            shapes = self.inferred.get((operator, inputs))
            if shapes is None:
                shapes = (inputs, operator.shapes(inputs))
                self.inferred[operator, inputs] = shapes
                self.check_size(operator, *shapes)
            inputs, outputs = shapes  # the same objects for all nodes that are alike
            shares = self.shared(path, sharing, operator, inputs) if sharing else None
        except Refusal as refusal:
            tree = call.written.get(refusal.field or "") if refusal.code != "kernel-too-large" else None
            message = advised(refusal, tree)
            if refusal.code == "wrong-arity" and layer.source is None:
                message += ": name them in `from`"
            self.add(tree or layer, refusal.code, f"{label}: {message}", frame.uses)
            raise _Stop from None
        node = Node(
            path=path,
            operator=operator,
            inputs=entering,
            input_shapes=inputs,
            output_shapes=outputs,
            shares=shares,
            origin=origin,
        )
        if len(self.nodes) >= self.max_nodes:
            raise _TooLarge(f"the network has more than {self.max_nodes:,} nodes: --max-nodes raises the limit")
        value = self.put(node, frame.uses)
        names = operator.output_names()
        if not names:
            self.paths[path] = (value,)
            return (value,)
        ends = tuple(Value(value.node, number) for number in range(len(outputs)))
        for name, end in zip(names, ends, strict=True):
            self.paths[f"{path}.{name}"] = (end,)
        self.paths[path] = ends
        return ends

    def make(self, op: str, fields: dict[str, Any]) -> Operator:
        """The operator of these fields; equal ones are made once."""
        key = (op, tuple((field, _hashable(value)) for field, value in fields.items()))
        made = self.operators.get(key)
        if made is None:
            made = self.operators[key] = create(op, **fields)
        return made

    def check_size(self, operator: Operator, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> None:
        for shape in outputs:
            if len(shape.dims) > MAX_RANK:
                message = f"its output has {len(shape.dims):,} dimensions; a tensor has at most {MAX_RANK}"
                raise Refusal("wrong-rank", message)
            if shape.numel > LARGEST_INTEGER:
                raise Refusal("too-large", f"its output {shown(shape.dims)} has more than 2^63 elements")
        for name, dims in operator.parameters(inputs).items():
            total = 1
            for dim in dims:
                total *= dim
            if total > LARGEST_INTEGER:
                raise Refusal("too-large", f"its {name} {shown(dims)} has more than 2^63 elements")

    def shared(
        self,
        path: str,
        sharing: tuple[tuple[str, str], ...],
        operator: Operator,
        inputs: tuple[Shape, ...],
    ) -> str | None:
        """The path of the node whose parameters this one uses; None where it has none."""
        own, other = sharing[-1]
        wanted = other + path[len(own) :]
        index = self.indices.get(wanted)
        if index is None and path == own:  # the other has a norm or an activation
            wanted, index = f"{wanted}.{operator.op}", self.indices.get(f"{wanted}.{operator.op}")
        elif index is None and path == f"{own}.{operator.op}":  # only this one has
            wanted, index = other, self.indices.get(other)
        if not operator.parameters(inputs):
            if path == own:
                raise Refusal("weights-mismatch", f"weights: {operator.op} has no parameters to take from {other}")
            return None
        if index is None:
            raise Refusal("weights-mismatch", f"weights: {other} has nothing that {path} could take")
        owner = self.nodes[index]
        theirs, mine = owner.operator.parameters(owner.input_shapes), operator.parameters(inputs)
        for name, dims in mine.items():
            if theirs.get(name) != dims:
                has = shown(theirs[name]) if name in theirs else "none"
                raise Refusal("weights-mismatch", f"weights: {name} is {shown(dims)} here and {has} in {wanted}")
        if set(theirs) != set(mine):
            extra = listed_and(sorted(set(theirs) - set(mine)))
            raise Refusal("weights-mismatch", f"weights: {wanted} has {extra} too, which {path} has not")
        return owner.shares or owner.path

    # --- blocks

    def block(
        self,
        layer: Layer,
        frame: _Frame,
        names: Mapping[str, Any],
        entering: Values,
        path: str,
        sharing: tuple[tuple[str, str], ...],
    ) -> Values:
        assert layer.block is not None
        label = layer.label
        name = self.evaluate(layer.block, names, entering, f"{label}: block", frame)
        block = self.document.blocks.get(name) if isinstance(name, str) else None
        if block is None:
            hint = parameter_hint(str(name), self.document.blocks)
            self.add(layer.block, "unknown-block", f"{label}: this file has no block {name}{hint}", frame.uses)
            raise _Stop
        if frame.level >= MAX_DEPTH:
            self.add(
                layer.block,
                "block-depth",
                f"{label}: blocks are nested more than {MAX_DEPTH} deep: does {block.name} use itself without end?",
            )
            raise _TooLarge
        inside = _Frame(
            prefix=path + ".",
            names={},
            entering=self.block_inputs(block, layer, frame, entering),
            block=block.name,
            ends={},
            level=frame.level + 1,
            uses=(*frame.uses, layer),
            sharing=sharing,
        )
        inside.names = self.arguments(block, layer, frame, names, entering)
        for key, tree in block.let.items():
            inside.names[key] = self.evaluate(tree, inside.names, entering, f"let {key}", inside)
        return self.layers(block.layers, inside)

    def block_inputs(self, block: Block, layer: Layer, frame: _Frame, entering: Values) -> dict[str, Values]:
        if not block.inputs:
            return {"input": entering}
        if len(entering) != len(block.inputs):
            self.add(
                layer,
                "wrong-arity",
                f"{layer.label}: block {block.name} takes {len(block.inputs)} inputs "
                f"({', '.join(block.inputs)}), not {len(entering)}",
                frame.uses,
            )
            raise _Stop
        return {name: (value,) for name, value in zip(block.inputs, entering, strict=True)}

    def arguments(
        self, block: Block, layer: Layer, frame: _Frame, names: Mapping[str, Any], entering: Values
    ) -> dict[str, Any]:
        """A block's parameters as this use of it gives them."""
        label = layer.label
        given: Any = {}
        if layer.arguments is not None:
            given = self.evaluate(layer.arguments, names, entering, f"{label}: with", frame)
        if given is None:
            given = {}
        if not isinstance(given, dict):
            self.add(layer.arguments, "wrong-type", f"{label}: with must be a map, not {shown(given)}", frame.uses)
            raise _Stop
        place: Any = layer.arguments if layer.arguments is not None else layer
        for name in given:
            if name not in block.parameters:
                message = f"{label}: block {block.name} has no parameter {name}"
                message += parameter_hint(str(name), block.parameters)
                self.add(place, "unknown-parameter", message, frame.uses)
                raise _Stop
        values: dict[str, Any] = {}
        for name, parameter in block.parameters.items():
            if name in given:
                try:
                    check_argument(parameter, given[name])
                except Refusal as refusal:
                    own = place.get(name) if isinstance(place, TreeMapping) else None
                    self.add(own or place, refusal.code, f"{label}: {name} {advised(refusal, own)}", frame.uses)
                    raise _Stop from None
                values[name] = given[name]
            elif parameter.required:
                self.add(
                    place,
                    "missing-parameter",
                    f"{label}: block {block.name} needs {name}: give it in `with`",
                    frame.uses,
                )
                raise _Stop
            else:
                values[name] = parameter.default
        return values

    # --- bounds

    def refuse_too_many(self, layer: Layer, count: int, frame: _Frame) -> None:
        """Known repeat counts are multiplied before anything is expanded."""
        least = 1 if layer.block is None else self.least_size(layer.block, ())
        more = count * max(least, 1)
        before = len(self.nodes)
        if before + more > self.max_nodes:
            total = f"{more:,}" if more < 10**20 else shown(more)
            beside = "" if more > self.max_nodes else f", beside {before:,} before them"
            self.add(
                layer.repeat if layer.repeat is not None else layer.parallel,
                "too-many-nodes",
                f"{layer.label}: {count:,} copies make at least {total} nodes{beside}; "
                f"a network has at most {self.max_nodes:,}: --max-nodes raises the limit",
                frame.uses,
            )
            raise _TooLarge

    def least_size(self, block: Scalar, seen: tuple[str, ...]) -> int:
        """The nodes a block has at the least: layers that may be absent and unknown counts are left out."""
        name = block.text
        if is_expression(block) or name in seen or len(seen) >= MAX_DEPTH or name not in self.document.blocks:
            return 0
        if name not in self.sizes:
            total = 0
            for layer in self.document.blocks[name].layers:
                if layer.when is not None:
                    continue
                each = 1 if layer.block is None else self.least_size(layer.block, (*seen, name))
                copies = layer.repeat if layer.repeat is not None else layer.parallel
                if isinstance(copies, TreeSequence):
                    each *= len(copies.items)
                elif isinstance(copies, Scalar):
                    each *= copies.value if isinstance(copies.value, int) else 0
                total += each
            self.sizes[name] = total
        return self.sizes[name]

    # --- the whole

    def run(
        self, given: Mapping[str, Any], variant: Variant | None, inputs: Mapping[str, Shape] | None
    ) -> dict[str, Any]:
        document = self.document
        settings: dict[str, Any] = {}
        with contextlib.suppress(_TooLarge):
            settings = self.settings(given, variant)
            if not self.mistakes:
                self.file_names = self.file_let(settings)
        if self.mistakes:
            raise SpecError(self.mistakes.values())
        names = self.file_names
        self.input_specs = specs = variant.inputs if variant is not None and variant.inputs else document.inputs
        frame = _Frame(prefix="", names=names, entering={}, block=None, ends={}, level=0, uses=(), sharing=())
        self.top = frame
        try:
            frame.entering = (
                self.make_inputs(specs, names) if inputs is None else self.given_inputs(specs, inputs, names)
            )
            self.layers(document.layers, frame)
        except _TooLarge as error:
            if error.args and not self.mistakes:
                started = next(layer for layer in document.layers if layer.name not in frame.ends)
                self.add(started, "too-many-nodes", f"{started.label}: {error}")
        return settings

    def file_let(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The file's names: its parameters, and its `let` as far as it can be evaluated."""
        names = dict(settings)
        unknown: set[str] = set()  # what could not be evaluated, and what needs that
        for key, tree in self.document.let.items():
            try:
                if unknown and unknown.intersection(mentioned(tree)):
                    raise _Stop
                names[key] = self.evaluate(tree, names, None, f"let {key}", None)
            except _Stop:
                unknown.add(key)
        return names

    def given_inputs(
        self, specs: tuple[InputSpec, ...], inputs: Mapping[str, Shape], names: Mapping[str, Any]
    ) -> dict[str, Values]:
        """The caller's dimensions in place of those of the file's inputs of the same names."""
        entering: dict[str, Values] = {}
        for spec in specs:
            try:
                samples = self.samples(spec, names)
            except _Stop:
                entering[spec.name] = UNMADE
                continue
            entering[spec.name] = self.put_input(spec, inputs[spec.name].dims, samples)
        return entering

    def output_values(self, written: tuple[Scalar, ...], training: bool) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for word in written:
            name = word.text
            if name in self.absent:
                if not training:
                    layer = self.absent[name][0]
                    reason = f"its {_absence(layer)} (line {layer.line})"
                    self.add(word, "absent-output", f"outputs: layer {name} is absent here, since {reason}")
                continue
            values = self.paths.get(name)
            if values is None:
                what = "training_outputs" if training else "outputs"
                if self.mistakes:  # what was not reached is not missing
                    continue
                self.add(word, "unknown-layer", f"{what}: no layer {name}")
                continue
            found.update(self.named_values(name, values))
        return found

    def named_values(self, name: str, values: Values) -> dict[str, Value]:
        """What a name stands for; of several outputs or copies each by the shortest path that stands for it."""
        if len(values) == 1:
            return {name: values[0]} if values != UNMADE else {}
        under = [path for path, value in self.paths.items() if path.startswith(f"{name}.") and len(value) == 1]
        under.sort(key=len)
        waiting: dict[Value, list[str]] = {}
        for path in reversed(under):
            waiting.setdefault(self.paths[path][0], []).append(path)
        return {waiting[value].pop(): value for value in values if value != UNMADE[0]}

    def outputs(self) -> dict[str, Value]:
        if self.document.outputs:
            return self.output_values(self.document.outputs, training=False)
        last = self.document.layers[-1]
        return self.named_values(last.name, self.top.ends.get(last.name, UNMADE))

    def reached(self, outputs: Iterable[Value]) -> set[int]:
        """The nodes that something of `outputs` depends on."""
        waiting = [value.node for value in outputs]
        found: set[int] = set()
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting.extend(value.node for value in self.nodes[index].inputs)
        return found

    def refuse_without_effect(self, live: set[int]) -> None:
        """A layer that reaches no output is an error; the last of a dead chain is named."""
        if len(live) == len(self.nodes):
            return
        taken = {value.node for node in self.nodes for value in node.inputs}
        following = _following(self.document)
        missed = {value.node: layer for layer, values in self.absent.values() for value in values}
        for index, node in enumerate(self.nodes):
            if index in live or index in taken:
                continue
            if node.is_input:
                spec = next(spec for spec in self.input_specs if spec.name == node.path)
                self.add(spec.shape, "no-effect", f"input {node.path} reaches no output")
                continue
            origin = node.origin
            message = f"{origin.label} reaches no output"
            if index in missed:
                taker = missed[index]
                reason = f"layer {taker.name} (line {taker.line}), which takes it, is absent: its {_absence(taker)}"
                message += f", since {reason}"
            else:
                after = following.get((origin.line, origin.column))
                if after is not None and after.source is not None:
                    written = plain(after.source)
                    took = ", ".join(map(str, written)) if isinstance(written, list) else written
                    message += f"; layer {after.name} after it takes {took} instead"
            self.add(origin, "no-effect", message, self.uses[index])


def _following(document: Document) -> dict[tuple[int, int], Layer]:
    """The layer after each layer of a list, by place."""
    found: dict[tuple[int, int], Layer] = {}
    for layers in (document.layers, *(block.layers for block in document.blocks.values())):
        for layer, after in pairwise(layers):
            found[(layer.line, layer.column)] = after
    return found


def _absence(layer: Layer) -> str:
    """Why a layer may not be there."""
    if layer.when is None:
        return "repeat is 0"
    return "when is false" if layer.repeat is None else "when is false or its repeat 0"


def _speaks_of_channels(tree: Tree) -> bool:
    source = expression_source(tree)
    return source is not None and "in_channels" in parse_expression(source).names


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((key, _hashable(item)) for key, item in value.items())
    return (type(value), value)  # 1, 1.0 and true are different values here


def _title(document: Document, variant: Variant | None) -> str | None:
    """A variant without a title of its own has the file's, told apart by its name."""
    if variant is None:
        return document.title
    return variant.title or (f"{document.title}: {variant.name}" if document.title else None)


@rare_collections()
def expand_partly(
    document: Document,
    variant: Variant | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    inputs: Mapping[str, Shape] | None = None,
    max_nodes: int = MAX_NODES,
) -> Expansion:
    """Expand as far as the mistakes allow: the nodes that could be made, with all mistakes found.

    Raises SpecError where not even the parameters are right.
    """
    expander = _Expander(document, max_nodes)
    settings = expander.run(parameters or {}, variant, inputs)
    outputs = expander.outputs()
    training = expander.output_values(document.training_outputs, training=True)
    live = expander.reached(outputs.values())
    if not expander.mistakes:
        with contextlib.suppress(_TooLarge):
            expander.refuse_without_effect(live | expander.reached(training.values()))
    nodes = expander.nodes
    if training and not expander.mistakes:
        nodes = [
            node if index in live or node.is_input else msgspec.structs.replace(node, training_only=True)
            for index, node in enumerate(nodes)
        ]
    graph = Graph(
        name=variant.name if variant else document.name,
        nodes=tuple(nodes),
        outputs=outputs,
        training_outputs=training,
        title=_title(document, variant),
        year=(variant.year if variant else None) or document.year,
        source=(variant.source if variant else None) or document.source,
        counting=document.counting,
        fold=document.fold,
        parameters=settings,
    )
    return Expansion(graph, tuple(sorted(expander.mistakes.values())))


def expand(
    document: Document,
    variant: Variant | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    inputs: Mapping[str, Shape] | None = None,
    max_nodes: int = MAX_NODES,
) -> Graph:
    """The Graph of a document, for a variant and for the caller's parameters. Raises SpecError.

    `inputs` puts other dimensions in place of the file's, by input name.
    """
    expansion = expand_partly(document, variant, parameters, inputs=inputs, max_nodes=max_nodes)
    if expansion.mistakes:
        raise SpecError(expansion.mistakes)
    return expansion.graph
