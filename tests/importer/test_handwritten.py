"""The networks written by hand, imported: their figures are those of archprof's own specs."""

from __future__ import annotations

import pytest
import torch

import archprof
from archprof.building import build
from archprof.importer.modules import import_module
from tests.handwritten import NETWORKS

LONG = (  # of each family one or more are left
    *("vgg-d", "vgg-e", "resnet-34", "resnet-152", "resnet-56", "resnet-110", "resnet-1202", "plain-56"),
    *("preact-resnet-164", "preact-resnet-1001", "densenet-121", "unet-same", "deeplab-7x7"),
)
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in NETWORKS]


@pytest.mark.parametrize("name", ALL)
def test_figures_are_those_of_the_spec(name: str) -> None:
    with torch.device("meta"):
        module = NETWORKS[name]()
    graph = import_module(module, torch.empty(1, *NETWORKS[name].input_shape, device="meta"))
    imported = archprof.analyse(graph, counting="multiply_adds")
    written = archprof.analyse(archprof.load(name), counting="multiply_adds")
    used = sum(each.params for each in imported.figures if each.node.operator.op != "unused")
    assert (used, imported.flops, imported.depth) == (written.params, written.flops, written.depth)
    assert imported.receptive_field == written.receptive_field
    assert imported.params == sum(each.numel() for each in module.parameters())
    assert not imported.lower_bound


def test_googlenet_in_training_has_its_auxiliary_classifiers() -> None:
    with torch.device("meta"):
        module = NETWORKS["googlenet"]()
    graph = import_module(module, torch.empty(1, 3, 224, 224, device="meta"), train=True)
    imported = archprof.analyse(graph, counting="multiply_adds", train=True)
    written = archprof.analyse(archprof.load("googlenet"), counting="multiply_adds", train=True)
    assert (imported.params, imported.flops) == (written.params, written.flops)


@pytest.mark.parametrize(
    "name",
    ["zf", "googlenet", "resnet-50", "vit-b-16", "unet-valid", "lstm-language-model-small", "mobilenet-v3-large"],
)
def test_a_built_spec_imports_as_itself(name: str) -> None:
    """archprof's own modules, attention and all: the same operators with the same costs, in every convention."""
    graph = archprof.load(name)
    dtypes = {"float": torch.float32, "int64": torch.int64}
    inputs = [
        torch.empty(1, *each.output_shapes[0].dims, dtype=dtypes[each.output_shapes[0].dtype]) for each in graph.inputs
    ]
    imported = archprof.analyse(import_module(build(graph, device="meta"), inputs))
    written = archprof.analyse(graph)
    assert (imported.params, imported.depth) == (written.params, written.depth)
    assert imported.total.cost.multiply_adds == written.total.cost.multiply_adds
    assert imported.total.cost.activations == written.total.cost.activations
