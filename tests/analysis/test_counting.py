import pytest

from archprof.analysis import CONVENTIONS, convention
from archprof.cost import COUNTINGS, Cost
from archprof.errors import UsageError

COST = Cost(
    multiply_adds=1,
    bias_additions=10,
    additions=100,
    multiplications=1_000,
    divisions=10_000,
    comparisons=100_000,
    special=1_000_000,
    fvcore=10_000_000,
    activations=100_000_000,
)


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("multiply_adds", 1),
        ("multiply_adds_with_bias", 1 + 10),
        ("operations", 2 * 1 + 10 + 100 + 1_000 + 10_000 + 1_000_000),
        ("fvcore", 1 + 10_000_000),
    ],
)
def test_weights(name: str, flops: int) -> None:
    assert convention(name).count(COST) == flops


def test_every_convention_counts_and_says_what_a_flop_is() -> None:
    assert tuple(CONVENTIONS) == COUNTINGS
    for name, each in CONVENTIONS.items():
        assert each.name == name
        assert each.caption.startswith("a FLOP is ")
        assert each.count(Cost()) == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("multiply_add", "unknown counting convention multiply_add: did you mean multiply_adds?"),
        (
            "xyz",
            "unknown counting convention xyz: there are multiply_adds, multiply_adds_with_bias, operations and fvcore",
        ),
    ],
)
def test_unknown_convention(name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        convention(name)
    assert str(raised.value) == message
