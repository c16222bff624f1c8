"""The spec language as typed data: what a file says, before any expression is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from archprof.spec.reader import Scalar, Tree


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a file or a block may be given a value for."""

    name: str
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    step: int | None = None  # from the minimum on: 8, 14, 20, ...
    help: str | None = None
    line: int
    column: int


class Layer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of a list of layers. Trees are kept as written: expressions in them wait for the expansion."""

    name: str
    op: Scalar | None = None  # exactly one of op and block is given
    block: Scalar | None = None
    source: Tree | None = None  # `from`
    repeat: Tree | None = None
    parallel: Tree | None = None
    share: bool = False
    when: Scalar | None = None
    arguments: Tree | None = None  # `with`
    weights: Scalar | None = None
    fields: Mapping[str, Tree]  # the operator's own, and `norm` and `activation`
    line: int
    column: int

    @property
    def label(self) -> str:
        """How a message names it."""
        kind = self.op or self.block
        assert kind is not None
        return f"layer {self.name}" if kind.text == self.name else f"layer {self.name} ({kind.text})"


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A named list of layers with parameters of its own."""

    name: str
    parameters: Mapping[str, Parameter]
    let: Mapping[str, Tree]
    inputs: tuple[str, ...] = ()  # names of several inputs; empty: one, called `input`
    layers: tuple[Layer, ...]


class InputSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An input of the network: its dimensions may be expressions."""

    name: str
    shape: Tree
    dtype: str = "float"
    samples: Tree | None = None


class Expect(msgspec.Struct, frozen=True, kw_only=True):
    """What a spec says its figures are: quantity -> exact number or printed text, with its place."""

    values: Mapping[str, Tree] = {}
    published: Scalar | None = None


class PublishedErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Validation errors in percent, as a source published them."""

    top1: float | None = None
    top5: float | None = None
    source: str | None = None


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A named setting of a file's parameters: a column of its paper's table."""

    name: str
    arguments: Mapping[str, Tree]
    title: str | None = None
    year: int | None = None
    source: str | None = None
    inputs: tuple[InputSpec, ...] = ()  # empty: the file's
    aliases: tuple[str, ...] = ()
    expect: Expect
    published_errors: PublishedErrors | None = None
    line: int
    column: int


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One spec file."""

    file: str
    name: str
    title: str | None
    year: int | None
    source: str | None
    published_errors: PublishedErrors | None
    inputs: tuple[InputSpec, ...]
    counting: str
    fold: int | None
    parameters: Mapping[str, Parameter]
    let: Mapping[str, Tree]
    defaults: Mapping[str, Mapping[str, Tree]]
    blocks: Mapping[str, Block]
    layers: tuple[Layer, ...]
    outputs: tuple[Scalar, ...]
    training_outputs: tuple[Scalar, ...]
    expect: Expect
    variants: Mapping[str, Variant]
