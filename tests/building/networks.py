"""Networks to build: every shipped family on a small input, and small specs for what the families lack."""

from __future__ import annotations

import textwrap
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from archprof.graph import Graph, Value
from archprof.shape import Shape
from archprof.spec import expand, find_spec
from archprof.spec.library import parse_text


class Small(NamedTuple):
    """A shipped network on an input of another size, with settings."""

    name: str
    size: int | None = None
    settings: dict[str, Any] = {}  # noqa: RUF012  (never changed)

    def graph(self) -> Graph:
        document, variant = find_spec(self.name)
        graph = expand(document, variant, self.settings)
        if self.size is None:
            return graph
        (entry,) = graph.inputs
        shape = entry.output_shapes[0]
        other = shape.with_dims(shape.dims[0], self.size, self.size)
        return expand(document, variant, self.settings, inputs={entry.path: other})


FAMILIES = {
    "alexnet": Small("alexnet", 96),
    "convnext": Small("convnext-t", 32),
    "deeplab": Small("deeplab-largefov", 32),
    "densenet": Small("densenet-121", 32),
    "efficientnet": Small("efficientnet-b0", 32),
    "fast-rcnn": Small("fast-rcnn-alexnet", 64, {"regions": 3}),
    "googlenet": Small("googlenet"),
    "lstm-language-model": Small("lstm-language-model-small"),
    "mobilenet-v2": Small("mobilenet-v2", 32),
    "mobilenet-v3": Small("mobilenet-v3-small", 32),
    "nin": Small("nin-cifar-10"),
    "overfeat": Small("overfeat", 96),
    "preact-resnet": Small("preact-resnet-110"),
    "rcnn": Small("rcnn", 96, {"regions": 2}),
    "resnet": Small("resnet-18", 32),
    "resnet-cifar": Small("resnet-20"),
    "resnext": Small("resnext-50-32x4d", 32),
    "squeezenet": Small("squeezenet-1.0", 32),
    "unet": Small("unet-same", 32),
    "vgg": Small("vgg-a", 32),
    "vgg-remark": Small("vgg-remark", 32),
    "vit": Small("vit-b-32", None, {"image": 64}),
    "zeiler-fergus": Small("zeiler-fergus", 48),
    "zf": Small("zf", 32),
}

SPECS = {
    # one layer called twice: the second time on a map of another size
    "siamese": """
        name: siamese
        input: {left: [3, 8, 8], right: [3, 12, 12]}
        layers:
          - {name: a, op: conv2d, from: left, out_channels: 4, kernel_size: 3, norm: batch_norm2d}
          - {name: pool-a, op: adaptive_avg_pool2d, output_size: 1}
          - {name: b, op: conv2d, from: right, weights: a, out_channels: 4, kernel_size: 3, norm: batch_norm2d}
          - {name: pool-b, op: adaptive_avg_pool2d, output_size: 1}
          - {name: distance, op: subtract, from: [pool-a, pool-b]}
          - {op: abs}
        """,
    # the same tensors in two operators that are not equal
    "tied": """
        name: tied
        input: [3, 8, 8]
        layers:
          - {name: near, op: conv2d, out_channels: 3, kernel_size: 3, padding: 1, norm: batch_norm2d}
          - {name: far, op: conv2d, weights: near, out_channels: 3, kernel_size: 3, padding: 2, dilation: 2,
             norm: {op: batch_norm2d, eps: 1e-3}}
        """,
    # copies that use the first one's parameters
    "looped": """
        name: looped
        input: [5, 8]
        blocks:
          step:
            layers:
              - {name: attention, op: multi_head_attention, num_heads: 2}
              - {name: sum, op: add, from: [attention, input]}
              - {op: lstm, hidden_size: 8}
              - {name: norm, op: layer_norm, from: lstm.output}
        layers:
          - {name: step, block: step, repeat: 3, share: true}
        """,
    # names that torch, Python or the printed code have for themselves, and several outputs
    "named": """
        name: 3d-named_net
        title: 'A "title" \\ in quotes"'
        input: {import: [4, 6, 6], self: [4, 6, 6], x-y: [4, 6, 6]}
        blocks:
          lambda:
            layers:
              - {name: 1x1, op: conv2d, out_channels: 4, kernel_size: 1}
              - {name: values, op: relu}
              - {name: train, op: tanh}
              - {name: train_, op: relu}
          "class":
            layers:
              - {name: pre-act, op: relu}
              - {name: max, op: relu}
        layers:
          - {name: input-sum, op: add, from: [import, self, x-y]}
          - {name: forward, block: lambda, repeat: 2}
          - {name: "class", block: "class"}
          - {op: split, split_size: [1, 3]}
          - {name: left, op: relu, from: split.0}
          - {name: concat, op: concat, from: [split.1, left, input-sum, self]}
          - {name: torch, op: sigmoid, from: left}
        outputs: [concat, torch, split.1]
        """,
    # a head of training that shares with what is no head
    "headed": """
        name: headed
        input: [3, 8, 8]
        layers:
          - {name: stem, op: conv2d, out_channels: 3, kernel_size: 3, padding: 1}
          - {name: aux, op: conv2d, out_channels: 3, kernel_size: 3, padding: 1, activation: relu}
          - {name: body, op: conv2d, from: stem, weights: aux, out_channels: 3, kernel_size: 3, padding: 1}
          - {name: drop, op: dropout}
        training_outputs: [aux]
        """,
}


ALL = [*FAMILIES, *SPECS]
QUICK = ["mobilenet-v3", "resnet-cifar", *SPECS]  # what every run of the tests takes
FAMILIES_WHEN_SLOW = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALL]


def graph(name: str) -> Graph:
    if name in FAMILIES:
        return FAMILIES[name].graph()
    text = textwrap.dedent(SPECS[name])
    return expand(parse_text(text.encode(), f"{name}.yaml"), None, {})


def batch_of(made: Graph, batch: int = 2, seed: int = 1) -> tuple[Tensor, ...]:
    """A batch drawn without touching torch's own state; indices are 0 and 1, which every table has."""
    generator = torch.Generator().manual_seed(seed)

    def one(shape: Shape) -> Tensor:
        size = (batch * shape.samples, *shape.dims)
        if shape.dtype == "float":
            return torch.randn(size, generator=generator)
        return torch.randint(0, 2, size, generator=generator)

    return tuple(one(node.output_shapes[0]) for node in made.inputs)


def by_hand(made: Graph, state: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """All values of a graph by the modules of its operators alone, each with its own part of a state_dict."""
    values: dict[Value, Tensor] = {}
    given = iter(inputs)
    with torch.no_grad():
        for index, node in enumerate(made.nodes):
            if node.is_input:
                values[Value(index)] = next(given)
                continue
            with torch.device("meta"):
                module: nn.Module = node.operator.module(node.input_shapes)
            mine = {name: state[f"{node.shares or node.path}.{name}"] for name in module.state_dict()}
            module.load_state_dict(mine, assign=True)
            result = module.eval()(*(values[value] for value in node.inputs))
            for number, tensor in enumerate(result if isinstance(result, tuple) else (result,)):
                values[Value(index, number)] = tensor
    ends = {**made.outputs, **made.training_outputs}
    return {name: values[end] for name, end in ends.items()}
