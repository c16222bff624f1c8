"""A network as the source of a PyTorch module that stands alone, without archprof."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from torch import Tensor, nn

from archprof.building.builder import (
    Modules,
    argument_name,
    called,
    class_name,
    identifier,
    make_modules,
    module_name,
    outputs_of,
)
from archprof.errors import UsageError
from archprof.graph import Graph, Node, Value
from archprof.operators import modules as own
from archprof.shape import Shape

WIDTH = 120
_INDENT = "    "
_IMPORTS = {  # the names that the printed classes may use, and what brings them
    "Any": "from typing import Any",
    "torch": "import torch",
    "Tensor": "from torch import Tensor, nn",
    "nn": "from torch import Tensor, nn",
    "functional": "from torch.nn import functional",
}
# one integer for every dimension
_SIZES = ("kernel_size", "stride", "padding", "output_padding", "dilation", "output_size", "scale_factor")


def source(graph: Graph, *, train: bool = False) -> str:
    """A Python module with the network as a class: the same keys in its state_dict, the same outputs.

    Raises UsageError for a module that does not keep what it is made with.
    """
    modules = make_modules(graph, train, "meta", bare=True)
    classes = _own_classes(modules)
    network = _Network(graph, modules, train, taken={*classes, *_IMPORTS})
    body = network.text()
    pieces = [inspect.getsource(cls).rstrip() for cls in classes.values()]
    used = {name.id for name in ast.walk(ast.parse("\n".join([*pieces, body]))) if isinstance(name, ast.Name)}
    imports = _imports(used & set(_IMPORTS), _foreign_classes(modules))
    return "\n\n\n".join([imports, *pieces, body]) + "\n"


def _own_classes(modules: Modules) -> dict[str, type[nn.Module]]:
    """archprof's own module classes that the network needs, in the order of their source."""
    used = {type(module) for module in modules.of.values()}
    return {
        name: cls
        for name, cls in vars(own).items()
        if inspect.isclass(cls) and cls in used and cls.__module__ == own.__name__
    }


def _foreign_classes(modules: Modules) -> set[type[nn.Module]]:
    """Module classes of neither torch nor archprof: those of operators that a user added."""
    used = {type(module) for module in modules.of.values()}
    return {cls for cls in used if cls.__module__ != own.__name__ and getattr(nn, cls.__name__, None) is not cls}


def _imports(names: Iterable[str], foreign: Iterable[type[nn.Module]]) -> str:
    wanted = {_IMPORTS[name] for name in names}
    lines = [line for line in dict.fromkeys(_IMPORTS.values()) if line in wanted]
    if lines and lines[0].startswith("from typing"):
        lines.insert(1, "")
    others = sorted(f"from {cls.__module__} import {cls.__name__}" for cls in foreign)
    return "\n".join([*lines, "", *others] if others else lines)


class _Folder(msgspec.Struct):
    """A name that other names lie under: how it is made, and how these are reached."""

    children: list[str]
    is_module: bool = False  # a node's own module

    @property
    def kind(self) -> str:
        if self.is_module or all(name.isidentifier() for name in self.children):
            return "Module"
        if self.children == [str(index) for index in range(len(self.children))]:
            return "ModuleList"
        return "Module" if set(self.children) & set(dir(nn.ModuleDict())) else "ModuleDict"


class _Network:
    """Writes the class of a network."""

    def __init__(self, graph: Graph, modules: Modules, train: bool, taken: set[str]) -> None:
        self.graph = graph
        self.modules = modules
        self.train = train
        self.name = class_name(graph.name)
        if self.name in taken:
            self.name += "Network"
        self.reserved = {*taken, self.name, *dir(builtins)}
        numbers = {node.path: index for index, node in enumerate(graph.nodes)}
        self.nodes = [(numbers[node.path], node) for node in called(graph, train)]
        self.folders: dict[tuple[str, ...], _Folder] = {(): _Folder([], is_module=True)}
        for _, node in self.nodes:
            self.grow(self.parts(node.path))

    def parts(self, path: str) -> tuple[str, ...]:
        """The names that lead to a node's module."""
        return tuple(module_name(self.modules.homes[path]).split("."))

    def grow(self, parts: tuple[str, ...]) -> None:
        for depth in range(len(parts)):
            folder = self.folders.setdefault(parts[:depth], _Folder([]))
            if parts[depth] not in folder.children:
                folder.children.append(parts[depth])

    def text(self) -> str:
        inits = ["super().__init__()", *self.construction()]
        arguments, forward = self.forward()
        several = len(outputs_of(self.graph, self.train)) > 1
        head = [f"class {self.name}(nn.Module):", *_indented(self.docstring(), 1), ""]
        result = "dict[str, Tensor]" if several else "Tensor"
        signature = call("def forward", ["self", *(f"{name}: Tensor" for name in arguments)], 1, f" -> {result}:")
        return "\n".join(
            [
                *head,
                f"{_INDENT}def __init__(self) -> None:",
                *_indented(inits, 2),
                "",
                *_indented(signature, 1),
                *_indented(forward, 2),
            ]
        )

    def docstring(self) -> list[str]:
        from archprof import __version__

        graph = self.graph
        title = ": ".join(_safe(text) for text in (graph.title or graph.name, graph.source) if text)
        takes = " and ".join(_shape_text(node.output_shapes[0]) for node in graph.inputs)
        ends = outputs_of(graph, self.train)
        shapes = {name: graph.nodes[end.node].output_shapes[end.output] for name, end in ends.items()}
        gives = (
            " and ".join(f"{name} {_shape_text(shape)}" for name, shape in shapes.items())
            if len(shapes) > 1
            else _shape_text(next(iter(shapes.values())))
        )
        heads = ", with the heads that only training uses" if self.train and graph.training_outputs else ""
        body = f"Takes {takes}, gives {gives}{heads}. Printed by archprof {__version__}."
        summary = textwrap.wrap(f'"""{title.rstrip(".")}.', WIDTH - 4)
        return [*summary, "", *textwrap.wrap(body, WIDTH - 4), '"""']

    # --- __init__

    def construction(self) -> list[str]:
        lines: list[str] = []
        there: set[tuple[str, ...]] = set()
        for _, node in self.nodes:
            parts = self.parts(node.path)
            for depth in range(1, len(parts)):
                if parts[:depth] not in there:
                    there.add(parts[:depth])
                    lines.extend(self.addition(parts[:depth], f"nn.{self.folders[parts[:depth]].kind}", []))
            if parts in there:
                continue
            there.add(parts)
            lines.extend(self.addition(parts, *_constructor(self.modules.of[node.path], node.path)))
            source_path = self.modules.sources.get(node.path)
            if source_path is not None:
                mine, theirs = self.reference(parts), self.reference(self.parts(source_path))
                module = self.modules.of[node.path]
                for name, _ in [*module.named_parameters(), *module.named_buffers()]:
                    lines.append(f"{mine}.{name} = {theirs}.{name}")
        return lines

    def addition(self, parts: tuple[str, ...], constructor: str, arguments: Sequence[str]) -> list[str]:
        """The statement that puts a module at its place."""
        *above, name = parts
        folder, place = self.folders[tuple(above)], self.reference(above)
        if folder.kind == "ModuleList":
            return call(f"{place}.append({constructor}", arguments, 2, ")")
        if name.isidentifier():
            return call(f"{place}.{name} = {constructor}", arguments, 2)
        if folder.kind == "ModuleDict":
            return call(f"{place}[{_quoted(name)}] = {constructor}", arguments, 2)
        return call(f"{place}.add_module", [_quoted(name), f"{constructor}({', '.join(arguments)})"], 2)

    def reference(self, parts: Sequence[str]) -> str:
        """How code in the class reaches a module."""
        text = "self"
        for depth, name in enumerate(parts):
            kind = self.folders[tuple(parts[:depth])].kind
            if kind == "ModuleList":
                text += f"[{name}]"
            elif name.isidentifier():
                text += f".{name}"
            else:
                text += f"[{_quoted(name)}]" if kind == "ModuleDict" else f".get_submodule({_quoted(name)})"
        return text

    # --- forward

    def forward(self) -> tuple[list[str], list[str]]:
        """The names of the arguments, and a statement a node.

        A value that only the next statement takes is called x; another after its layer, by as much of its path
        as tells it from those still needed.
        """
        steps = {index: number for number, (index, _) in enumerate(self.nodes)}
        outputs = outputs_of(self.graph, self.train)
        last, first = self.uses(steps)
        names: dict[Value, str] = {}
        needed: dict[str, int] = {}  # name -> the last step that takes what it stands for
        for index, node in enumerate(self.graph.nodes):
            if node.is_input:
                value = Value(index)
                name = "x" if len(self.graph.inputs) == 1 else self.argument(node.path, needed)
                names[value] = name
                needed[name] = last.get(value, -1)
        arguments = list(needed)
        lines: list[str] = []
        for step, (index, node) in enumerate(self.nodes):
            given = [names[value] for value in node.inputs]
            targets = []
            for number in range(len(node.output_shapes)):
                value = Value(index, number)
                if value not in last:
                    targets.append("_")
                    continue
                only_next = first[value] == last[value] == step + 1
                names[value] = self.variable(node, number, needed, step, only_next)
                needed[names[value]] = last[value]
                targets.append(names[value])
            called = self.reference(self.parts(node.path))
            in_a_tuple = bool(node.operator.output_names())
            if [Value(index)] == list(outputs.values()) and step == len(self.nodes) - 1 and not in_a_tuple:
                return arguments, [*lines, *call(f"return {called}", given, 2)]
            left = f"({targets[0]},) = " if in_a_tuple and len(targets) == 1 else f"{', '.join(targets)} = "
            if set(targets) == {"_"}:
                left = ""
            lines.extend(call(f"{left}{called}", given, 2))
        ends = {name: names[value] for name, value in outputs.items()}
        if len(ends) == 1:
            return arguments, [*lines, f"return {next(iter(ends.values()))}"]
        items = [f"{_quoted(name)}: {value}" for name, value in ends.items()]
        return arguments, [*lines, *_exploded("return {", items, "}", 2)]

    def uses(self, steps: Mapping[int, int]) -> tuple[dict[Value, int], dict[Value, int]]:
        """The last and the first step that takes each value; the return is one more step."""
        last: dict[Value, int] = {}
        first: dict[Value, int] = {}
        taken = [(value, steps[index]) for index, node in self.nodes for value in node.inputs]
        taken += [(value, len(self.nodes)) for value in outputs_of(self.graph, self.train).values()]
        for value, step in taken:
            last[value] = max(step, last.get(value, step))
            first[value] = min(step, first.get(value, step))
        return last, first

    def variable(self, node: Node, number: int, needed: Mapping[str, int], step: int, only_next: bool) -> str:
        """A name that stands for nothing that is still needed after this step."""
        parts = node.path.split(".")
        if len(parts) > 1 and parts[-1] in (node.operator.op, "norm", "activation") and not parts[-2].isdigit():
            parts.pop()  # the layer's name says more
        output_names = node.operator.output_names()
        if output_names:
            parts.append(output_names[number])
        candidates = ["x"] if only_next else []
        candidates += ["_".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        for candidate in candidates:
            if candidate[0].isdigit():
                continue
            name = identifier(candidate).lower()
            if name not in self.reserved and needed.get(name, -1) <= step:
                return name
        longest = f"layer_{identifier('_'.join(parts)).lower()}"
        while needed.get(longest, -1) > step:
            longest += "_"
        return longest

    def argument(self, path: str, taken: Mapping[str, int]) -> str:
        name = argument_name(path.lower(), taken)
        while name in self.reserved or name in taken:
            name += "_"
        return name


# --- the text of calls and values


def call(head: str, arguments: Sequence[str], depth: int, tail: str = "") -> list[str]:
    """The lines of a call at a depth of indentation: one if it fits, else an argument a line."""
    return _exploded(f"{head}(", arguments, f"){tail}", depth)


def _exploded(opening: str, items: Sequence[str], closing: str, depth: int) -> list[str]:
    flat = f"{opening}{', '.join(items)}{closing}"
    if len(flat) + len(_INDENT) * depth <= WIDTH:
        return [flat]
    return [opening, *(f"{_INDENT}{item}," for item in items), closing]


def _indented(lines: Iterable[str], depth: int) -> list[str]:
    return [f"{_INDENT * depth}{line}" if line else "" for line in lines]


def _constructor(module: nn.Module, path: str) -> tuple[str, list[str]]:
    """The class of a module as the source names it, and the arguments that make such a module."""
    cls = type(module)
    name = f"nn.{cls.__name__}" if getattr(nn, cls.__name__, None) is cls else cls.__name__
    arguments = []
    for parameter in _parameters(cls):
        required = parameter.default is inspect.Parameter.empty
        if not hasattr(module, parameter.name):
            if required:
                raise UsageError(
                    f"{path}: {cls.__name__} does not keep its {parameter.name}: its code cannot be printed"
                )
            continue
        value = getattr(module, parameter.name)
        if isinstance(value, Tensor) or (value is None and isinstance(parameter.default, bool)):
            value = value is not None  # bias: the tensor, or None
        if parameter.name in _SIZES and isinstance(value, tuple) and len(set(value)) == 1 and value[0] is not None:
            value = value[0]
        if required:
            arguments.append(_text(value))
        elif value != parameter.default:
            arguments.append(f"{parameter.name}={_text(value)}")
    return name, arguments


def _parameters(cls: type[nn.Module]) -> list[inspect.Parameter]:
    """What a class is made with, through the *args and **kwargs that it hands on."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        hands_on = False
        for parameter in parameters:
            if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                hands_on = True
            elif parameter.name not in ("device", "dtype") and (base, parameter.name) != (nn.RNNBase, "mode"):
                found.setdefault(parameter.name, parameter)
        if not hands_on:
            break
    return list(found.values())


def _text(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """A Python string with double quotes."""
    return msgspec.json.encode(text).decode()


def _safe(text: str) -> str:
    """A text that ends no docstring and holds no control characters."""
    return (
        " ".join("".join(each if each.isprintable() else " " for each in text).split())
        .replace("\\", "/")
        .replace('"', "'")
    )


def _shape_text(shape: Shape) -> str:
    batch = "N" if shape.samples == 1 else f"{shape.samples} N"
    kind = "" if shape.dtype == "float" else f" {shape.dtype}"
    return f"({', '.join([batch, *map(str, shape.dims)])}){kind}"
