"""An imported Graph as the text of a spec."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from archprof.errors import Refusal, UsageError
from archprof.graph import Graph, Node, Value
from archprof.importer.operators import Traced, Variant
from archprof.operators import REGISTRY, Operator
from archprof.operators.base import Integers
from archprof.operators.elementwise import Add, Identity, Multiply, Subtract
from archprof.operators.layout import Reshape, SplitSize
from archprof.shape import Shape

_TAKEN = frozenset(("input", "previous", "null", "true", "false"))  # words that YAML or the language reads otherwise
_LONGEST = 80  # of a name, with room for a number behind it
_NAMED = 4  # places that a message names


def spec_text(graph: Graph, source: str) -> str:
    """A spec that builds to the same parameters and outputs: a layer a node, named by its path.

    Raises UsageError, which names what the language has no operator for.
    """
    return _Writer(graph, source).text()


class _Writer:
    def __init__(self, graph: Graph, source: str) -> None:
        self.graph = graph
        self.source = source
        self.layers: list[str] = []
        self.names: dict[Value, str] = {}
        self.shapes: dict[Value, Shape] = {}
        self.taken = set(_TAKEN)
        self.owners: dict[str, tuple[str, Node]] = {}  # by path: the layer, and its node
        self.before: str | None = None  # what a layer takes that does not say it
        self.missing: dict[str, list[str]] = {}
        self.params = self.multiply_adds = 0

    def text(self) -> str:
        live = self.live()
        inputs = [(index, node) for index, node in enumerate(self.graph.nodes) if node.is_input]
        for index, node in inputs:
            name = "input" if len(inputs) == 1 else self.unique(node.path)
            self.names[Value(index)], self.shapes[Value(index)] = name, node.output_shapes[0]
            if node.output_shapes[0].samples != 1:
                self.lack(node, "a batch that is not the first dimension")
        self.before = "input" if len(inputs) == 1 else None
        for index, node in enumerate(self.graph.nodes):
            if node.is_input:
                continue
            if isinstance(node.operator, Traced) and node.operator.writes:
                self.lack(node, f"{node.operator.op} into a tensor that is read elsewhere")
            elif index in live:
                self.write(index, node)
            elif node.operator.parameters(node.input_shapes):
                self.lack(node, "a parameter that reaches no output")
        outputs = [self.output(value) for value in self.graph.outputs.values()]
        if self.missing:
            said = ", ".join(f"{what} ({_some(paths)})" for what, paths in self.missing.items())
            raise UsageError(f"{self.source} cannot be written as a spec; the language does not have: {said}")
        lines = [
            f"name: {self.legal(self.graph.name)}",
            f"source: {json.dumps(f'imported from {self.source}')}",
            f"input: {self.inputs([node for _, node in inputs])}",
            "layers:",
            *self.layers,
        ]
        if outputs != [self.before]:
            lines.append(f"outputs: [{', '.join(outputs)}]")
        lines.append(f"expect: {{params: {self.params}, multiply_adds: {self.multiply_adds}}}")
        return "\n".join(lines) + "\n"

    def live(self) -> set[int]:
        """The nodes that reach an output."""
        found = {value.node for value in self.graph.outputs.values()}
        for index in range(len(self.graph.nodes) - 1, -1, -1):
            if index in found:
                found.update(value.node for value in self.graph.nodes[index].inputs)
        return found

    def lack(self, node: Node, what: str) -> None:
        self.missing.setdefault(what, []).append(node.path)

    # --- names

    def legal(self, name: str) -> str:
        text = re.sub(r"[^A-Za-z0-9_-]+", "_", name.replace(".", "_"))[:_LONGEST]
        return text if re.match(r"[A-Za-z_]", text) else f"layer_{text}"

    def unique(self, path: str) -> str:
        wanted = name = self.legal(path)
        number = 2
        while name.lower() in self.taken:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name.lower())
        return name

    # --- layers

    def write(self, index: int, node: Node) -> None:
        operator = node.operator
        if isinstance(operator, Variant) and operator.only_frozen(node.input_shapes):
            operator = operator.inner
        chain = operator.written if isinstance(operator, Traced) else (operator,)
        if not chain or any(type(each) is not REGISTRY.get(each.op) for each in chain):
            self.lack(node, _form(node, operator))
            return
        if any(value not in self.names for value in node.inputs):
            return  # what it takes is missing already
        values = list(node.inputs)
        if isinstance(operator, (Add, Subtract, Multiply)):
            values = [self.of_rank(node, value, len(node.output_shapes[0].dims)) for value in values]
        taken = [self.names[value] for value in values]
        shapes = tuple(self.shapes[value] for value in values)
        outputs: tuple[Shape, ...] = ()
        name = ""
        for place, each in enumerate(chain):
            name = self.unique(node.path if place == len(chain) - 1 else f"{node.path}.{each.op}")
            try:
                outputs = each.shapes(shapes)
            except Refusal as refusal:
                self.lack(node, f"{each.op} where {refusal.message}")
                return
            self.add(name, each, taken, shapes, outputs, node)
            taken, shapes = [name], outputs
        if outputs != node.output_shapes[: len(outputs)]:
            self.lack(node, f"{operator.op} from {node.input_shapes[0]} to {node.output_shapes[0]}")
            return
        ends = chain[-1].output_names()
        for number, shape in enumerate(outputs):
            value = Value(index, number)
            self.names[value] = f"{name}.{ends[number]}" if ends else name
            self.shapes[value] = shape

    def of_rank(self, node: Node, value: Value, rank: int) -> Value:
        """What is broadcast in torch, where shapes line up at their ends, with ones before its own dimensions."""
        shape = self.shapes[value]
        if len(shape.dims) >= rank:
            return value
        wider = Value(-1 - len(self.shapes))  # a node of the spec alone
        operator = Reshape(shape=(1,) * (rank - len(shape.dims)) + shape.dims)
        name = self.unique(f"{node.path}.reshape")
        outputs = operator.shapes((shape,))
        self.add(name, operator, [self.names[value]], (shape,), outputs, None)
        self.names[wider], self.shapes[wider] = name, outputs[0]
        return wider

    def add(
        self,
        name: str,
        operator: Operator,
        taken: Sequence[str],
        shapes: tuple[Shape, ...],
        outputs: tuple[Shape, ...],
        node: Node | None,
    ) -> None:
        """Write one layer."""
        said: dict[str, str] = {"name": name, "op": operator.op}
        if list(taken) != [self.before]:
            said["from"] = taken[0] if len(taken) == 1 else f"[{', '.join(taken)}]"
        said |= {field: _written(value) for field, value in _fields(operator).items()}
        if node is not None and node.shares is not None:
            owner, first = self.owners[node.shares]
            if dict(first.operator.parameters(first.input_shapes)) != dict(operator.parameters(shapes)):
                self.lack(node, f"{operator.op} with the weights of {first.operator.op} ({first.path})")
            said["weights"] = owner
        else:
            self.params += sum(map(_size, operator.parameters(shapes).values()))
            if node is not None:
                self.owners[node.path] = (name, node)
        cost = operator.cost(shapes, outputs)
        self.multiply_adds += cost.multiply_adds if cost is not None else 0
        self.before = None if operator.output_names() else name
        self.layers.append("  - {" + ", ".join(f"{key}: {value}" for key, value in said.items()) + "}")

    # --- the ends

    def inputs(self, nodes: Sequence[Node]) -> str:
        entries = []
        for node, name in zip(nodes, list(self.names.values())[: len(nodes)], strict=True):
            shape = node.output_shapes[0]
            dims = f"[{', '.join(map(str, shape.dims))}]"
            if shape.dtype != "float":
                dims = f"{{shape: {dims}, dtype: {shape.dtype}}}"
            if len(nodes) == 1 and shape.dtype == "float":
                return dims
            entries.append(f"{self.legal(node.path) if len(nodes) == 1 else name}: {dims}")
        return "{" + ", ".join(entries) + "}"

    def output(self, value: Value) -> str:
        if value not in self.names:
            return ""
        if not self.graph.nodes[value.node].is_input:
            return self.names[value]
        name = self.unique("output")
        shape = self.shapes[value]
        self.add(name, Identity(), [self.names[value]], (shape,), (shape,), None)
        return name


def _form(node: Node, operator: Operator) -> str:
    """What the language lacks, in the words of a message."""
    if not isinstance(operator, Variant):
        return operator.op
    if not operator.weights_given:
        return f"{operator.op} in this form"
    computed = len(node.inputs) > operator.taken
    return f"{operator.op} with {'computed weights' if computed else 'some of the weights of another layer'}"


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more


def _fields(operator: Operator) -> Mapping[str, Any]:
    """The fields that differ from their defaults, as a spec has them."""
    names, defaults = operator.__struct_fields__, operator.__struct_defaults__
    usual = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    found = {}
    for name, kind in operator.fields.items():
        value = getattr(operator, name)
        if name in usual and value == usual[name]:
            continue
        is_list = isinstance(kind, SplitSize) or (isinstance(kind, Integers) and kind.length is None)
        found[name] = value if is_list else _shortest(value)
    return found


def _shortest(value: Any) -> Any:
    """One number where a list has it in every place, pairs of padding too."""
    if isinstance(value, tuple):
        items = [_shortest(item) for item in value]
        if items and all(item == items[0] and not isinstance(item, (list, tuple)) for item in items):
            return items[0]
        if any(isinstance(item, (list, tuple)) for item in items):
            return [[item, item] if not isinstance(item, (list, tuple)) else item for item in items]
        return items
    return value


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_written, value))}]"
    return str(value)


def _size(dims: tuple[int, ...]) -> int:
    size = 1
    for dim in dims:
        size *= dim
    return size
