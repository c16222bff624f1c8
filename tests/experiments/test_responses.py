"""Layer responses against hooks on torch's modules, and which layers have one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from torch import nn

import archprof
from archprof.experiments.responses import response_paths, responses
from archprof.spec import expand, find_spec
from archprof.spec.library import parse_text


def cifar(depth: int = 8, **parameters: Any) -> archprof.Graph:
    return archprof.load("resnet-cifar", depth=depth, width=4, **parameters)


@pytest.mark.parametrize("shortcut", ["none", "identity"])
def test_against_hooks(shortcut: str) -> None:
    """The outputs of all BatchNorm2d in their order, gathered by hooks, and numpy's standard deviation."""
    graph = cifar(14, shortcut=shortcut)
    module = archprof.build(graph, seed=3)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(count, 3, 32, 32, generator=generator) for count in (5, 2)]  # of unequal size
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.bias.normal_(generator=generator)
        found = responses(module, graph, batches)
        outputs: dict[str, list[torch.Tensor]] = {}
        for name, norm in module.named_modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.register_forward_hook(
                    lambda _, __, out, name=name: outputs.setdefault(name, []).append(out.clone())
                )
        for batch in batches:
            module(batch)
    assert [each.layer for each in found] == list(range(1, 14))
    assert [each.path for each in found] == list(outputs)
    for each in found:
        values = torch.cat(outputs[each.path]).double().numpy()
        assert each.std == pytest.approx(values.std(), rel=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_a_module_is_left_as_it_was(training: bool) -> None:
    graph = cifar()
    module = archprof.build(graph).train(training)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    responses(module, graph, [torch.randn(4, 3, 32, 32)])
    assert module.training is training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_repeatable_whatever_the_layout() -> None:
    graph = cifar()
    batch = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first = responses(archprof.build(graph), graph, [batch])
    assert responses(archprof.build(graph), graph, [batch]) == first
    last = archprof.build(graph).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    again = responses(last, graph, [batch.contiguous(memory_format=torch.channels_last)])
    assert [each.std for each in again] == pytest.approx([each.std for each in first], rel=1e-4)


def test_a_constant_response_has_no_deviation() -> None:
    graph = cifar()
    module = archprof.build(graph)
    with torch.no_grad():
        module.get_submodule("conv1.norm").weight.zero_()  # type: ignore[union-attr, operator]
        module.get_submodule("conv1.norm").bias.fill_(0.1)  # type: ignore[union-attr, operator]
    assert responses(module, graph, [torch.randn(4, 3, 32, 32)])[0].std == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("shortcut", ["none", "identity", "projection"])
def test_layers_of_the_family(shortcut: str) -> None:
    """One a 3x3 convolution, the projections' 1x1 ones left out: n = 1 gives 1 + 2 x 3."""
    assert response_paths(cifar(shortcut=shortcut)) == (
        "conv1.norm",
        "stage1.0.conv1.norm",
        "stage1.0.conv2.norm",
        "stage2.0.conv1.norm",
        "stage2.0.conv2.norm",
        "stage3.0.conv1.norm",
        "stage3.0.conv2.norm",
    )


@pytest.mark.parametrize(("depth", "count"), [(20, 19), (56, 55), (110, 109)])
def test_as_many_as_the_paper_has(depth: int, count: int) -> None:
    assert len(response_paths(cifar(depth))) == count


@pytest.mark.parametrize(
    ("name", "parameters", "count", "first", "last"),
    [
        ("resnet", {"depth": 18}, 17, "conv1.norm", "conv5_x.1.conv2.norm"),
        ("resnet", {"depth": 50}, 17, "conv1.norm", "conv5_x.2.conv2.norm"),  # a block has one 3x3 convolution
        ("vgg", {}, 13, "conv1_1.conv2d", "conv5_3.conv2d"),  # no batch norm
    ],
)
def test_layers_of_other_networks(name: str, parameters: dict[str, Any], count: int, first: str, last: str) -> None:
    paths = response_paths(archprof.load(name, **parameters))
    assert (len(paths), paths[0], paths[-1]) == (count, first, last)


NET = """
name: net
input: [3, 8, 8]
defaults: {conv2d: {out_channels: 4, kernel_size: 3, padding: 1}}
layers:
  - {name: a, op: conv2d, norm: batch_norm2d, activation: relu}
  - {name: b, op: conv2d}
  - {name: norm, op: batch_norm2d}
  - {name: sum, op: add, from: [norm, b]}
  - {name: c, op: conv2d}
  - {name: small, op: conv2d, kernel_size: 1, padding: 0, norm: batch_norm2d}
  - {name: d, op: conv2d, kernel_size: [1, 3], padding: [0, 1], norm: batch_norm2d}
  - {name: head, op: conv2d, from: a, norm: batch_norm2d}
outputs: [d]
training_outputs: [head]
"""


def test_which_output_is_the_response() -> None:
    """Batch norm's where it is the convolution's own (a, d), not where others see that too (b) or there is none (c)."""
    assert response_paths(expand(parse_text(NET.encode(), "net.yaml"))) == ("a.norm", "b", "c", "d.norm")


def test_a_convolution_that_is_an_output_itself() -> None:
    document, variant = find_spec("resnet-cifar")
    graph = expand(document, variant, {"depth": 8})
    index = next(i for i, node in enumerate(graph.nodes) if node.path == "conv1.conv2d")
    seen = msgspec.structs.replace(graph, outputs={**graph.outputs, "stem": archprof.Value(index)})
    assert response_paths(seen)[0] == "conv1.conv2d"
