"""What holds for every operator, over the whole registry."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import jsonschema
import pytest
import torch
from torch import Tensor, fx, nn

import tests.operators
from archprof.cost import Cost
from archprof.errors import Refusal
from archprof.operators import REGISTRY, create, find, required_fields
from archprof.operators.base import Integer, Kind, Number, Operator, register
from archprof.shape import Shape
from tests.operators.harness import BATCH, Case, as_tuple, shapes, tensors


def tables() -> Iterator[Case]:
    """The cases of every family's test module."""
    for module in pkgutil.iter_modules(tests.operators.__path__, "tests.operators."):
        if module.name.rpartition(".")[2].startswith("test_") and module.name != __name__:
            yield from getattr(importlib.import_module(module.name), "CASES", ())


CASES = list(tables())
EXAMPLES = {case.op: case for case in reversed(CASES)}  # the first of each


@pytest.mark.parametrize("name", REGISTRY)
def test_every_operator_is_complete(name: str) -> None:
    cls = REGISTRY[name]
    assert cls.op == name
    assert find(name) is cls
    assert cls.__doc__ is not None
    assert cls.__doc__ != Operator.__doc__
    assert cls.__module__.startswith("archprof.operators.")
    assert set(cls.fields) == set(cls.__struct_fields__)
    assert all(isinstance(kind, Kind) for kind in cls.fields.values())
    assert cls.takes in ("float", "int64", "any")
    least, most = cls.arity
    assert 1 <= least <= (most or least)
    # a default is what its kind makes of it
    defaults = dict(zip(reversed(cls.__struct_fields__), reversed(cls.__struct_defaults__), strict=False))
    for field in set(cls.fields) - set(required_fields(cls)):
        default = defaults[field]
        assert default is None or type(cls.fields[field].check(default)) is type(default)


def test_every_operator_is_held_by_five_configurations_at_least() -> None:
    counts = Counter(case.op for case in CASES)
    assert {name: counts[name] for name in REGISTRY if counts[name] < 5} == {}
    assert set(counts) <= set(REGISTRY)


def test_every_operator_of_the_issue_is_there() -> None:
    """Issue 8, item 5; the last line is what networks of the specs needed beside them."""
    assert set(REGISTRY) == {
        *("conv1d", "conv2d", "conv3d", "conv_transpose2d", "linear", "maxout", "matmul", "parameter", "identity"),
        *("max_pool2d", "avg_pool2d", "lp_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
        *("local_response_norm", "batch_norm2d", "layer_norm", "group_norm", "l2_normalize", "dropout"),
        *("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "gelu", "silu", "softmax"),
        *("flatten", "reshape", "transpose", "permute", "select", "concat", "split", "pad", "pad_channels", "upsample"),
        *("add", "subtract", "multiply", "abs"),
        *("roi_pool", "drop_path", "hardswish", "hardsigmoid", "embedding", "lstm", "gru"),
        *("scaled_dot_product_attention", "multi_head_attention"),
    }


@pytest.mark.parametrize("name", REGISTRY)
def test_the_schema_of_a_field_takes_what_its_kind_takes(name: str) -> None:
    schemas = {field: kind.json_schema() for field, kind in REGISTRY[name].fields.items()}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for case in CASES:
        if case.op == name:
            for field, value in case.fields.items():
                jsonschema.validate(value, schemas[field])


@pytest.mark.parametrize("name", REGISTRY)
def test_required_fields_are_required(name: str) -> None:
    fields = EXAMPLES[name].fields
    required = required_fields(REGISTRY[name])
    assert set(required) <= set(fields)
    for missing in required:
        with pytest.raises(Refusal) as raised:
            create(name, **{field: value for field, value in fields.items() if field != missing})
        assert (raised.value.code, str(raised.value)) == ("missing-field", f"needs {missing}")
    if name != "upsample":  # which needs one field of two
        create(name, **{field: fields[field] for field in required})


@pytest.mark.parametrize("name", REGISTRY)
def test_every_operator_says_what_it_is_given_wrongly(name: str) -> None:
    case = EXAMPLES[name]
    with pytest.raises(Refusal) as raised:
        create(name, **case.fields, nonsense=1)
    assert raised.value.code == "unknown-field"
    inputs = shapes(case.inputs)
    with pytest.raises(Refusal) as raised:
        case.operator.shapes(())
    assert raised.value.code == "wrong-arity"
    if case.operator.arity[1] is not None:
        with pytest.raises(Refusal) as raised:
            case.operator.shapes((inputs[0],) * (case.operator.arity[1] + 1))
        assert raised.value.code == "wrong-arity"
    other = Shape(inputs[0].dims, dtype="int64" if inputs[0].dtype == "float" else "float")
    if case.operator.takes != "any":
        with pytest.raises(Refusal) as raised:
            case.operator.shapes((other, *inputs[1:]))
        assert raised.value.code == "wrong-dtype"
    if len(inputs) > 1:
        with pytest.raises(Refusal) as raised:
            case.operator.shapes((Shape(inputs[0].dims, samples=7), *inputs[1:]))
        assert raised.value.code == "mixed-samples"


@pytest.mark.parametrize("name", REGISTRY)
def test_samples_multiply_all_costs(name: str) -> None:
    """A tensor that stands for three samples a network input costs three times as much, and is three times as large."""
    case = EXAMPLES[name]
    inputs = shapes(case.inputs)
    thrice = tuple(Shape(shape.dims, 3 * shape.samples, shape.dtype) for shape in inputs)
    once, outputs = case.operator.shapes(inputs), case.operator.shapes(thrice)
    assert [shape.numel for shape in outputs] == [3 * shape.numel for shape in once]
    assert case.operator.parameters(thrice) == case.operator.parameters(inputs)
    for train in (False, True):
        mine, theirs = case.operator.cost(thrice, outputs, train), case.operator.cost(inputs, once, train)
        assert theirs is not None
        assert mine == theirs * 3
    back = case.operator.backward_cost(thrice, outputs, (True,) * len(inputs), True)
    back_once = case.operator.backward_cost(inputs, once, (True,) * len(inputs), True)
    assert back_once is not None
    assert back == back_once * 3


@pytest.mark.parametrize("name", REGISTRY)
def test_costs_are_never_negative(name: str) -> None:
    for case in CASES:
        if case.op == name:
            operator, inputs = case.operator, shapes(case.inputs)
            outputs = operator.shapes(inputs)
            for cost in (
                operator.cost(inputs, outputs),
                operator.cost(inputs, outputs, train=True),
                *(
                    operator.backward_cost(inputs, outputs, needed, bool(operator.parameters(inputs)))
                    for needed in product((False, True), repeat=len(inputs))
                ),
            ):
                assert cost is not None
                assert min(getattr(cost, field) for field in Cost.__struct_fields__) >= 0


@pytest.mark.parametrize("name", REGISTRY)
def test_no_gradient_costs_nothing(name: str) -> None:
    for case in CASES:
        if case.op == name:
            inputs, outputs = shapes(case.inputs), shapes(case.outputs)
            assert case.operator.backward_cost(inputs, outputs, (False,) * len(inputs), False) == Cost()


@pytest.mark.parametrize("name", [name for name, cls in REGISTRY.items() if cls.view])
def test_views_cost_nothing(name: str) -> None:
    in_training = name in ("dropout", "drop_path")  # which compute then
    for case in CASES:
        if case.op == name:
            inputs, outputs = shapes(case.inputs), shapes(case.outputs)
            assert case.operator.cost(inputs, outputs) == Cost()
            assert (case.operator.cost(inputs, outputs, train=True) == Cost()) is not in_training
            if name != "parameter":  # whose gradients are added up
                assert (
                    case.operator.backward_cost(inputs, outputs, (True,) * len(inputs), False) == Cost()
                ) is not in_training


class One(nn.Module):
    """A network of one layer: a module of torch's own is a leaf to the tracer, as it is in a real one."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class Two(One):
    def forward(self, x: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self.layer(x, y)


class Three(One):
    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Any:  # type: ignore[override]
        return self.layer(x, y, z)


class Tracer(fx.Tracer):
    """torch's, to which recurrent layers are leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or isinstance(m, nn.RNNBase)


@pytest.mark.parametrize("name", REGISTRY)
def test_every_module_can_be_traced(name: str) -> None:
    for case in CASES:
        if case.op == name:
            inputs = shapes(case.inputs)
            net = (One, Two, Three)[len(inputs) - 1](case.operator.module(inputs).eval())
            traced = fx.GraphModule(net, Tracer().trace(net))
            given = tensors(inputs)
            for mine, theirs in zip(as_tuple(traced(*given)), as_tuple(net(*given)), strict=True):
                torch.testing.assert_close(mine, theirs)


VARIADIC = {"add", "subtract", "multiply", "concat"}  # their modules' forward takes *tensors


@pytest.mark.parametrize("name", REGISTRY)
def test_every_module_can_be_exported(name: str) -> None:
    """torch.export traces it without running Python on data, for any batch."""
    case = EXAMPLES[name]
    inputs = shapes(case.inputs)
    module = case.operator.module(inputs).eval()
    given = tensors(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export's own
        batch = torch.export.Dim("batch", min=2, max=64)
        dynamic = tuple({0: batch * shape.samples if shape.samples > 1 else batch} for shape in inputs)
        exported = torch.export.export(module, tuple(given), dynamic_shapes=(dynamic,) if name in VARIADIC else dynamic)
    again = tensors(inputs, batch=BATCH + 1)
    for mine, theirs in zip(as_tuple(exported.module()(*again)), as_tuple(module(*again)), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_registering_refuses_mistakes_at_import() -> None:
    class Fine(Operator, frozen=True, kw_only=True):
        size: int

    with pytest.raises(RuntimeError, match=r"^operator relu is registered already, by Relu$"):
        register("relu", size=Integer())(Fine)
    with pytest.raises(TypeError, match=r"^operator new: fields \('size',\) and kinds \(\) differ$"):
        register("new")(Fine)
    with pytest.raises(TypeError, match=r"^operator new: expected a subclass of Operator, got <class 'int'>$"):
        register("new")(int)  # type: ignore[type-var]
    assert "new" not in REGISTRY


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("conv2", "unknown operator conv2: did you mean conv2d?"),
        ("Conv2d", "unknown operator Conv2d: did you mean conv2d?"),
        ("none", "unknown operator none: write null for none"),
        ("xyzzy", "unknown operator xyzzy"),
    ],
)
def test_unknown_operators(name: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        create(name)
    assert (raised.value.code, str(raised.value)) == ("unknown-operator", message)


@pytest.mark.parametrize(
    ("kind", "value", "code", "message"),
    [
        (Integer(1), 32.0, "not-an-integer", "must be an integer, not 32.0"),
        (Integer(1), True, "not-an-integer", "must be an integer, not true"),
        (Integer(1), "64", "quoted-number", 'must be an integer, not the word "64": write 64 without quotes'),
        (Integer(1), None, "wrong-type", "must be an integer, not null"),
        (Integer(1), [3], "wrong-type", "must be an integer, not [3]"),
        (Integer(1), -3, "out-of-range", "must be at least 1, not -3"),
        (Integer(1), -(10**30), "out-of-range", "must be at least 1, not a number of 31 digits"),
        (Integer(1, 5), 6, "out-of-range", "must be at most 5, not 6"),
        (Number(0, 1), float("nan"), "out-of-range", "must be finite, not nan"),
        (Number(0, 1), 2, "out-of-range", "must be at most 1, not 2"),
        (Number(0, 1), {}, "wrong-type", "must be a number, not a map"),
    ],
)
def test_kinds(kind: Kind, value: Any, code: str, message: str) -> None:
    with pytest.raises(Refusal) as raised:
        kind.check(value)
    assert (raised.value.code, str(raised.value)) == (code, message)


def test_importing_the_operators_imports_no_torch() -> None:
    heavy = ("torch", "numpy", "fractions", "dataclasses", "difflib")
    script = f"import sys, archprof.operators; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
