from fractions import Fraction

import pytest

from archprof.analysis import analyse
from archprof.analysis.receptive_field import receptive_fields
from archprof.operators.base import WHOLE, Inputs, Operator, Window
from archprof.shape import Shape
from tests.graphs import Builder


class Resized(Operator, frozen=True, kw_only=True):
    """A map of another size, seen through a given window."""

    scale: Fraction
    seen: Window | str | None = None

    def infer(self, inputs: Inputs) -> tuple[Shape, ...]:
        channels, *sizes = inputs[0].dims
        return (inputs[0].with_dims(channels, *(int(size * self.scale) for size in sizes)),)

    def window(self, inputs: Inputs, outputs: Inputs) -> Window | str | None:
        return self.seen


def vgg(pools: int, convolutions: tuple[int, ...]) -> Builder:
    net = Builder((3, 224, 224))
    for group in range(pools):
        for place in range(convolutions[group]):
            net.add(f"conv{group}_{place}", "conv2d", out_channels=2, kernel_size=3, padding=1)
        net.add(f"pool{group}", "max_pool2d", kernel_size=2, stride=2)
    return net


def test_vgg_16() -> None:
    """Araujo et al. 2019, table of receptive fields: VGG-16's last pool sees 212 pixels."""
    # 1 + 2*2 (two 3x3 of stride 1) + 1 (2x2 pool) = 6, and so on with jumps of 2, 4, 8, 16
    expected = 1 + (2 * 2 + 1) * 1 + (2 * 2 + 1) * 2 + (3 * 2 + 1) * 4 + (3 * 2 + 1) * 8 + (3 * 2 + 1) * 16
    assert expected == 212
    assert analyse(vgg(5, (2, 2, 3, 3, 3)).graph()).receptive_field == (212, 212)


def test_two_3x3_see_what_one_5x5_sees() -> None:
    two = Builder((3, 32, 32))
    two.add("a", "conv2d", out_channels=3, kernel_size=3, padding=1)
    two.add("b", "conv2d", out_channels=3, kernel_size=3, padding=1)
    one = Builder((3, 32, 32))
    one.add("a", "conv2d", out_channels=3, kernel_size=5, padding=2)
    assert analyse(two.graph()).receptive_field == analyse(one.graph()).receptive_field == (5, 5)


@pytest.mark.parametrize(("stride_first", "expected"), [(True, 483), (False, 427)])
def test_resnet_50(stride_first: bool, expected: int) -> None:
    """Araujo et al. 2019 give 483 for ResNet-50; the stride's place in a block decides how far its 3x3 reaches."""
    net = Builder((3, 224, 224))
    net.add("conv1", "conv2d", out_channels=2, kernel_size=7, stride=2, padding=3)
    net.add("pool1", "max_pool2d", kernel_size=3, stride=2, padding=1)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            before = len(net.nodes) - 1
            path = f"stage{stage}.{block}"
            net.add(f"{path}.a", "conv2d", out_channels=2, kernel_size=1, stride=stride if stride_first else 1)
            net.add(
                f"{path}.b",
                "conv2d",
                out_channels=2,
                kernel_size=3,
                stride=1 if stride_first else stride,
                padding=1,
            )
            end = net.add(f"{path}.c", "conv2d", out_channels=2, kernel_size=1)
            side = net.add(f"{path}.side", "conv2d", before, out_channels=2, kernel_size=1, stride=stride)
            net.add(f"{path}.add", "add", end, side)
    assert analyse(net.graph()).receptive_field == (expected, expected)


def test_dilation_and_each_dimension_apart() -> None:
    net = Builder((3, 32, 20))
    net.add("a", "conv2d", out_channels=3, kernel_size=[3, 5], dilation=[4, 1], padding="same")
    net.add("b", "conv2d", out_channels=3, kernel_size=3, stride=[1, 2])
    net.add("c", "conv2d", out_channels=3, kernel_size=3, padding="same")
    # height: 9, 9 + 2, 11 + 2; width: 5, 5 + 2, 7 + 2 * 2
    assert receptive_fields(net.graph())[1:] == [(9, 5), (11, 7), (13, 11)]


def test_branches_are_joined_where_they_stand() -> None:
    """A branch that looks one way and a branch that looks the other: 3 + 3 - 1 pixels, not 3."""
    net = Builder((3, 16, 16))
    left = net.add("left", "conv2d", 0, out_channels=3, kernel_size=3, padding=[[2, 0], [2, 0]])
    right = net.add("right", "conv2d", 0, out_channels=3, kernel_size=3, padding=[[0, 2], [0, 2]])
    net.add("add", "add", left, right)
    net.add("conv", "conv2d", out_channels=3, kernel_size=3, padding=1)
    assert receptive_fields(net.graph())[1:] == [(3, 3), (3, 3), (5, 5), (7, 7)]


def test_what_sees_all_has_the_input_s_size() -> None:
    net = Builder((3, 20, 30))
    conv = net.add("conv", "conv2d", 0, out_channels=3, kernel_size=3, padding=1)
    pooled = net.add("pool", Resized(scale=Fraction(1), seen=WHOLE), conv)
    net.add("add", "add", conv, pooled)
    net.add("after", "conv2d", out_channels=3, kernel_size=3, padding=1)
    assert receptive_fields(net.graph())[1:] == [(3, 3), (20, 30), (20, 30), (20, 30)]


def test_enlarging_gives_fractions() -> None:
    net = Builder((3, 16, 16))
    half = Resized(scale=Fraction(2), seen=Window((2, 2), (Fraction(1, 2), Fraction(1, 2)), (0, 0)))
    net.add("up", half)
    net.add("conv", "conv2d", out_channels=3, kernel_size=4, padding="same")
    # 2 pixels; then 4 positions that are half a pixel apart: 2 + 3/2
    assert receptive_fields(net.graph())[1:] == [(2, 2), (Fraction(7, 2), Fraction(7, 2))]


def test_branches_out_of_step_are_widest_at_an_end() -> None:
    net = Builder((3, 9, 9))
    up = net.add("out_of_step", Resized(scale=Fraction(1), seen=Window((1, 1), (Fraction(1, 2), 2), (0, 0))), 0)
    same = net.add("same", Resized(scale=Fraction(1)), 0)
    net.add("add", "add", up, same)
    # at position 8: one pixel at 8 and one at 4, and one at 8 and one at 16
    assert receptive_fields(net.graph())[-1] == (8 - 4 + 1, 16 - 8 + 1)


def test_what_is_no_map_has_none() -> None:
    net = Builder((10,), (3, 8, 8))
    vector = net.add("linear", "linear", 0, out_features=4)
    conv = net.add("conv", "conv2d", 1, out_channels=4, kernel_size=3)
    graph = net.graph(vector, conv)
    assert receptive_fields(graph) == [None, (1, 1), None, (3, 3)]


def test_a_sequence_is_traced_where_a_convolution_slides_over_it() -> None:
    net = Builder((1, 100))
    net.add("conv", "conv1d", out_channels=4, kernel_size=7, stride=3)
    net.add("conv_", "conv1d", out_channels=4, kernel_size=3)
    assert receptive_fields(net.graph()) == [None, (7,), (7 + 2 * 3,)]


def test_maps_of_different_dimensions_are_not_traced() -> None:
    net = Builder((3, 8, 8), (3, 4, 8, 8))
    net.add("both", Resized(scale=Fraction(1)), 0, 1)
    net.add("wrong", Resized(scale=Fraction(1), seen=Window((3,), (1,), (0,))), 0)
    assert receptive_fields(net.graph())[2:] == [None, None]
