"""From a Graph to a torch.fx.GraphModule. Importing the package imports no torch; building does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archprof.errors import UsageError
from archprof.extras import require

if TYPE_CHECKING:
    import torch
    from torch import fx

    from archprof.graph import Graph

__all__ = ["build"]


def build(
    graph: Graph,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
    init: str = "torch",
    seed: int | None = 0,
    train: bool = False,
) -> fx.GraphModule:
    """The network as a torch.fx.GraphModule with one call a node.

    It takes the network's inputs in their order, each with the batch first, and gives the output, or a dict
    by name where there are several. Parameters carry the node paths (`conv1.conv2d.weight`), a name that
    nn.Module or Python has for itself with an underscore behind. Nodes that share parameters call one module;
    where their operators differ, each has its module with the same tensors. With `train` the heads that only
    training uses are there too; the other keys of the state_dict are the same. The module is in training
    mode if `train`, else in evaluation mode. The fx node of a graph node has its path in `meta["path"]`.

    `init` is one of archprof.building.initialise.INITIALISATIONS. Values are drawn in torch's default dtype on the
    CPU, whatever device and dtype are asked for, so that one seed gives one network everywhere; torch's own random
    state is left as it was. With `seed` None they are drawn from that state. On the device "meta" there are none.

    Raises UsageError without torch, for a device that is not there, for an unknown dtype or init, and where the
    parameters are larger than the memory that is left.
    """
    require("build", "torch", "torch")
    from archprof.building.builder import assemble, make_modules, place, seeded
    from archprof.building.device import float_dtype, require_parameters, usable_device
    from archprof.building.initialise import INITIALISATIONS
    from archprof.operators import hint

    where, kind = usable_device(device), float_dtype(dtype)
    if init not in INITIALISATIONS:
        raise UsageError(f"unknown init {init}: {hint(init, INITIALISATIONS)}")
    hollow = where.type == "meta"
    if not hollow:
        require_parameters(graph, where, kind, train)
    with seeded(seed):
        modules = make_modules(graph, train, "meta" if hollow else "cpu", bare=init == "empty")
        if not hollow:
            INITIALISATIONS[init](modules.owners())
    return place(assemble(graph, modules, train), modules, where, kind).train(train)
