"""What several commands share: options that say which network, and how its graph is made."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from archprof.analysis import CONVENTIONS
from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.operators import hint
from archprof.report import PIPE, Surface, surface_of, write_output
from archprof.shape import Shape
from archprof.spec import MAX_NODES, Expansion, expand_partly, find_spec
from archprof.spec.document import Document, Variant
from archprof.spec.errors import Mistake, SpecError
from archprof.spec.library import has_variant

SpecArgument = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="A spec file, FILE:VARIANT, a shipped name (archprof list), or - for stdin."),
]
NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="NETWORK",
        help="A spec file, FILE:VARIANT, a shipped name (archprof list), - for stdin, package.module:callable, a "
        "torch module with its --input, or model.onnx.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Give one of the spec's parameters a value.")
]
InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="An input's shape without the batch, as 3x384x384; NAME=SHAPE where there are several, of a torch module "
        "128:int64 for indices.",
    ),
]
CountingOption = Annotated[
    str | None, typer.Option("--counting", help=f"What one FLOP is: {', '.join(CONVENTIONS)}. Default: the spec's own.")
]
BatchOption = Annotated[int, typer.Option("--batch", "-b", min=1, help="Network inputs in a batch.")]
TrainOption = Annotated[bool, typer.Option("--train", help="The training graph, with the heads that only it has.")]
MaxNodesOption = Annotated[int, typer.Option("--max-nodes", min=1, help="The most nodes a network may have.")]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write to a file, whole or not at all.")
]


def settings(given: Sequence[str] | None) -> dict[str, Any]:
    """`NAME=VALUE` pairs; values are YAML (50, 1.5, true, word, [1, 2])."""
    from archprof.spec.reader import plain, read

    found: dict[str, Any] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: write --set name=value")
        if name in found:
            raise UsageError(f"--set {name} is given twice")
        try:
            found[name] = plain(read(f"value: {value}".encode(errors="surrogateescape"), "--set"))["value"]
        except SpecError as error:
            raise UsageError(f"--set {pair}: {error.mistakes[0].message}") from None
    return found


def input_shapes(given: Sequence[str] | None, document: Document, variant: Variant | None) -> dict[str, Shape] | None:
    """The shapes of `--input`, by input name."""
    if not given:
        return None
    specs = variant.inputs if variant is not None and variant.inputs else document.inputs
    names = [spec.name for spec in specs]
    found: dict[str, Shape] = {}
    for text in given:
        name, equals, shape = text.rpartition("=")
        if not equals:
            if len(names) > 1:
                raise UsageError(f"--input {text}: there are inputs {', '.join(names)}: write NAME=SHAPE")
            name = names[0]
        if name not in names:
            raise UsageError(f"--input {text}: no input is called {name}; there is {', '.join(names)}")
        parts = shape.split("x")
        if not all(
            part.isascii() and part.isdigit() and 0 < int(part) < 2**31 for part in parts if len(part) < 12
        ) or any(len(part) >= 12 for part in parts):
            raise UsageError(f"--input {text}: write the dimensions as 3x224x224, channels first")
        spec = specs[names.index(name)]
        found[name] = Shape(tuple(map(int, parts)), 1, spec.dtype)
    missing = [name for name in names if name not in found]
    if missing:
        raise UsageError(f"--input: give {', '.join(missing)} too")
    return found


def expansion(
    document: Document,
    variant: Variant | None,
    given: Sequence[str] | None,
    inputs: Sequence[str] | None,
    max_nodes: int = MAX_NODES,
) -> Expansion:
    """Expand a document with the options of a command, keeping its mistakes for the caller."""
    return expand_partly(
        document, variant, settings(given), inputs=input_shapes(inputs, document, variant), max_nodes=max_nodes
    )


def graph_of(made: Expansion) -> Graph:
    """The graph of an expansion without mistakes. Raises SpecError with them."""
    if made.mistakes:
        raise SpecError(made.mistakes)
    return made.graph


class Network(NamedTuple):
    """A network that a command line names: its graph, and where that is written."""

    graph: Graph
    document: Document | None = None  # None: a torch module
    variant: Variant | None = None
    mistakes: tuple[Mistake, ...] = ()  # which stopped the rest of the graph


def find_network(
    name: str,
    given: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    max_nodes: int = MAX_NODES,
    *,
    train: bool = False,
) -> Network:
    """The network that a command line names: a spec as `find_spec` knows it, a torch module, or an ONNX file.

    `given` are `--set`, a spec's parameters or a callable's arguments, `inputs` are `--input`. With `train` a torch
    module is traced in training mode. A graph stops at the mistakes of its spec. Raises ArchprofError.
    """
    if is_imported(name):
        from archprof.importer.locate import import_network

        return Network(import_network(name, inputs or (), settings(given), train=train))
    document, variant = find_spec(name)
    made = expansion(document, variant, given, inputs, max_nodes)
    return Network(made.graph, document, variant, made.mistakes)


def whole_network(
    name: str,
    given: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    max_nodes: int = MAX_NODES,
    *,
    train: bool = False,
) -> Network:
    """As `find_network`, but a spec's mistakes are raised."""
    found = find_network(name, given, inputs, max_nodes, train=train)
    if found.mistakes:
        raise SpecError(found.mistakes)
    return found


def is_imported(name: str) -> bool:
    """Whether a command line means what no spec says: a torch module or an ONNX file."""
    return is_onnx(name) or is_module(name)


def is_onnx(name: str) -> bool:
    """Whether a command line means an ONNX file."""
    return name.endswith(".onnx")


def is_module(name: str) -> bool:
    """Whether a command line means a torch module: spelt so, and neither a spec nor a variant of one."""
    place, colon, attribute = name.partition(":")
    if not colon or Path(name).exists() or Path(place).is_file():
        return False
    from archprof.importer.locate import is_importable, is_reference

    if not is_reference(name):
        return False
    known = has_variant(place, attribute)
    return known is None or (not known and is_importable(place))


def fold_depth(given: str | None, own: int | None) -> int | None:
    """The depth that `--fold` asks for; None shows every node. Raises UsageError."""
    if given is None:
        return own
    if given == "all":
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise UsageError(f"--fold {given}: write a depth of the node paths, as 1, or all")
    return int(given)


def surface(output: str | None) -> Surface:
    """What a report is written on: a file, or what standard output is."""
    return PIPE if output is not None or sys.stdout is None else surface_of(sys.stdout)


def put_out(text: str, output: str | None = None) -> None:
    """Write a report to a file, or to standard output. Raises UsageError where it cannot be written."""
    if output is not None:
        write_output(text, output)
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter flushes it again
        if isinstance(error, BrokenPipeError):  # the reader (head, less) left
            raise typer.Exit(141) from None
        raise UsageError(f"cannot write to standard output: {error.strerror}") from None


def append_step_summary(text: str) -> None:
    """Add Markdown to the page of a GitHub Actions job, where there is one. Raises UsageError."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(f"cannot write GITHUB_STEP_SUMMARY {path}: {error.strerror}") from None


def one_of(given: str, known: Collection[str], what: str) -> None:
    """Refuse a word that is none of those known. Raises UsageError with the nearest."""
    if given not in known:
        raise UsageError(f"unknown {what} {given}: {hint(given, known)}")
