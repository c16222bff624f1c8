"""A network that a command line names as something that runs: a torch module, or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.errors import UsageError
from archprof.graph import Graph
from archprof.importer.locate import ONNX_FILE, opened

if TYPE_CHECKING:
    import torch
    from torch import Tensor, fx, nn


class Runnable(NamedTuple):
    """An imported network that runs.

    `module` has the parameters and buffers of `own` and computes the same: it is `own` as torch.export traced it, for
    the batch and in the mode that were asked for, which it keeps whatever train() or eval() is called on it.
    """

    graph: Graph  # for one sample, as `archprof table` shows it
    module: fx.GraphModule  # its calls have the path of their Graph node in meta["path"], as those of `build` do
    inputs: tuple[Tensor, ...]  # what `module` takes, in its order
    own: nn.Module  # the user's module itself, in that mode; of an ONNX file one that runs what its nodes say
    args: tuple[Tensor, ...]  # what `own` takes
    kwargs: Mapping[str, Tensor]


def runnable(
    name: str,
    inputs: Sequence[str] = (),
    settings: Mapping[str, Any] = {},
    *,
    batch: int = 1,
    train: bool = False,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
) -> Runnable:
    """The network that `package.module:callable` or `model.onnx` names, on a device, with a batch of inputs.

    `inputs` are texts as `--input` gives them (`3x224x224`, `ids=128:int64`), `settings` what `--set` gives: keyword
    arguments for the callable. The network is traced in evaluation mode, with `train` in training mode, which its
    dropouts and batch norms then keep. `dtype` is one that its floating-point parameters, buffers and inputs are
    brought to; without it they keep theirs. Inputs are normal numbers drawn from `seed`, and zeros for indices.

    Several calls of `module` can have one path (attention that is one node of the graph), and some have none (views
    that are no node): what they take belongs to the node that follows. A node of the graph without a call computes
    nothing by itself (a parameter, an input).

    Raises UsageError for all that `archprof import` refuses, and for operators of an ONNX file that archprof cannot
    run, which it names; BatchError, a UsageError, for a network that cannot be traced for this batch or makes other
    calls then.
    """
    source = opened(name, inputs, settings, values=True)
    import torch

    from archprof.importer.execution import batch_of, graph_module, moved, require_kernels
    from archprof.importer.modules import BatchError, trace, trace_again

    where = torch.device(device)
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    with source.told():
        if batch > 1 and None in source.batch_dims.values():
            raise BatchError(f"its inputs are of one size: it cannot run a batch of {batch}")
        own = source.module
        tensors = (*own.parameters(), *own.buffers())
        if where.type != "meta" and any(tensor.device.type == "meta" for tensor in tensors):
            raise UsageError("its parameters have no values: they are on the device meta")
        traced = trace(own, source.args, source.kwargs, batch_dims=source.batch_dims, train=train, name=source.name)
        home = torch.device("cpu") if source.kind == ONNX_FILE else where  # what an ONNX file holds constant is there
        own = own.to(device=home, dtype=kind).train(train)
        args, kwargs = batch_of(
            source.args, source.kwargs, source.batch_dims, batch=batch, device=home, dtype=kind, seed=seed
        )
        program = trace_again(traced, own, args, kwargs, train=train)
        module = graph_module(program)
        require_kernels(module)
    graph = source.described(traced.graph)
    given = (*args, *(kwargs[key] for key in program.example_inputs[1]))
    if where != home:
        module, given = moved(module, where), tuple(each.to(where) for each in given)
        return Runnable(graph, module, given, module, given, {})
    return Runnable(graph, module, given, own, args, kwargs)
