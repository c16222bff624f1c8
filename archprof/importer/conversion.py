"""From the calls of a traced torch module to the nodes of a Graph.

A trace is made with a batch of a prime number of samples that divides no other dimension, so a tensor's batch is where
that number is: at the front, elsewhere (L, N, E), or in one dimension with others (N * heads, L, E), which then are
samples that stand for one network input. Shapes of nodes are without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import msgspec
from torch import Tensor, fx, nn

from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.graph import Graph, Input, Node, Value
from archprof.importer import costs
from archprof.importer.calls import (
    arguments_of,
    call_name,
    dtype_name,
    is_inlined,
    is_mutable,
    nodes_of,
    stretch_of,
    tensor_of,
    tensors_of,
)
from archprof.importer.operators import Tensors, Traced, Variant, unknown
from archprof.importer.products import product_cost
from archprof.operators import attention, normalization
from archprof.operators.base import NOTHING, WHOLE, Operator
from archprof.operators.parameter import Parameter
from archprof.shape import Shape


class BatchTaken(Exception):
    """A call picks single samples of the batch: the trace holds for a batch of one only."""


class Weight(NamedTuple):
    """A parameter or buffer that no node stands for yet."""

    name: str  # of tied tensors the first
    shape: tuple[int, ...]
    is_parameter: bool = True
    turned: bool = False  # a matrix that is used transposed


class Lazy(NamedTuple):
    """A tensor that a call makes from nothing, which no node stands for yet."""

    call: fx.Node


Held: TypeAlias = "Value | Weight | Lazy | tuple[Held, ...] | None"  # what stands for a result of the trace


class Place(NamedTuple):
    """A traced tensor's dimensions without the batch, and where the batch is."""

    dims: tuple[int, ...]
    samples: int
    axis: int | None


class Draft:
    """A node to be: its path is known when all are."""

    def __init__(
        self,
        label: str,
        name: str,
        operator: Operator,
        inputs: tuple[Value, ...],
        input_shapes: tuple[Shape, ...],
        output_shapes: tuple[Shape, ...],
        shares: int | None,
        is_tensor: bool,
    ) -> None:
        self.label = label  # the module that calls it
        self.name = name
        self.operator = operator
        self.inputs = inputs
        self.input_shapes = input_shapes
        self.output_shapes = output_shapes
        self.shares = shares
        self.is_tensor = is_tensor  # a parameter or buffer itself, under its own name


Converter: TypeAlias = "Callable[[Conversion, fx.Node, dict[str, Any]], bool]"
CONVERTERS: dict[str, Converter] = {}  # by the names of torch.ops.aten; False or Refusal: not in this form


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Put a converter under the names of the calls that it makes nodes of."""

    def put(converter: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(names, converter))
        return converter

    return put


_CUTS = frozenset(
    ("select", "slice", "unbind", "split", "split_with_sizes", "chunk", "unsafe_chunk", "tensor_split", "narrow")
)


class Conversion:
    """The walk over one trace."""

    def __init__(self, module: nn.Module, batch: int) -> None:
        self.module = module
        self.batch = batch
        self.drafts: list[Draft] = []
        self.grad = True  # whether autograd is on where the walk is
        self.trained: list[bool] = []  # by draft: whether a parameter is at or before it
        self.held: dict[fx.Node, Held] = {}
        self.places: dict[fx.Node, int] = {}  # the draft of each call that is in one
        self.order: dict[fx.Node, int] = {}  # of the calls of each graph
        self.owners: dict[str, int] = {}  # parameters and buffers by name: the draft that counts them
        self.standing: dict[str, Value] = {}  # parameters and buffers that are nodes
        self.labels: dict[tuple[str, ...], str] = {}  # of each call of each module
        self.calls: dict[tuple[tuple[str, ...], str], int] = {}  # how often a module calls another
        names: dict[int, str] = {}
        self.canonical: dict[str, str] = {}  # of each name of a parameter the first
        for name, tensor in module.named_parameters(remove_duplicate=False):
            self.canonical[name] = names.setdefault(id(tensor), name)
        self.parameters = dict(module.named_parameters())

    def place(self, shape: Sequence[int]) -> Place:
        """Where a traced shape holds the batch; a parameter's leading 1 stands for it too."""
        sizes = tuple(map(int, shape))
        axis = None
        if self.batch > 1:
            axis = next((i for i, size in enumerate(sizes) if size and size % self.batch == 0), None)
        if axis is None and sizes and sizes[0] == 1 and (len(sizes) > 1 or self.batch == 1):
            return Place(sizes[1:], 1, 0)
        if axis is None:
            return Place(sizes, 1, None)
        own = tuple(size // self.batch if size and size % self.batch == 0 else size for size in sizes)
        return Place(own[:axis] + own[axis + 1 :], own[axis], axis)

    def place_of(self, call: fx.Node) -> Place:
        return self.place(tensor_of(call).shape)

    def shape_of(self, tensor: Tensor) -> Shape:
        place = self.place(tensor.shape)
        return Shape(place.dims, place.samples, dtype_name(tensor.dtype))

    def shape(self, call: fx.Node) -> Shape:
        return self.shape_of(tensor_of(call))

    def shapes(self, call: fx.Node) -> tuple[Shape, ...]:
        """Of all outputs of a call."""
        return tuple(self.shape_of(each) for each in tensors_of(call.meta.get("val")))

    def batched(self, tensor: Tensor) -> Shape:
        """The shape where an operator takes dimension 0 for samples, whatever it holds."""
        first, *rest = map(int, tensor.shape)
        samples = first // self.batch if first % self.batch == 0 else first
        return Shape(tuple(rest), max(samples, 1), dtype_name(tensor.dtype))

    def dim(self, call: fx.Node, dim: int) -> int | None:
        """A dimension of a traced tensor as the language counts it; None for the batch."""
        rank = tensor_of(call).dim()
        dim = dim + rank if dim < 0 else dim
        axis = self.place_of(call).axis
        if axis is None:
            return dim + 1
        return None if dim == axis else dim + (1 if dim < axis else 0)

    def label(self, call: fx.Node) -> tuple[str, tuple[str, ...]]:
        """The path of the module that makes a call, and which call of it that is.

        A module that another calls a second time has _2 behind its name.
        """
        stack = call.meta.get("nn_module_stack") or {}
        chain: tuple[str, ...] = ()
        label = base = ""
        for key, entry in stack.items():
            path = str(entry[0])
            parent, chain = chain, (*chain, str(key))
            if not path:
                continue
            if chain not in self.labels:
                seen = self.calls[parent, path] = self.calls.get((parent, path), 0) + 1
                inside = path.startswith(base + ".") if base else True
                own = path[len(base) + 1 if base else 0 :] if inside else path.rpartition(".")[2]
                nth = f"_{seen}" if seen > 1 else ""
                self.labels[chain] = f"{label}.{own}{nth}" if label else f"{own}{nth}"
            label, base = self.labels[chain], path
        return label, chain

    def put(
        self,
        call: fx.Node | None,
        operator: Operator,
        inputs: Sequence[Value],
        *,
        input_shapes: Sequence[Shape] | None = None,
        outputs: tuple[Shape, ...] | None = None,
        label: str | None = None,
        name: str | None = None,
        shares: int | None = None,
        stands: bool = True,
        is_tensor: bool = False,
    ) -> int:
        """Add a node for a call, which it then stands for."""
        shapes = tuple(self.drafts[value.node].output_shapes[value.output] for value in inputs)
        given = shapes if input_shapes is None else (*input_shapes, *shapes[len(input_shapes) :])
        if outputs is None:
            assert call is not None
            outputs = self.shapes(call)
        if label is None:
            assert call is not None
            label = self.label(call)[0]
        index = len(self.drafts)
        if not self.grad:
            operator = self.without_grad(operator, given)
        self.drafts.append(
            Draft(label, name or operator.op, operator, tuple(inputs), given, outputs, shares, is_tensor)
        )
        if call is not None:
            self.places[call] = index
        before = any(self.trained[value.node] for value in inputs)
        own = not operator.frozen and bool(operator.parameters(given))
        self.trained.append(not operator.detached and (before or own))
        if call is not None and stands:
            self.held[call] = (
                tuple(Value(index, number) for number in range(len(outputs)))
                if isinstance(call.meta.get("val"), (tuple, list))
                else Value(index)
            )
        return index

    def without_grad(self, operator: Operator, inputs: tuple[Shape, ...]) -> Operator:
        """An operator under torch.no_grad."""
        if isinstance(operator, (Traced, Variant)):
            return msgspec.structs.replace(operator, frozen=True, detached=True)
        owned = tuple(operator.parameters(inputs).items())
        kept = tuple(operator.buffers(inputs).items())
        return Variant(
            name=operator.op, inner=operator, taken=len(inputs), owned=owned, kept=kept, frozen=True, detached=True
        )

    def value(self, argument: Any) -> Value:
        """What stands for a tensor argument; a parameter, buffer or constant gets its node now."""
        held = self.held[argument]
        if isinstance(held, Lazy):
            return self.made(held)
        if isinstance(held, Weight):
            value = self.stand(held)
            if held.turned:
                index = self.put(
                    None, Traced(name="t", outputs=(Shape(held.shape[::-1]),), view=True), (value,),
                    outputs=(Shape(held.shape[::-1]),), label=self.label(argument)[0],
                )  # fmt: skip
                return Value(index)
            return value
        if held is None or (isinstance(held, tuple) and not isinstance(held, Value)):
            raise TypeError(f"{argument} stands for no tensor")
        return held

    def stand(self, weight: Weight) -> Value:
        """A parameter or buffer as a node of its own."""
        if weight.name in self.standing:
            return self.standing[weight.name]
        shape = self.weight_shape(weight)
        folder, _, leaf = weight.name.rpartition(".")
        operator: Operator
        if weight.name in self.owners:
            operator = Traced(name=leaf, outputs=(shape,), view=True, sees=NOTHING)
        elif weight.is_parameter and self.gets_gradient(weight):
            operator = Parameter(shape=shape.dims)
        elif weight.is_parameter:
            operator = Variant(
                name="parameter", inner=Parameter(shape=shape.dims), owned=(("value", shape.dims),), frozen=True
            )
        else:
            operator = Traced(name=leaf, outputs=(shape,), view=True, sees=NOTHING, kept=((leaf, weight.shape),))
        first = next((place for place, draft in enumerate(self.drafts) if isinstance(draft.operator, Input)), None)
        inputs = () if first is None else (Value(first),)
        index = self.put(None, operator, inputs, outputs=(shape,), label=folder, name=leaf, is_tensor=True)
        self.owners.setdefault(weight.name, index)
        self.standing[weight.name] = Value(index)
        return Value(index)

    def weight_shape(self, weight: Weight) -> Shape:
        dims = weight.shape[1:] if len(weight.shape) > 1 and weight.shape[0] == 1 else weight.shape
        tensor = self.parameters.get(weight.name)
        return Shape(dims, 1, "float" if tensor is None else dtype_name(tensor.dtype))

    def made(self, lazy: Lazy) -> Value:
        call = lazy.call
        outputs = self.shapes(call)
        self.put(call, Traced(name=call_name(call), outputs=outputs, sees=NOTHING), self.values(call))
        value = self.held[call]
        assert isinstance(value, Value)
        return value

    def values(self, call: fx.Node) -> list[Value]:
        """What stands for each tensor that a call takes, in order."""
        found = []
        for argument in nodes_of(call):
            held = self.held.get(argument)
            if isinstance(held, (Value, Weight, Lazy)):
                found.append(self.value(argument))
            elif isinstance(held, tuple):
                found.extend(each for each in held if isinstance(each, Value))
        return found

    def weight(self, argument: Any) -> Weight | None:
        held = self.held.get(argument) if isinstance(argument, fx.Node) else argument
        return held if isinstance(held, Weight) else None

    def generic(self, call: fx.Node, cost: Cost | None, **options: Any) -> bool:
        """A node for a call that the language has no operator for."""
        outputs = self.shapes(call)
        name = options.pop("name", None) or call_name(call)
        inputs = options.pop("inputs", None)
        values = self.values(call) if inputs is None else list(inputs)
        if cost is None:
            self.put(call, unknown(name, outputs), values)
        else:
            self.put(call, Traced(name=name, outputs=outputs, computes=cost, **options), values)
        return True

    def claim(self, weights: Mapping[str, Any]) -> tuple[Tensors, Tensors, list[Value], list[str]]:
        """Weights of a layer: parameters and buffers that it is the first to use, those computed, names claimed."""
        owned: list[tuple[str, tuple[int, ...]]] = []
        kept: list[tuple[str, tuple[int, ...]]] = []
        computed: list[Value] = []
        names: list[str] = []
        for field, argument in weights.items():
            weight = self.weight(argument)
            if weight is None:
                computed.append(self.value(argument))
            elif weight.name not in self.owners and weight.name not in names:
                (owned if weight.is_parameter else kept).append((field, weight.shape))
                names.append(weight.name)
        return tuple(owned), tuple(kept), computed, names

    def layer(
        self,
        call: fx.Node,
        operator: Operator,
        x: Any,
        weights: Mapping[str, Any],
        *,
        shape: Shape | None = None,
        outputs: tuple[Shape, ...] | None = None,
        more: Sequence[Value] = (),
        beside: Sequence[Value] = (),
        fits: bool = True,
        **options: Any,
    ) -> bool:
        """A node for an operator with weights: the operator itself where its parameters are exactly those given.

        `more` are further inputs of the operator, `beside` those of the call that the operator does not take; `fits`
        False says that the call is another form of it.
        """
        value = x if isinstance(x, Value) else self.value(x)
        shapes = ((shape or self.shape(x)), *(self.drafts[each.node].output_shapes[each.output] for each in more))
        given = {field: argument for field, argument in weights.items() if argument is not None}
        known = {field: weight for field, argument in given.items() if (weight := self.weight(argument)) is not None}
        expected = operator.parameters(shapes)
        exact = (
            fits
            and not options
            and not beside
            and set(given) == set(expected)
            and all(field in known and known[field][1:] == (expected[field], True, False) for field in expected)
        )
        owners = [self.owners.get(weight.name) for weight in known.values()]
        named = {weight.name for weight in known.values()}
        inputs = (value, *more)
        trained = [self.gets_gradient(weight) for weight in known.values() if weight.is_parameter]
        frozen = bool(trained) and not any(trained)
        matrices = [self.gets_gradient(weight) for weight in known.values() if len(weight.shape) > 1]
        fixed = not frozen and bool(matrices) and not any(matrices)
        if (
            exact
            and not fixed
            and ((all(each is None for each in owners) and len(named) == len(known)) or None not in owners)
        ):
            shares = owners[0] if owners else None
            if frozen and expected:
                operator = Variant(
                    name=operator.op,
                    inner=operator,
                    taken=len(shapes),
                    owned=tuple(expected.items()),
                    frozen=True,
                )
            index = self.put(call, operator, inputs, input_shapes=shapes, outputs=outputs, shares=shares)
            for name in named:
                self.owners.setdefault(name, index)
            return True
        owned, kept, computed, names = self.claim(given)
        index = self.put(
            call,
            Variant(
                **({"name": operator.op, "kept": kept} | options),
                inner=operator,
                taken=len(shapes),
                owned=owned,
                frozen=frozen,
                fixed=fixed,
                weights_given=bool(computed) or (not frozen and any(each is not None for each in owners)),
            ),
            (*inputs, *beside, *computed),
            input_shapes=shapes,
            outputs=outputs,
        )
        for name in names:
            self.owners[name] = index
        return True

    def weighted(
        self,
        call: fx.Node,
        name: str,
        x: Any,
        weights: Mapping[str, Any],
        cost: Cost | None,
        *,
        outputs: tuple[Shape, ...] | None = None,
        more: Sequence[Value] = (),
        weight_layers: int = 1,
        sees: str | None = NOTHING,
        products: tuple[int, ...] | None = None,
        inside: int = 0,
    ) -> bool:
        """A node for a layer that the language lacks, with its parameters."""
        values = (self.value(x), *more)
        owned, kept, computed, names = self.claim({key: each for key, each in weights.items() if each is not None})
        outputs = self.shapes(call) if outputs is None else outputs
        known = [weight for each in weights.values() if (weight := self.weight(each)) is not None]
        elsewhere = any(weight.name not in names and self.gets_gradient(weight) for weight in known)
        if products is None:
            products = (0 if cost is None else cost.multiply_adds,)
        made = Traced(
            name=name,
            outputs=outputs,
            computes=cost,
            owned=owned,
            kept=kept,
            weight_layers=weight_layers,
            sees=sees,
            frozen=not any(map(self.gets_gradient, known)),
            products=products,
            inside=inside,
            weights_given=bool(computed) or elsewhere,
        )
        index = self.put(call, made, (*values, *computed), outputs=outputs)
        for each in names:
            self.owners[each] = index
        return True

    def gets_gradient(self, weight: Weight) -> bool:
        return weight.is_parameter and self.parameters[weight.name].requires_grad

    def like(self, call: fx.Node, first: Shape) -> tuple[Shape, ...]:
        """The outputs of a call, the first as given."""
        return (first, *self.shapes(call)[1:])

    def alike(self, call: fx.Node, source: Any) -> bool:
        """Let a view stand for its source where they differ in the batch alone."""
        place, out = self.place_of(source), self.place_of(call)
        if (place.dims, place.samples) != (out.dims, out.samples) or isinstance(self.held[source], (Weight, Lazy)):
            return False
        self.held[call] = self.held[source]
        return True

    def viewed(self, call: fx.Node, operator: Operator, source: Any) -> bool:
        self.put(call, operator, (self.value(source),))
        return True

    def keeps_batch(self, source: fx.Node, call: fx.Node) -> bool:
        before, after = (self.place_of(each).axis for each in (source, call))
        if before is None or after is None:
            return before is after
        ahead = [math.prod(map(int, tensor_of(each).shape[:axis])) for each, axis in ((source, before), (call, after))]
        return ahead[0] == ahead[1] and (int(tensor_of(source).shape[before]) == int(tensor_of(call).shape[after]))

    def run(self, graph: fx.Graph, given: Mapping[fx.Node, Held]) -> list[Any]:
        """Convert the calls of a graph whose placeholders stand for what is given. Returns its results in the trace."""
        self.held.update(given)
        self.order.update((call, place) for place, call in enumerate(graph.nodes))
        together = self.module_groups(graph)
        for call in graph.nodes:
            if call.op == "output":
                return list(call.args[0])
            if call.op != "call_function":
                continue
            group = together.get(call)
            if group is not None:
                group(call)
            elif call not in self.held:
                self.convert(call)
        return []

    def convert(self, call: fx.Node) -> None:
        name = call_name(call)
        if name == "getitem":
            self.item(call)
            return
        if is_inlined(call):
            self.inline(call)
            return
        if not tensors_of(call.meta.get("val")):
            return  # a size, an assertion
        if self.is_bookkeeping(call):
            return
        if self.rewrites(call):  # the trace does not show what reads the tensor written into
            first = len(self.drafts)
            self.fallback(call, name)
            for draft in self.drafts[first:]:
                if draft.name == name and isinstance(draft.operator, Traced):
                    draft.operator = msgspec.structs.replace(draft.operator, writes=True)
            return
        converter = CONVERTERS.get(name)
        if converter is not None:
            try:
                if converter(self, call, arguments_of(call)):
                    return
            except Refusal:
                pass  # a form that the language does not take
        self.fallback(call, name)

    def item(self, call: fx.Node) -> None:
        source: Any
        place: Any
        source, place = call.args
        held: Any = self.held.get(source)
        self.held[call] = held[place] if isinstance(held, tuple) and not isinstance(held, Value) else held

    def inline(self, call: fx.Node) -> None:
        graph, at = stretch_of(call)
        inner = [node for node in graph.nodes if node.op == "placeholder"]
        given = {
            node: self.held.get(argument) if isinstance(argument, fx.Node) else None
            for node, argument in zip(inner, call.args[at + 1 :], strict=True)
        }
        before = self.grad
        if call.args and isinstance(call.args[0], bool):  # torch.no_grad or enable_grad, and not autocast
            self.grad = call.args[0]
        results = self.run(graph, given)
        self.grad = before
        self.held[call] = tuple(self.held.get(each) if isinstance(each, fx.Node) else None for each in results)

    def is_bookkeeping(self, call: fx.Node) -> bool:
        """Whether a call counts batches in a buffer, as batch norms do in training."""
        target = self.weight(call.args[0]) if call.args else None
        return target is not None and not target.is_parameter and target.name.endswith("num_batches_tracked")

    def rewrites(self, call: fx.Node) -> bool:
        """Whether a call writes into a tensor that is read later under another name: a view of it, or its base."""
        if not is_mutable(call):
            return False
        target: Any = call.args[0]
        child: fx.Node = call
        while isinstance(target, fx.Node):
            if isinstance(self.held.get(target), Weight):
                return True
            if any(user is not child and self.order[user] > self.order[call] for user in target.users):
                return True
            if target.op != "call_function" or call_name(target) not in costs.VIEWS:
                return False
            target, child = target.args[0], target
        return False

    def fallback(self, call: fx.Node, name: str) -> None:
        """A call without an operator of its own: by the kind of what it computes."""
        if self.takes_of_batch(call, name):
            raise BatchTaken
        if name in costs.CREATORS:
            self.held[call] = Lazy(call)
            return
        moving = tensor_of(call).is_floating_point() or any(
            tensor_of(each).is_floating_point() for each in nodes_of(call) if tensors_of(each.meta.get("val"))
        )
        if name in costs.VIEWS:
            self.generic(call, Cost(), view=True)
        elif name in costs.COPIES or (not moving and (name in costs.ELEMENTWISE or name in costs.REDUCTIONS)):
            self.generic(call, Cost())  # indices and masks are no floating-point arithmetic
        elif name in costs.ELEMENTWISE:
            self.generic(call, self.elementwise_cost(call, name))
        elif name in costs.REDUCTIONS:
            first = self.shape(nodes_of(call)[0])
            self.generic(call, costs.REDUCTIONS[name](first.numel, self.shapes(call)[0].numel), sees=WHOLE)
        else:
            self.generic(call, product_cost(call, self.batch), sees=WHOLE)

    def elementwise_cost(self, call: fx.Node, name: str) -> Cost:
        cost = costs.ELEMENTWISE[name]
        if name in ("add", "sub", "rsub") and call.kwargs.get("alpha", 1) != 1:
            cost += Cost(multiplications=1)
        if name == "pow" and arguments_of(call).get("exponent") in (2, 2.0):
            cost = Cost(multiplications=1)
        if name == "clamp" and len([each for each in call.args[1:] if each is not None]) + len(call.kwargs) == 1:
            cost = Cost(comparisons=1)
        return cost * self.shapes(call)[0].numel

    def takes_of_batch(self, call: fx.Node, name: str) -> bool:
        """Whether a call cuts or picks along the batch."""
        source = call.args[0] if call.args else None
        if name not in _CUTS or self.batch == 1 or not isinstance(source, fx.Node):
            return False
        place = self.place_of(source)
        if place.axis is None or int(tensor_of(source).shape[place.axis]) % self.batch:
            return False
        dim = arguments_of(call).get("dim", 0)
        return self.dim(source, dim) is None and tensor_of(call).shape != tensor_of(source).shape

    def finish(self, name: str, results: Mapping[str, fx.Node]) -> Graph:
        """The Graph of all that was converted, with a row for every parameter that nothing uses."""
        outputs = {key: self.value(call) for key, call in results.items() if self.held.get(call) is not None}
        for parameter_name, tensor in self.parameters.items():
            if parameter_name not in self.owners:
                folder, _, leaf = parameter_name.rpartition(".")
                unused = Traced(name="unused", outputs=(), owned=((leaf, tuple(tensor.shape)),), sees=NOTHING)
                self.owners[parameter_name] = self.put(
                    None, unused, (), outputs=(), label=folder, name=leaf, is_tensor=True
                )
        paths = _paths(self.drafts)
        for call, place in self.places.items():
            call.meta["path"] = paths[place]
        for argument, held in self.held.items():
            if isinstance(held, Weight) and argument.op == "placeholder" and held.name in self.owners:
                argument.meta["path"] = paths[self.owners[held.name]]
        nodes = tuple(
            Node(
                path=path,
                operator=draft.operator,
                inputs=draft.inputs,
                input_shapes=draft.input_shapes,
                output_shapes=draft.output_shapes,
                shares=None if draft.shares is None else paths[draft.shares],
            )
            for path, draft in zip(paths, self.drafts, strict=True)
        )
        return Graph(name=name, nodes=nodes, outputs=outputs)

    def module_groups(self, graph: fx.Graph) -> dict[fx.Node, Callable[[fx.Node], None]]:
        """Calls that belong to a module which an operator stands for as a whole: what to do at each of them."""
        members: dict[tuple[str, ...], list[fx.Node]] = {}
        for call in graph.nodes:
            if call.op != "call_function":
                continue
            chain: tuple[str, ...] = ()
            for key, (path, kind) in (call.meta.get("nn_module_stack") or {}).items():
                chain = (*chain, str(key))
                if str(kind).rpartition(".")[2].rstrip("'>") in ("MultiheadAttention", "LocalResponseNorm"):
                    members.setdefault((*chain, str(path)), []).append(call)
                    break
        found: dict[fx.Node, Callable[[fx.Node], None]] = {}
        for (*_, path), calls in members.items():
            made = self.whole_module(path, calls)
            if made is not None:
                found.update(dict.fromkeys(calls, partial(self.join, calls[0])))
                found[calls[0]] = made
        return found

    def whole_module(self, path: str, calls: Sequence[fx.Node]) -> Callable[[fx.Node], None] | None:
        try:
            module = self.module.get_submodule(path)
        except AttributeError:
            return None
        inside = set(calls)
        entering = list(dict.fromkeys(each for call in calls for each in nodes_of(call) if each not in inside))
        leaving = [call for call in calls if any(user not in inside for user in call.users)]
        if len(leaving) != 1 or any(is_mutable(call) for call in calls):
            return None
        weights = {each.name: each for each in entering if each.op == "placeholder" and each.name[:2] in ("p_", "b_")}
        inputs = [each for each in entering if each.name not in weights]
        end = leaving[0]
        if type(module) is nn.LocalResponseNorm and len(inputs) == 1 and not weights:
            made = normalization.LocalResponseNorm(
                size=module.size, alpha=float(module.alpha), beta=float(module.beta), k=float(module.k)
            )
            return lambda call: self.whole(call, end, made, inputs, {})
        if type(module) is not nn.MultiheadAttention or not self.is_plain(module, weights, path):
            return None
        shapes = [tensor_of(each).shape for each in inputs]
        if not 1 <= len(inputs) <= 3 or any(len(shape) != 3 for shape in shapes) or tensor_of(end).shape != shapes[0]:
            return None
        names = ["in_proj_weight", "out_proj.weight", "in_proj_bias", "out_proj.bias"]
        fields = {
            name: f"{path}.{name}" if path else name for name in names[: 4 if module.in_proj_bias is not None else 2]
        }
        operator = attention.MultiHeadAttention(num_heads=module.num_heads, bias=module.in_proj_bias is not None)
        if len(inputs) == 2:  # queries, and what is keys and values
            inputs = [inputs[0], inputs[1], inputs[1]]
        return lambda call: self.whole(call, end, operator, inputs, fields)

    def is_plain(self, module: nn.MultiheadAttention, weights: Mapping[str, fx.Node], path: str) -> bool:
        """Whether attention is that of the language: one width, no extra key or value, no dropout that runs."""
        own = sum(1 for _ in module.parameters())
        return (
            module._qkv_same_embed_dim
            and module.bias_k is None
            and not module.add_zero_attn
            and not (module.training and module.dropout)
            and own in (2, 4)
            and len(weights) == own
        )

    def whole(
        self, call: fx.Node, end: fx.Node, operator: Operator, inputs: Sequence[fx.Node], fields: Mapping[str, str]
    ) -> None:
        values = [self.value(each) for each in inputs]
        weights = {
            field: Weight(self.canonical[name], tuple(self.parameters[self.canonical[name]].shape))
            for field, name in fields.items()
        }
        self.layer(end, operator, inputs[0], weights, outputs=self.shapes(end), more=values[1:])
        self.places[call] = self.places[end]

    def join(self, first: fx.Node, call: fx.Node) -> None:
        """A call that belongs to the operator which stands for its module since the module's first call."""
        self.places[call] = self.places[first]


def _paths(drafts: Sequence[Draft]) -> list[str]:
    """A path for each node: its module's where that makes one call, else with the operator's name behind; unique."""
    labels: set[str] = set()
    scopes: set[str] = set()  # which have several nodes in them
    for draft in drafts:
        if draft.label in labels:
            scopes.add(draft.label)
        labels.add(draft.label)
        folder = draft.label
        while folder:
            folder = folder.rpartition(".")[0]
            scopes.add(folder)
    taken: set[str] = set()
    paths: list[str] = [""] * len(drafts)
    ordered = sorted(range(len(drafts)), key=lambda place: isinstance(drafts[place].operator, Input))
    for place in ordered:  # modules keep their names before inputs do
        draft = drafts[place]
        path = f"{draft.label}.{draft.name}" if draft.label else draft.name
        if draft.label and draft.label not in scopes and not draft.is_tensor:
            path = draft.label
        wanted, number = path, 2
        while path in taken or path in scopes:
            path, number = f"{wanted}_{number}", number + 1
        taken.add(path)
        paths[place] = path
    return paths
