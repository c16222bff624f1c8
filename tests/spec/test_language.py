"""The spec language, rule by rule, as `archprof` documents it: small specs, and the graphs they come to."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from archprof.analysis import Analysis, analyse
from archprof.analysis.check import FAILED, check
from archprof.graph import Graph
from archprof.shape import Shape
from archprof.spec import MAX_NODES, expand
from archprof.spec.document import Document
from archprof.spec.errors import SpecError
from archprof.spec.library import find_spec, find_variant, parse_text


def net(layers: str, head: str = "input: [4, 8, 8]") -> str:
    """A spec of these layers, a line each, after the other keys of the file."""
    return f"name: net\n{dedent(head).strip()}\nlayers:\n{indent(dedent(layers).strip(), '  ')}\n"


def document_of(text: str) -> Document:
    return parse_text(text.encode(), "net.yaml")


def graph_of(text: str, variant: str | None = None, max_nodes: int = MAX_NODES, **parameters: object) -> Graph:
    document = document_of(text)
    chosen = find_variant(document, variant) if variant else None
    return expand(document, chosen, parameters, max_nodes=max_nodes)


def analysis_of(text: str, variant: str | None = None, **parameters: object) -> Analysis:
    return analyse(graph_of(text, variant, **parameters))


def told(text: str, variant: str | None = None, **parameters: object) -> list[str]:
    """The mistakes of a spec, each as its line, its message and its code."""
    with pytest.raises(SpecError) as caught:
        graph_of(text, variant, **parameters)
    return [f"{mistake.line}: {mistake.message} [{mistake.code}]" for mistake in caught.value.mistakes]


def paths(graph: Graph) -> list[str]:
    return [node.path for node in graph.nodes if not node.is_input]


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {node.path: node.output_shapes[0].dims for node in graph.nodes if not node.is_input}


def fed(graph: Graph) -> dict[str, list[str]]:
    """What each node takes: the path of a node, and the name of the output where it has several."""
    names = {}
    for index, node in enumerate(graph.nodes):
        suffixes = node.operator.output_names() or ("",)
        for number, suffix in enumerate(suffixes):
            names[index, number] = f"{node.path}.{suffix}".rstrip(".")
    return {
        node.path: [names[value] for value in node.inputs]  # a Value is the pair of node and output
        for node in graph.nodes
        if not node.is_input
    }


def channels(graph: Graph) -> list[int]:
    """The channels that each node puts out."""
    return [node.output_shapes[0].channels for node in graph.nodes if not node.is_input]


def params(text: str, **parameters: object) -> int:
    return analysis_of(text, **parameters).params


# --- 1: expressions


class TestExpressions:
    @pytest.mark.parametrize(
        ("layers", "paths_and_channels"),
        [
            ("- {name: a, op: conv2d, out_channels: =2 * w, kernel_size: 1}", {"a": 16}),
            ("- {name: a, op: conv2d, out_channels: 2, kernel_size: [=k, =k + 1]}", {"a": 2}),
            ("- {name: a, op: =kind}", {"a": 4}),
            ("- {name: a, block: ='w' + 'ide'}", {"a.conv2d": 9}),
            ("- {name: a, op: relu, repeat: =k - 1}", {"a.0": 4, "a.1": 4}),
            (
                "- {name: a, op: conv2d, kernel_size: 1, repeat: '=[w, 5]', out_channels: =item}",
                {"a.0": 8, "a.1": 5},
            ),
            ("- {name: a, op: relu, when: =w > 8}\n- {op: tanh}", {"tanh": 4}),
            ("- {name: a, op: relu}\n- {op: tanh, from: '=[\"a\", \"b\"][k - 3]'}",
             {"a": 4, "tanh": 4}),
            ("- {op: conv2d, out_channels: 2, kernel_size: 1, activation: =kind}",
             {"conv2d.conv2d": 2, "conv2d.activation": 2}),
            ("- {op: conv2d, out_channels: 2, kernel_size: 1, norm: '=null if w == 8 else kind'}", {"conv2d": 2}),
        ],
    )  # fmt: skip
    def test_where_they_stand(self, layers, paths_and_channels):
        head = """
            input: [4, 8, 8]
            parameters: {w: 8, k: 3, kind: tanh}
            blocks: {wide: {layers: [{op: conv2d, out_channels: 9, kernel_size: 1}]}}
        """
        used = "- {op: identity, when: =w + k > 0 and kind == ''}\n"  # so that no parameter is unused
        graph = graph_of(net(used + layers, head))
        assert dict(zip(paths(graph), channels(graph), strict=True)) == paths_and_channels

    def test_in_an_input(self):
        text = net("- {op: relu}", "input: [3, =size, =2 * size]\nparameters: {size: 5}")
        assert shapes(graph_of(text)) == {"relu": (3, 5, 10)}
        assert shapes(graph_of(text, size=7)) == {"relu": (3, 7, 14)}
        assert shapes(graph_of(net("- {op: relu}", "input: =dims\nlet: {dims: [3, 5, 5]}"))) == {"relu": (3, 5, 5)}

    @pytest.mark.parametrize(
        ("text", "messages"),
        [
            (net("- {name: ='a', op: relu}"), ["4: name cannot be an expression: write a word [bad-name]"]),
            ("name: =x\ninput: [3]\nlayers: [{op: relu}]\n",
             ["1: name cannot be an expression: write a word [bad-name]"]),
            (net("- {op: relu}", "input: [3]\nlet: {a: {=x: 1}}"),
             ["3: =x stands as a key; an expression may only be a value [expression-as-key]"]),
            (net("- {op: relu}", "input: [3]\ncounting: =x"),
             ["3: unknown counting =x: write multiply_adds, multiply_adds_with_bias, operations or fvcore "
              "[not-a-choice]"]),
            (net("- {op: relu}", "input: [3]\nfold: =x"), ["3: fold cannot be an expression: write the value "
                                                         "[not-an-expression]"]),
            (net("- {op: conv2d, out_channels: =64 / 2, kernel_size: 1}"),
             ["4: layer conv2d: out_channels must be an integer, not 32.0: write =64 // 2 [not-an-integer]"]),
            (net("- {op: conv2d, out_channels: =true, kernel_size: 1}"),
             ["4: layer conv2d: out_channels must be an integer, not true: write =2 if true else 1 [not-an-integer]"]),
            (net("- {op: conv2d, out_channels: 2, kernel_size: 1, bias: =1}"),
             ["4: layer conv2d: bias must be true or false, not 1 [not-a-boolean]"]),
        ],
    )  # fmt: skip
    def test_where_they_do_not(self, text, messages):
        assert told(text) == messages

    @pytest.mark.parametrize("name", ["index", "item"])
    def test_index_and_item_exist_in_repeats_only(self, name):
        assert told(net(f"- {{op: conv2d, out_channels: ={name}, kernel_size: 1}}")) == [
            f"4: layer conv2d: out_channels: {name} exists only in a layer with repeat or parallel [outside-repeat]"
        ]

    def test_a_float_field_takes_both_kinds_of_number(self):
        assert paths(graph_of(net("- {op: dropout, p: =1 / 2}\n- {op: leaky_relu, negative_slope: =0}")))

    def test_index_and_item_count_the_copies_of_the_innermost_repeat(self):
        text = net(
            """
            - {name: outer, block: pair, repeat: [3, 5], with: {c: =item, at: =index}}
            """,
            """
            input: [4, 8, 8]
            blocks:
              pair:
                parameters: {c: null, at: null}
                layers:
                  - {name: conv, op: conv2d, kernel_size: 1, repeat: 2, out_channels: =100 * c + 10 * at + index + item}
            """,
        )
        assert channels(graph_of(text)) == [300, 302, 510, 512]


# --- 2: in_channels


class TestInChannels:
    @pytest.mark.parametrize(
        ("shape", "expected"),
        [("[4, 8, 6]", 4), ("[8, 6]", 6), ("[6]", 6), ("[5, 4, 8, 6]", 5)],
    )
    def test_is_the_first_dimension_of_a_map_and_the_last_of_others(self, shape, expected):
        text = net("- {name: a, op: relu, repeat: =in_channels}", f"input: {shape}")
        assert len(paths(graph_of(text))) == expected

    def test_is_of_what_enters_after_from(self):
        text = net(
            """
            - {name: wide, op: conv2d, out_channels: 9, kernel_size: 1}
            - {name: thin, op: conv2d, out_channels: 2, kernel_size: 1}
            - {name: a, op: conv2d, from: wide, out_channels: =in_channels + 1, kernel_size: 1}
            - {op: concat, from: [a, thin]}
            """
        )
        assert shapes(graph_of(text))["a"] == (10, 8, 8)

    def test_in_with_and_in_a_blocks_let_is_of_what_enters_this_copy(self):
        text = net(
            "- {name: a, block: grow, repeat: 3, with: {more: =in_channels}}",
            """
            input: [4, 8, 8]
            blocks:
              grow:
                parameters: {more: null}
                let: {entered: =in_channels}
                layers:
                  - {op: conv2d, out_channels: 1, kernel_size: 1}
                  - {name: out, op: conv2d, out_channels: =10 * (more + entered) + in_channels, kernel_size: 1}
            """,
        )
        # 10 * (4 + 4) + 1, then 10 * (81 + 81) + 1
        assert channels(graph_of(text)) == [1, 81, 1, 1621, 1, 32421]

    def test_of_several_inputs_is_an_error_of_its_own(self):
        block = """
            input: [4, 8, 8]
            blocks:
              join:
                inputs: [x, y]
                let: {c: =in_channels}
                layers:
                  - {name: sum, op: add, from: [x, y]}
                  - {op: relu, when: =c > 1}
        """
        assert told(net("- {op: relu}\n- {name: j, block: join, from: [relu, input]}", block)) == [
            "6: let c: in_channels needs exactly one input, and 2 enter here (in block join, used on line 12) "
            "[no-in-channels]"
        ]
        assert told(net("- {op: relu}\n- {op: concat, from: [relu, input], dim: =in_channels}")) == [
            "5: layer concat: dim: in_channels needs exactly one input, and 2 enter here [no-in-channels]"
        ]

    def test_is_nothing_where_nothing_enters(self):
        assert told(net("- {op: relu}", "input: [4, =in_channels]")) == [
            "2: input dimension: in_channels exists only where something enters: in a layer, and in a block's `let` "
            "[no-in-channels]"
        ]


# --- 3: parameters


BLOCK_OF_ONE = """
    input: [4, 8, 8]
    blocks:
      b:
        parameters: {c: null, k: {default: 1, choices: [1, 3]}, times: {default: 1, minimum: 1}}
        layers:
          - {name: conv, op: conv2d, out_channels: =c, kernel_size: =k, repeat: =times}
"""


class TestParameters:
    HEAD = """
        input: [4, 8, 8]
        parameters:
          width: 6
          must: null
          kind: {default: a, choices: [a, b], help: which}
          maybe: {default: null}
          times: {default: 2, minimum: 1}
    """
    LAYERS = """
        - {name: a, op: conv2d, out_channels: =width + must, kernel_size: 1, repeat: =times}
        - {name: b, op: relu, when: =kind == 'b'}
        - {name: c, op: relu, when: =maybe == null}
    """

    def test_have_defaults_and_values(self):
        text = net(self.LAYERS, self.HEAD)
        assert shapes(graph_of(text, must=1)) == {"a.0": (7, 8, 8), "a.1": (7, 8, 8), "c": (7, 8, 8)}
        assert paths(graph_of(text, must=1, times=1, kind="b", maybe=3)) == ["a.0", "b"]
        assert graph_of(text, must=1).parameters == {"width": 6, "must": 1, "kind": "a", "maybe": None, "times": 2}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "5: parameter must must be given: --set must=... [missing-parameter]"),
            ({"must": 1, "kind": "c"}, '6: parameter kind must be a or b, not the word "c" [not-a-choice]'),
            ({"must": 1, "times": 0}, "8: parameter times must be at least 1, not 0 [out-of-range]"),
            ({"must": 1, "times": 2.0}, "8: parameter times must be an integer, not 2.0 [not-an-integer]"),
            ({"must": 1, "width": "6"},
             '4: parameter width must be an integer, not the word "6": write 6 without quotes [quoted-number]'),
            ({"must": 1, "widht": 6}, "0: the file has no parameter widht: did you mean width? [unknown-parameter]"),
        ],
    )  # fmt: skip
    def test_of_a_file_are_checked(self, given, message):
        assert told(net(self.LAYERS, self.HEAD), **given) == [message]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("{}", "9: layer a (b): block b needs c: give it in `with` [missing-parameter]"),
            ("{c: 2, k: 2}", "9: layer a (b): k must be 1 or 3, not 2 [not-a-choice]"),
            ("{c: 2, times: 0}", "9: layer a (b): times must be at least 1, not 0 [out-of-range]"),
            ("{c: 2, d: 0}", "9: layer a (b): block b has no parameter d; it has c, k and times [unknown-parameter]"),
            ("{c: 2, k: =2 + 2}", "9: layer a (b): k must be 1 or 3, not 4 [not-a-choice]"),
            ("=[2]", "9: layer a (b): with must be a map, not [2] [wrong-type]"),
        ],
    )
    def test_of_a_block_are_checked(self, given, message):
        given = f"'{given}'" if given.startswith("=") else given
        assert told(net(f"- {{name: a, block: b, with: {given}}}", BLOCK_OF_ONE)) == [message]

    def test_a_whole_map_gives_a_block_its_parameters(self):
        text = net(
            "- {name: stage, block: b, repeat: =rows, with: =item}",
            BLOCK_OF_ONE + "    let: {rows: [{c: 2, times: 2}, {c: 7, k: 3}]}",
        )
        assert shapes(graph_of(text)) == {
            "stage.0.conv.0": (2, 8, 8), "stage.0.conv.1": (2, 8, 8), "stage.1.conv.0": (7, 6, 6),
        }  # fmt: skip
        wrong = text.replace("k: 3", "t: 3")
        assert told(wrong) == [
            "10: layer stage (b): block b has no parameter t; it has c, k and times [unknown-parameter]"
        ]

    def test_a_block_sees_no_outer_name(self):
        head = """
            input: [4, 8, 8]
            parameters: {w: 3}
            let: {double: =2 * w}
            blocks:
              b:
                layers:
                  - {op: conv2d, out_channels: =double, kernel_size: 1}
        """
        assert told(net("- {block: b}", head)) == [
            "8: layer conv2d: out_channels: block b has no parameter double; the file has: add it to the block's "
            "parameters and to `with` [file-name-in-block]"
        ]

    def test_that_nobody_uses_are_refused(self):
        head = "input: [4, 8, 8]\nparameters: {w: 3}\nblocks: {b: {parameters: {v: 1}, layers: [{op: relu}]}}"
        assert told(net("- {block: b}", head)) == [
            "3: nothing uses parameter w [unused-parameter]",
            "4: block b: nothing uses parameter v [unused-parameter]",
        ]


# --- 4: let


class TestLet:
    def test_is_evaluated_in_order(self):
        layers = "- {op: conv2d, out_channels: =c, kernel_size: 1}"
        head = "input: [4, 8, 8]\nparameters: {w: 3}\nlet: {a: =w + 1, b: '=[a, a * a]', c: '=b[1]'}"
        assert channels(graph_of(net(layers, head))) == [16]
        assert channels(graph_of(net(layers, head), w=4)) == [25]
        backwards = net(layers, "input: [4, 8, 8]\nlet: {c: =a, a: 1}")
        assert told(backwards) == [
            "3: let c: unknown name a: for the word write 'a' [unknown-name]",
        ]

    def test_holds_tables_with_integer_keys(self):
        head = """
            input: [4, 8, 8]
            parameters: {depth: 18}
            let:
              counts: {18: [2, 1], 50: [3, 4]}
              names: {one: yes, 1: one}
              rows:
                - {t: 6, c: 24}
        """
        layers = """
            - {name: a, op: relu, repeat: '=counts[depth][0]'}
            - {name: b, op: relu, repeat: '=counts[depth][1]', when: "=names['one'] == 'yes' and names[1] == 'one'"}
            - {name: c, op: conv2d, out_channels: "=rows[0].t + rows[0]['c']", kernel_size: 1}
        """
        assert paths(graph_of(net(layers, head))) == ["a.0", "a.1", "b.0", "c"]
        assert paths(graph_of(net(layers, head), depth=50)) == [
            "a.0", "a.1", "a.2", "b.0", "b.1", "b.2", "b.3", "c"
        ]  # fmt: skip
        assert channels(graph_of(net(layers, head)))[-1] == 6 + 24
        assert told(net(layers, head), depth=34) == [
            f"{line}: layer {name} (relu): repeat: the map has no key 34; it has 18, 50 [no-such-key]"
            for line, name in ((10, "a"), (11, "b"))
        ]

    def test_of_a_block_sees_its_parameters(self):
        head = """
            input: [4, 8, 8]
            blocks:
              b:
                parameters: {w: 2}
                let: {double: =2 * w, more: =double + in_channels}
                layers:
                  - {op: conv2d, out_channels: =more, kernel_size: 1}
        """
        assert channels(graph_of(net("- {name: a, block: b, repeat: 2}", head))) == [2 * 2 + 4, 2 * 2 + 8]


# --- 5: defaults


class TestDefaults:
    def test_fill_in_what_a_layer_does_not_say(self):
        head = """
            input: [4, 8, 8]
            defaults: {conv2d: {kernel_size: 3, padding: 1, bias: false}, max_pool2d: {kernel_size: 2}}
            blocks: {b: {layers: [{op: conv2d, out_channels: 2}]}}
        """
        layers = """
            - {name: own, op: conv2d, out_channels: 5, kernel_size: 1, padding: 0}
            - {op: max_pool2d}
            - {block: b}
        """
        analysis = analysis_of(net(layers, head))
        assert shapes(analysis.graph) == {"own": (5, 8, 8), "max_pool2d": (5, 4, 4), "b.conv2d": (2, 4, 4)}
        assert analysis.params == 5 * 4 + 2 * 5 * 3 * 3  # no bias anywhere, in the block neither

    def test_null_drops_one(self):
        head = "input: [4, 8, 8]\ndefaults: {conv2d: {padding: 1, stride: 2, norm: batch_norm2d, activation: relu}}"
        layers = """
            - {name: a, op: conv2d, out_channels: 5, kernel_size: 3}
            - {name: b, op: conv2d, out_channels: 5, kernel_size: 3, stride: null, norm: null}
            - {name: c, op: conv2d, out_channels: 5, kernel_size: 3, padding: null, norm: null, activation: null}
        """
        assert shapes(graph_of(net(layers, head))) == {
            "a.conv2d": (5, 4, 4), "a.norm": (5, 4, 4), "a.activation": (5, 4, 4),
            "b.conv2d": (5, 4, 4), "b.activation": (5, 4, 4),
            "c": (5, 1, 1),
        }  # fmt: skip

    def test_a_required_field_that_null_drops_is_missing(self):
        head = "input: [4, 8, 8]\ndefaults: {conv2d: {kernel_size: 3}}"
        assert told(net("- {op: conv2d, out_channels: 5, kernel_size: null}", head)) == [
            "5: layer conv2d: conv2d needs kernel_size [missing-field]"
        ]

    def test_reach_norms_and_activations(self):
        head = """
            input: [4, 8, 8]
            defaults: {batch_norm2d: {affine: false}, leaky_relu: {negative_slope: 0.2}}
        """
        layer = "- {op: conv2d, out_channels: 5, kernel_size: 1, bias: false, norm: batch_norm2d, activation: %s}"
        assert params(net(layer % "leaky_relu", head)) == 5 * 4
        node = graph_of(net(layer % "leaky_relu", head)).nodes[-1]
        assert node.operator.negative_slope == 0.2
        node = graph_of(net(layer % "{op: leaky_relu, negative_slope: 0.3}", head)).nodes[-1]
        assert node.operator.negative_slope == 0.3

    def test_expressions_in_them_see_the_file_and_what_enters_the_layer(self):
        head = """
            input: [4, 8, 8]
            parameters: {k: 3}
            defaults: {conv2d: {kernel_size: =k, groups: =in_channels}}
            blocks:
              b:
                parameters: {k: 100}  # not the file's
                layers:
                  - {op: conv2d, out_channels: =8 if k == 100 else 1}
        """
        analysis = analysis_of(net("- {block: b}\n- {op: conv2d, out_channels: 16}", head))
        assert shapes(analysis.graph) == {"b.conv2d": (8, 6, 6), "conv2d": (16, 4, 4)}
        assert analysis.params == (8 * 3 * 3 + 8) + (16 * 3 * 3 + 16)  # one input channel a group
        assert channels(graph_of(net("- {op: conv2d, out_channels: 16}", "\n".join(
            line for line in dedent(head).splitlines()[:4])), k=1)) == [16]  # fmt: skip

    def test_expressions_for_norm_and_activation_see_the_file_too(self):
        head = """
            input: [4, 8, 8]
            parameters: {kind: tanh}
            defaults: {conv2d: {kernel_size: 1, activation: =kind}}
            blocks:
              b:
                parameters: {kind: 3}
                layers:
                  - {op: conv2d, out_channels: =kind}
        """
        graph = graph_of(net("- {block: b}", head))
        assert [node.operator.op for node in graph.nodes] == ["input", "conv2d", "tanh"]

    def test_what_is_wrong_in_them(self):
        head = "input: [4, 8, 8]\ndefaults: {conv2d: {stride: 0, kernel: 3}, conf2d: {}, relu: {norm: bach_norm2d}}"
        assert told(net("- {op: relu}", head)) == [
            "3: defaults of conv2d: stride must be at least 1, not 0 [out-of-range]",
            "3: defaults of conv2d: unknown key kernel: did you mean kernel_size? [unknown-key]",
            "3: defaults: unknown operator conf2d: did you mean conv2d? [unknown-operator]",
            "3: defaults of relu: norm: unknown operator bach_norm2d: did you mean batch_norm2d? [unknown-operator]",
        ]


# --- 6: flow


class TestFlow:
    def test_a_layer_takes_the_one_before(self):
        assert fed(graph_of(net("- {op: relu}\n- {op: tanh}\n- {op: sigmoid}"))) == {
            "relu": ["input"], "tanh": ["relu"], "sigmoid": ["tanh"],
        }  # fmt: skip

    def test_from_names_others(self):
        layers = """
            - {name: a, op: relu}
            - {name: b, op: tanh, from: input}
            - {name: c, op: add, from: [a, previous, input]}
            - {name: d, op: add, from: [c, c]}
        """
        assert fed(graph_of(net(layers))) == {
            "a": ["input"], "b": ["input"], "c": ["a", "b", "input"], "d": ["c", "c"],
        }  # fmt: skip

    def test_from_reaches_into_earlier_blocks(self):
        head = """
            input: [4, 8, 8]
            blocks:
              unit:
                layers:
                  - {name: conv1, op: conv2d, out_channels: 4, kernel_size: 1, activation: relu}
                  - {op: tanh}
        """
        layers = """
            - {name: stage2, block: unit, repeat: 2}
            - {name: sum, op: add, from: [stage2.0.conv1, stage2.1.conv1.conv2d, stage2.0, stage2]}
        """
        assert fed(graph_of(net(layers, head)))["sum"] == [
            "stage2.0.conv1.activation", "stage2.1.conv1.conv2d", "stage2.0.tanh", "stage2.1.tanh",
        ]  # fmt: skip

    def test_input_is_what_entered_the_list(self):
        head = """
            input: [4, 8, 8]
            blocks:
              residual:
                layers:
                  - {op: relu}
                  - {op: add, from: [relu, input]}
        """
        assert fed(graph_of(net("- {op: tanh}\n- {name: r, block: residual, repeat: 2}", head))) == {
            "tanh": ["input"],
            "r.0.relu": ["tanh"], "r.0.add": ["r.0.relu", "tanh"],
            "r.1.relu": ["r.0.add"], "r.1.add": ["r.1.relu", "r.0.add"],
        }  # fmt: skip

    def test_previous_inside_a_repeat_is_the_copy_before(self):
        layers = """
            - {name: a, op: relu}
            - {name: b, op: tanh, from: input}
            - {name: sum, op: add, repeat: 3, from: [previous, a]}
        """
        assert fed(graph_of(net(layers))) == {
            "a": ["input"], "b": ["input"], "sum.0": ["b", "a"], "sum.1": ["sum.0", "a"], "sum.2": ["sum.1", "a"],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("- {name: a, op: relu, from: b}\n- {name: b, op: relu}",
             "4: layer a (relu): from: b comes later (line 5); a layer takes earlier ones only [later-layer]"),
            ("- {name: a, op: relu, from: a}",
             "4: layer a (relu): from: a comes later (line 4); a layer takes earlier ones only [later-layer]"),
            ("- {name: conv, op: relu}\n- {name: b, op: relu, from: con}",
             "5: layer b (relu): from: no earlier layer of this list is called con: did you mean conv? "
             "[unknown-layer]"),
            ("- {name: a, op: relu, repeat: 2}\n- {name: b, op: relu, from: a.2}",
             "5: layer b (relu): from: no layer a.2: a has 2 copies, a.0 to a.1 [unknown-layer]"),
            ("- {name: a, op: relu}\n- {name: b, op: relu, from: a.x}",
             "5: layer b (relu): from: no layer a.x: there is nothing in a [unknown-layer]"),
        ],
    )  # fmt: skip
    def test_what_it_may_not_name(self, layers, message):
        assert told(net(layers)) == [message]

    def test_a_block_does_not_see_the_layers_around_it(self):
        head = "input: [4, 8, 8]\nblocks: {b: {layers: [{op: tanh, from: outer}]}}"
        assert told(net("- {name: outer, op: relu}\n- {block: b}", head)) == [
            "3: layer tanh: from: no earlier layer of this list is called outer [unknown-layer]"
        ]


# --- 7: blocks


class TestBlocks:
    def test_may_use_blocks(self):
        head = """
            input: [4, 8, 8]
            blocks:
              outer: {layers: [{name: one, block: inner}, {name: two, block: inner, repeat: 2}]}
              inner: {layers: [{op: relu}]}
        """
        assert paths(graph_of(net("- {name: a, block: outer}", head))) == [
            "a.one.relu", "a.two.0.relu", "a.two.1.relu",
        ]  # fmt: skip

    HOURGLASS = """
        input: [4, 64, 64]
        parameters: {levels: 3}
        blocks:
          hourglass:
            parameters: {levels: null}
            layers:
              - {name: down, op: max_pool2d, kernel_size: 2}
              - {name: inner, block: hourglass, when: =levels > 1, with: {levels: =levels - 1}}
              - {name: up, op: upsample, scale_factor: 2}
              - {op: add, from: [up, input]}
    """

    def test_may_use_themselves(self):
        text = net("- {name: h, block: hourglass, with: {levels: =levels}}", self.HOURGLASS)
        assert shapes(graph_of(text)) == {
            "h.down": (4, 32, 32), "h.inner.down": (4, 16, 16), "h.inner.inner.down": (4, 8, 8),
            "h.inner.inner.up": (4, 16, 16), "h.inner.inner.add": (4, 16, 16),
            "h.inner.up": (4, 32, 32), "h.inner.add": (4, 32, 32), "h.up": (4, 64, 64), "h.add": (4, 64, 64),
        }  # fmt: skip

    def test_are_nested_at_most_50_deep(self):
        head = """
            input: [4, 8, 8]
            parameters: {levels: 50}
            blocks:
              b:
                parameters: {levels: null}
                layers:
                  - {op: relu}
                  - {name: b, block: b, when: =levels > 1, with: {levels: =levels - 1}}
        """
        text = net("- {name: b, block: b, with: {levels: =levels}}", head)
        assert len(paths(graph_of(text))) == 50
        assert told(text, levels=51) == [
            "9: layer b: blocks are nested more than 50 deep: does b use itself without end? [block-depth]"
        ]

    NAMED = """
        input: [4, 8, 8]
        blocks:
          merge:
            inputs: [x, skip]
            layers:
              - {op: relu, from: skip}
              - {op: concat, from: [x, relu, skip]}
    """

    def test_may_name_several_inputs(self):
        text = net("- {name: a, op: tanh}\n- {name: m, block: merge, from: [a, input]}", self.NAMED)
        assert fed(graph_of(text)) == {
            "a": ["input"], "m.relu": ["input"], "m.concat": ["a", "m.relu", "input"],
        }  # fmt: skip

    def test_with_named_inputs_have_no_input(self):
        text = net("- {name: m, block: merge, from: [input, input]}", self.NAMED)
        assert told(text.replace("[x, relu, skip]", "[x, relu, input]")) == [
            "8: layer concat: input is ambiguous here: write x or skip [unknown-layer]"
        ]
        assert told(text.replace("from: [input, input]", "from: [input]")) == [
            "10: layer m (merge): block merge takes 2 inputs (x, skip), not 1 [wrong-arity]"
        ]
        assert told(text.replace("op: relu, from: skip", "op: relu")) == [
            "7: layer relu: several inputs enter here: write from: x or skip (in block merge, used on line 10) "
            "[ambiguous-input]"
        ]

    def test_with_one_named_input_have_both_names(self):
        head = "input: [4, 8, 8]\nblocks: {b: {inputs: [x], layers: [{op: relu}, {op: add, from: [relu, x, input]}]}}"
        assert fed(graph_of(net("- {block: b}", head)))["b.add"] == ["b.relu", "input", "input"]

    def test_put_out_their_last_layer(self):
        head = "input: [4, 8, 8]\nblocks: {b: {layers: [{op: relu}, {op: add, from: [relu, input]}]}}"
        assert fed(graph_of(net("- {block: b}\n- {op: tanh}", head)))["tanh"] == ["b.add"]

    def test_known_counts_are_multiplied_before_anything_is_expanded(self):
        head = """
            input: [4, 8, 8]
            blocks:
              a: {layers: [{op: relu, repeat: 1000}]}
              b: {layers: [{name: a, block: a, repeat: 1000}]}
        """
        assert told(net("- {name: c, block: b, repeat: 1000}", head)) == [
            "7: layer c (b): 1,000 copies make at least 1,000,000,000 nodes; a network has at most 200,000: "
            "--max-nodes raises the limit [too-many-nodes]"
        ]

    @pytest.mark.parametrize(("max_nodes", "fits"), [(4, True), (3, False)])
    def test_a_network_has_at_most_max_nodes(self, max_nodes, fits):
        text = net("- {name: a, op: relu}\n- {name: b, op: relu}\n- {name: c, op: relu}")  # and the input
        if fits:
            assert len(graph_of(text, max_nodes=max_nodes).nodes) == 4
        else:
            with pytest.raises(SpecError, match=r"has more than 3 nodes: --max-nodes raises the limit"):
                graph_of(text, max_nodes=max_nodes)


# --- 8: when


class TestWhen:
    def test_false_takes_the_layer_its_norm_and_its_activation_away(self):
        layers = """
            - {name: a, op: relu}
            - {name: b, op: conv2d, when: =wide, out_channels: 9, kernel_size: 1, norm: batch_norm2d, activation: relu}
            - {name: c, op: tanh}
        """
        text = net(layers, "input: [4, 8, 8]\nparameters: {wide: true}")
        assert paths(graph_of(text)) == ["a", "b.conv2d", "b.norm", "b.activation", "c"]
        assert fed(graph_of(text, wide=False)) == {"a": ["input"], "c": ["a"]}

    def test_its_name_stands_for_its_first_input(self):
        layers = """
            - {name: a, op: relu}
            - {name: b, op: add, from: [a, input], when: =both}
            - {name: c, op: concat, from: [b, input]}
        """
        text = net(layers, "input: [4, 8, 8]\nparameters: {both: false}")
        assert fed(graph_of(text)) == {"a": ["input"], "c": ["a", "input"]}

    def test_of_a_block_that_is_absent(self):
        head = "input: [4, 8, 8]\nparameters: {on: false}\nblocks: {b: {layers: [{op: tanh}]}}"
        text = net("- {op: relu}\n- {block: b, when: =on}\n- {op: add, from: [b, relu, input]}", head)
        assert fed(graph_of(text)) == {"relu": ["input"], "add": ["relu", "relu", "input"]}
        assert fed(graph_of(text, on=True))["add"] == ["b.tanh", "relu", "input"]

    def test_is_decided_before_repeat(self):
        text = net("- {op: relu, repeat: '=[1][5]', when: false}\n- {op: tanh}")
        assert fed(graph_of(text)) == {"tanh": ["input"]}
        assert told(net("- {op: relu, repeat: 2, when: =index == 0}")) == [
            "4: layer relu: when is decided before there are copies: it has no index [outside-repeat]"
        ]
        assert told(net("- {op: relu, repeat: [1], when: =item == 0}")) == [
            "4: layer relu: when is decided before there are copies: it has no item [outside-repeat]"
        ]

    def test_may_ask_for_the_channels_that_enter(self):
        layers = """
            - {name: narrow, op: conv2d, when: =in_channels > 4, from: input, out_channels: 4, kernel_size: 1}
            - {op: relu}
        """
        assert paths(graph_of(net(layers))) == ["relu"]
        assert paths(graph_of(net(layers, "input: [5, 8, 8]"))) == ["narrow", "relu"]

    HEADS = """
        input: [4, 8, 8]
        parameters: {heads: false}
        outputs: [end]
        training_outputs: [aux]
    """

    def test_an_absent_training_output_is_dropped(self):
        text = net(
            "- {name: stem, op: relu}\n- {name: end, op: tanh}\n- {name: aux, op: relu, from: stem, when: =heads}",
            self.HEADS,
        )
        assert dict(graph_of(text).training_outputs) == {}
        assert list(graph_of(text, heads=True).training_outputs) == ["aux"]

    def test_an_absent_output_is_refused(self):
        text = net("- {name: end, op: relu}\n- {name: aux, op: relu, when: =heads}", self.HEADS)
        assert told(text.replace("[end]", "[aux]").replace("training_outputs: [aux]", "training_outputs: []")) == [
            "4: outputs: layer aux is absent here, since its when is false (line 8) [absent-output]"
        ]

    def test_what_an_absence_leaves_without_effect_is_told_with_it(self):
        layers = """
            - {name: a, op: relu}
            - {name: b, op: tanh, from: input}
            - {name: sum, op: add, from: [a, b], when: =heads}
        """
        assert told(net(layers, "input: [4, 8, 8]\nparameters: {heads: false}")) == [
            "6: layer b (tanh) reaches no output, since layer sum (line 7), which takes it, is absent: "
            "its when is false [no-effect]"
        ]

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ('"False"', '4: layer relu: when must be true or false, not the word "False": write false without quotes '
             "[not-a-boolean]"),
            ("=1", "4: layer relu: when must be true or false, not 1 [not-a-boolean]"),
            ("=null", "4: layer relu: when must be true or false, not null [not-a-boolean]"),
            ("no", '4: layer relu: when must be true or false, not the word "no" [not-a-boolean]'),
        ],
    )  # fmt: skip
    def test_is_true_or_false(self, written, message):
        assert told(net(f"- {{op: relu, when: {written}}}")) == [message]


# --- 9: repeat, share, parallel


CONV = "op: conv2d, kernel_size: 1, bias: false"


class TestRepeat:
    def test_a_count(self):
        graph = graph_of(net("- {name: a, op: relu}\n- {name: b, op: tanh, repeat: 3}\n- {name: c, op: relu}"))
        assert fed(graph) == {"a": ["input"], "b.0": ["a"], "b.1": ["b.0"], "b.2": ["b.1"], "c": ["b.2"]}

    def test_one_is_a_copy_too(self):
        assert paths(graph_of(net("- {op: relu, repeat: 1}"))) == ["relu.0"]

    def test_a_list(self):
        graph = graph_of(net(f"- {{name: a, {CONV}, repeat: [5, 7], out_channels: =item + index}}"))
        assert shapes(graph) == {"a.0": (5, 8, 8), "a.1": (8, 8, 8)}

    def test_a_list_of_maps(self):
        graph = graph_of(net(f"- {{name: a, {CONV}, repeat: [{{c: 5}}, {{c: 7}}], out_channels: =item.c}}"))
        assert channels(graph) == [5, 7]

    @pytest.mark.parametrize("nothing", ["0", "[]", "=0", "'=[]'"])
    def test_none_is_absent(self, nothing):
        layers = f"- {{name: a, op: relu}}\n- {{name: b, op: tanh, repeat: {nothing}}}\n- {{op: add, from: [a, b]}}"
        assert fed(graph_of(net(layers))) == {"a": ["input"], "add": ["a", "a"]}

    def test_from_feeds_the_first_copy(self):
        layers = """
            - {name: a, op: relu}
            - {name: b, op: tanh, from: input}
            - {name: c, op: tanh, from: a, repeat: 2}
            - {op: add, from: [b, c]}
        """
        assert fed(graph_of(net(layers)))["c.0"] == ["a"]
        assert fed(graph_of(net(layers)))["c.1"] == ["c.0"]

    def test_from_with_previous_is_evaluated_for_every_copy(self):
        layers = f"""
            - {{name: skip, {CONV}, out_channels: =item, repeat: [2, 3]}}
            - {{name: up, op: concat, repeat: 2, from: "=['previous', 'skip.' + ['1', '0'][index]]"}}
        """
        graph = graph_of(net(layers))
        assert fed(graph)["up.0"] == ["skip.1", "skip.1"]
        assert fed(graph)["up.1"] == ["up.0", "skip.0"]
        assert shapes(graph)["up.1"] == (3 + 3 + 2, 8, 8)

    def test_several_inputs_need_previous(self):
        layers = "- {name: a, op: relu}\n- {name: b, op: add, repeat: 2, from: [a, input]}"
        assert told(net(layers)) == [
            "5: layer b (add): the second copy has one input, not 2: say which one is previous: from: [previous, input]"
            " [repeat-of-several-inputs]"
        ]
        assert fed(graph_of(net(layers.replace("repeat: 2", "repeat: 1"))))["b.0"] == ["a", "input"]

    def test_copies_have_parameters_of_their_own(self):
        assert params(net(f"- {{name: a, {CONV}, repeat: 3, out_channels: 4}}")) == 3 * 4 * 4

    def test_share_lets_all_copies_use_the_first_ones(self):
        analysis = analysis_of(net(f"- {{name: a, {CONV}, repeat: 3, share: true, out_channels: 4}}"))
        assert [node.shares for node in analysis.graph.nodes[1:]] == [None, "a.0", "a.0"]
        assert analysis.params == 4 * 4
        assert analysis.flops == 3 * 4 * 4 * 8 * 8

    def test_share_of_a_block_shares_everything_in_it(self):
        head = f"""
            input: [4, 8, 8]
            blocks:
              b:
                layers:
                  - {{name: c, {CONV}, out_channels: 4, norm: batch_norm2d, activation: relu}}
                  - {{name: d, {CONV}, out_channels: 4, repeat: 2}}
        """
        analysis = analysis_of(net("- {name: a, block: b, repeat: 2, share: true}", head))
        assert {node.path: node.shares for node in analysis.graph.nodes[1:] if node.shares} == {
            "a.1.c.conv2d": "a.0.c.conv2d", "a.1.c.norm": "a.0.c.norm", "a.1.d.0": "a.0.d.0", "a.1.d.1": "a.0.d.1",
        }  # fmt: skip
        assert analysis.params == 4 * 4 + 2 * 4 + 2 * 4 * 4

    def test_nested_shares(self):
        head = f"""
            input: [4, 8, 8]
            blocks:
              b:
                layers:
                  - {{name: c, {CONV}, out_channels: 4, repeat: 2, share: true}}
        """
        analysis = analysis_of(net("- {name: a, block: b, repeat: 2, share: true}", head))
        assert [node.shares for node in analysis.graph.nodes[1:]] == [None, "a.0.c.0", "a.0.c.0", "a.0.c.0"]
        assert analysis.params == 4 * 4
        assert analysis.flops == 4 * (4 * 4 * 8 * 8)

    def test_share_of_copies_that_differ_is_refused(self):
        assert told(net(f"- {{name: a, {CONV}, repeat: [4, 5], share: true, out_channels: =item}}")) == [
            "4: layer a (conv2d): weights: weight is [5, 4, 1, 1] here and [4, 4, 1, 1] in a.0 [weights-mismatch]"
        ]

    def test_share_needs_copies(self):
        assert told(net("- {op: relu, share: true}")) == [
            "4: layer relu: share is for the copies of a repeat [share-without-repeat]"
        ]


class TestParallel:
    def test_a_list(self):
        layers = f"""
            - {{name: stem, {CONV}, out_channels: 6}}
            - {{name: aspp, op: conv2d, from: stem, parallel: [1, 2], kernel_size: 3, out_channels: 5, dilation: =item,
                padding: =item}}
            - {{name: join, op: concat, from: [aspp, stem]}}
        """
        graph = graph_of(net(layers))
        assert fed(graph) == {
            "stem": ["input"], "aspp.0": ["stem"], "aspp.1": ["stem"], "join": ["aspp.0", "aspp.1", "stem"],
        }  # fmt: skip
        assert shapes(graph)["join"] == (5 + 5 + 6, 8, 8)

    def test_a_count_is_fed_by_the_layer_before(self):
        layers = f"- {{op: relu}}\n- {{name: heads, {CONV}, parallel: 3, out_channels: =index + 1}}\n- {{op: concat}}"
        graph = graph_of(net(layers))
        assert fed(graph)["heads.2"] == ["relu"]
        assert fed(graph)["concat"] == ["heads.0", "heads.1", "heads.2"]
        assert shapes(graph)["concat"] == (1 + 2 + 3, 8, 8)

    def test_of_several_inputs_every_copy_takes_all(self):
        layers = "- {op: relu}\n- {name: p, op: add, from: [relu, input], parallel: 2}\n- {op: add}"
        assert fed(graph_of(net(layers))) == {
            "relu": ["input"], "p.0": ["relu", "input"], "p.1": ["relu", "input"], "add": ["p.0", "p.1"],
        }  # fmt: skip

    def test_from_may_choose_for_every_copy(self):
        layers = """
            - {name: level, op: max_pool2d, kernel_size: 2, repeat: 2}
            - {name: head, op: adaptive_avg_pool2d, output_size: 1, parallel: ['0', '1'], from: ='level.' + item}
            - {op: add, from: head}
        """
        assert fed(graph_of(net(layers)))["add"] == ["head.0", "head.1"]
        assert fed(graph_of(net(layers)))["head.0"] == ["level.0"]
        assert fed(graph_of(net(layers)))["head.1"] == ["level.1"]

    def test_copies_are_named_one_by_one_and_as_outputs(self):
        head = "input: [4, 8, 8]\noutputs: [heads]"
        layers = f"- {{name: heads, {CONV}, parallel: 2, out_channels: =index + 1}}"
        assert list(graph_of(net(layers, head)).outputs) == ["heads.0", "heads.1"]
        assert list(graph_of(net(layers)).outputs) == ["heads.0", "heads.1"]
        layers += "\n- {op: relu, from: heads.1}"
        assert fed(graph_of(net(layers, "input: [4, 8, 8]\noutputs: [heads.0, relu]")))["relu"] == ["heads.1"]

    def test_of_blocks(self):
        head = f"input: [4, 8, 8]\nblocks: {{b: {{layers: [{{op: relu}}, {{{CONV}, out_channels: 2}}]}}}}"
        graph = graph_of(net("- {name: p, block: b, parallel: 2}\n- {op: concat}", head))
        assert fed(graph)["concat"] == ["p.0.conv2d", "p.1.conv2d"]
        assert fed(graph)["p.1.relu"] == ["input"]
        assert list(graph_of(net("- {name: p, block: b, parallel: 2}", head)).outputs) == ["p.0", "p.1"]

    def test_of_blocks_in_which_nothing_is_there(self):
        head = "input: [4, 8, 8]\nblocks: {b: {layers: [{op: relu, when: false}]}}"
        graph = graph_of(net("- {name: p, block: b, parallel: 2}\n- {op: add}", head))
        assert fed(graph) == {"add": ["input", "input"]}
        assert list(graph_of(net("- {name: p, block: b, parallel: 2}", head)).outputs) == ["p.0", "p.1"]

    def test_share_lets_all_copies_use_the_first_ones(self):
        layers = f"- {{name: p, {CONV}, parallel: 3, share: true, out_channels: 4}}\n- {{op: add}}"
        assert params(net(layers)) == 4 * 4

    def test_in_channels_of_the_list_is_refused(self):
        layers = f"- {{name: p, {CONV}, parallel: 2, out_channels: 4}}\n- {{op: concat, dim: =in_channels}}"
        assert told(net(layers)) == [
            "5: layer concat: dim: in_channels needs exactly one input, and 2 enter here [no-in-channels]"
        ]

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ("repeat: 2, parallel: 2", "4: layer relu: a layer has repeat or parallel, not both [repeat-and-parallel]"),
            ("parallel: 0", "4: layer relu: parallel must be at least 1, not 0 [out-of-range]"),
            ("parallel: []", "4: layer relu: parallel needs at least one copy [out-of-range]"),
            ("parallel: =0", "4: layer relu: parallel needs at least one copy [out-of-range]"),
            ("parallel: two", '4: layer relu: parallel must be a count or a list, not the word "two" [wrong-type]'),
        ],
    )
    def test_what_it_is_not(self, keys, message):
        assert told(net(f"- {{op: relu, {keys}}}")) == [message]


# --- 10: norm and activation


class TestNormAndActivation:
    @pytest.mark.parametrize(
        ("keys", "nodes"),
        [
            ("", {"a": "conv2d"}),
            ("norm: null, activation: null", {"a": "conv2d"}),
            ("norm: batch_norm2d", {"a.conv2d": "conv2d", "a.norm": "batch_norm2d"}),
            ("activation: relu", {"a.conv2d": "conv2d", "a.activation": "relu"}),
            ("activation: gelu, norm: {op: group_norm, num_groups: 2}",
             {"a.conv2d": "conv2d", "a.norm": "group_norm", "a.activation": "gelu"}),
            ("activation: {op: gelu, approximate: tanh}", {"a.conv2d": "conv2d", "a.activation": "gelu"}),
            ("norm: {op: group_norm, num_groups: =in_channels // 2}", {"a.conv2d": "conv2d", "a.norm": "group_norm"}),
        ],
    )  # fmt: skip
    def test_make_a_group(self, keys, nodes):
        graph = graph_of(net(f"- {{name: a, op: conv2d, out_channels: 2, kernel_size: 1, {keys}}}\n- {{op: tanh}}"))
        assert {node.path: node.operator.op for node in graph.nodes[1:-1]} == nodes
        assert fed(graph)["tanh"] == [list(nodes)[-1]]

    def test_fields_of_a_map(self):
        graph = graph_of(net("- {op: relu, activation: {op: leaky_relu, negative_slope: 0.3}}"))
        assert graph.nodes[-1].operator.negative_slope == 0.3

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ("activation: rellu", "4: layer a (conv2d): activation: unknown operator rellu: did you mean relu? "
             "[unknown-operator]"),
            ("activation: [relu]", "4: layer a (conv2d): activation must be an operator's name, a map or null, "
             "not a list [wrong-type]"),
            ("norm: {num_groups: 2}", "4: layer a (conv2d): norm needs op: write {op: gelu} [missing-key]"),
            ("norm: {op: group_norm, groups: 2}",
             "4: layer a (conv2d): norm: unknown key groups: did you mean num_groups? [unknown-key]"),
        ],
    )  # fmt: skip
    def test_what_they_are_not(self, keys, message):
        assert told(net(f"- {{name: a, op: conv2d, out_channels: 2, kernel_size: 1, {keys}}}"))[0] == message


# --- 11: weights


class TestWeights:
    TOWERS = f"""
        input: {{left: [4, 8, 8], right: [4, 8, 8]}}
        blocks:
          tower:
            layers:
              - {{name: a, {CONV}, out_channels: 6, norm: batch_norm2d, activation: relu}}
              - {{name: b, {CONV}, out_channels: 6}}
    """

    def test_of_a_layer(self):
        layers = f"""
            - {{name: a, {CONV}, out_channels: 4}}
            - {{name: b, {CONV}, out_channels: 4, weights: a}}
            - {{name: c, {CONV}, out_channels: 4, weights: b}}
        """
        analysis = analysis_of(net(layers))
        assert [node.shares for node in analysis.graph.nodes[1:]] == [None, "a", "a"]
        assert analysis.params == 4 * 4  # counted once
        assert analysis.flops == 3 * 4 * 4 * 8 * 8  # computed each time
        assert [figures.params for figures in analysis.figures] == [4 * 4, 0, 0]

    def test_of_a_block_are_everything_under_it(self):
        layers = """
            - {name: one, block: tower, from: left}
            - {name: two, block: tower, from: right, weights: one}
            - {op: subtract, from: [one, two]}
        """
        analysis = analysis_of(net(layers, self.TOWERS))
        assert {node.path: node.shares for node in analysis.graph.nodes if node.shares} == {
            "two.a.conv2d": "one.a.conv2d", "two.a.norm": "one.a.norm", "two.b": "one.b",
        }  # fmt: skip
        assert analysis.params == 6 * 4 + 2 * 6 + 6 * 6
        assert analysis.flops == 2 * (6 * 4 + 6 * 6) * 8 * 8

    def test_of_a_layer_inside_an_earlier_block(self):
        layers = f"""
            - {{name: one, block: tower, from: left}}
            - {{name: again, {CONV}, out_channels: 6, weights: one.b}}
            - {{name: mapped, {CONV}, from: right, out_channels: 6}}
            - {{name: sum, op: add, from: [again, mapped]}}
        """
        graph = graph_of(net(layers, self.TOWERS))
        assert {node.path: node.shares for node in graph.nodes if node.shares} == {"again": "one.b"}

    def test_of_a_layer_with_another_activation(self):
        layers = f"""
            - {{name: a, {CONV}, out_channels: 4, activation: relu}}
            - {{name: b, {CONV}, out_channels: 4, weights: a}}
            - {{name: c, {CONV}, out_channels: 4, weights: b, activation: tanh}}
        """
        analysis = analysis_of(net(layers))
        assert {node.path: node.shares for node in analysis.graph.nodes if node.shares} == {
            "b": "a.conv2d", "c.conv2d": "a.conv2d",
        }  # fmt: skip
        assert analysis.params == 4 * 4

    def test_of_copies(self):
        layers = f"- {{name: a, {CONV}, out_channels: 4, repeat: 2}}\n- {{name: b, {CONV}, out_channels: 4, repeat: 2, "
        assert params(net(layers + "weights: a}")) == 2 * 4 * 4  # each copy takes those of its own
        assert params(net(layers + "weights: a.0}")) == 2 * 4 * 4  # and of one: all take that one's

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (f"{{name: b, {CONV}, out_channels: 5, weights: a}}",
             "5: layer b (conv2d): weights: weight is [5, 4, 1, 1] here and [4, 4, 1, 1] in a [weights-mismatch]"),
            ("{name: b, op: conv2d, kernel_size: 1, out_channels: 4, weights: a}",
             "5: layer b (conv2d): weights: bias is [4] here and none in a [weights-mismatch]"),
            ("{name: b, op: relu, weights: a}",
             "5: layer b (relu): weights: relu has no parameters to take from a [weights-mismatch]"),
            (f"{{name: b, {CONV}, out_channels: 4, weights: c}}",
             "5: layer b (conv2d): weights: no earlier layer of this list is called c [unknown-layer]"),
            (f"{{name: b, {CONV}, out_channels: 4, weights: b}}",
             "5: layer b (conv2d): weights: b comes later (line 5); a layer takes earlier ones only [later-layer]"),
            (f"{{name: b, {CONV}, out_channels: 4, weights: [a]}}",
             "5: layer b (conv2d): weights must be an earlier layer's name, not [a] [wrong-type]"),
        ],
    )  # fmt: skip
    def test_that_do_not_agree(self, layer, message):
        assert told(net(f"- {{name: a, {CONV}, out_channels: 4}}\n- {layer}")) == [message]


# --- 12: several outputs


class TestSeveralOutputs:
    def test_of_a_recurrent_layer(self):
        layers = """
            - {op: lstm, hidden_size: 5, num_layers: 2}
            - {name: all, op: linear, from: lstm.output, out_features: 3}
            - {name: last, op: linear, from: lstm.hidden, out_features: 3}
            - {name: cell, op: linear, from: lstm.cell, out_features: 3}
            - {op: concat, from: [all, last, cell]}
        """
        graph = graph_of(net(layers, "input: [7, 4]"))
        assert shapes(graph) == {
            "lstm": (7, 5), "all": (7, 3), "last": (2, 3), "cell": (2, 3), "concat": (7 + 2 + 2, 3),
        }  # fmt: skip
        assert fed(graph)["last"] == ["lstm.hidden"]

    def test_of_split(self):
        layers = """
            - {name: halves, op: split, split_size: [1, 3]}
            - {name: thin, op: relu, from: halves.0}
            - {name: join, op: concat, from: [halves.1, thin]}
            - {name: both, op: concat, from: [halves, join]}
        """
        graph = graph_of(net(layers))
        assert fed(graph) == {
            "halves": ["input"], "thin": ["halves.0"], "join": ["halves.1", "thin"],
            "both": ["halves.0", "halves.1", "join"],
        }  # fmt: skip
        assert shapes(graph)["both"] == (1 + 3 + 4, 8, 8)

    def test_inside_a_block(self):
        head = "input: [7, 4]\nblocks: {b: {layers: [{op: gru, hidden_size: 5}, {op: relu, from: gru.output}]}}"
        graph = graph_of(net("- {block: b}\n- {op: concat, from: [b, b.gru.hidden]}", head))
        assert fed(graph)["concat"] == ["b.relu", "b.gru.hidden"]

    def test_are_the_networks_outputs_by_their_names(self):
        lstm = "- {name: net, op: lstm, hidden_size: 5}"
        assert list(graph_of(net(lstm, "input: [7, 4]")).outputs) == ["net.output", "net.hidden", "net.cell"]
        assert list(graph_of(net(lstm, "input: [7, 4]\noutputs: [net.hidden]")).outputs) == ["net.hidden"]
        head = "input: [7, 4]\nblocks: {b: {layers: [{op: gru, hidden_size: 5}]}}"
        assert list(graph_of(net("- {block: b}", head)).outputs) == ["b.gru.output", "b.gru.hidden"]

    def test_one_of_them_is_enough(self):
        text = net("- {op: split, split_size: [1, 3]}\n- {op: relu, from: split.0}")
        assert paths(graph_of(text)) == ["split", "relu"]

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("- {op: split, split_size: [1, 3]}\n- {op: relu}",
             "5: layer relu: relu takes 1 input, not 2: name them in `from` [wrong-arity]"),
            ("- {op: split, split_size: [1, 3]}\n- {op: relu, from: split.2}",
             "5: layer relu: from: no layer split.2: split has 2 copies, split.0 to split.1 [unknown-layer]"),
        ],
    )  # fmt: skip
    def test_what_they_are_not(self, layers, message):
        assert told(net(layers)) == [message]


# --- 13: dimensions count the batch


class TestDimensions:
    @pytest.mark.parametrize(
        ("layer", "shape"),
        [
            ("{op: concat, from: [input, input], dim: 1}", (8, 8, 6)),
            ("{op: concat, from: [input, input], dim: 2}", (4, 16, 6)),
            ("{op: concat, from: [input, input], dim: -1}", (4, 8, 12)),
            ("{op: flatten}", (192,)),
            ("{op: flatten, start_dim: 2}", (4, 48)),
            ("{op: flatten, start_dim: 1, end_dim: 2}", (32, 6)),
            ("{op: transpose, dim0: 1, dim1: 3}", (6, 8, 4)),
            ("{op: permute, dims: [0, 2, 3, 1]}", (8, 6, 4)),
            ("{op: select, dim: 2, index: 0}", (4, 6)),
        ],
    )
    def test_as_torch_counts_them(self, layer, shape):
        ((_, found),) = shapes(graph_of(net(f"- {layer}", "input: [4, 8, 6]"))).items()
        assert found == shape

    @pytest.mark.parametrize(
        "layer",
        [
            "{op: concat, from: [input, input], dim: 0}",
            "{op: flatten, start_dim: 0}",
            "{op: transpose, dim0: 0, dim1: 1}",
            "{op: select, dim: 0, index: 0}",
            "{op: softmax, dim: 0}",
        ],
    )
    def test_the_batch_stays(self, layer):
        (message,) = told(net(f"- {layer}", "input: [4, 8, 6]"))
        assert message.endswith("[batch-dimension]"), message


# --- 14: inputs


class TestInputs:
    def test_of_several_names(self):
        head = "input: {image: [3, 8, 8], words: {shape: [=length], dtype: int64}}\nparameters: {length: 5}"
        layers = """
            - {name: a, op: relu, from: image}
            - {name: pool, op: adaptive_avg_pool2d, output_size: 1}
            - {name: column, op: reshape, shape: [3, 1]}
            - {name: b, op: embedding, from: words, num_embeddings: 10, embedding_dim: 3}
            - {name: scores, op: matmul, from: [b, column]}
        """
        graph = graph_of(net(layers, head))
        assert {node.path: node.output_shapes[0] for node in graph.inputs} == {
            "image": Shape((3, 8, 8)), "words": Shape((5,), dtype="int64"),
        }  # fmt: skip
        assert fed(graph)["a"] == ["image"]
        assert fed(graph)["b"] == ["words"]

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("- {op: relu}", "4: layer relu: several inputs enter here: write from: a or b [ambiguous-input]"),
            ("- {op: add, from: input}", "4: layer add: input is ambiguous here: write a or b [unknown-layer]"),
            ("- {op: add, from: [previous, a]}",
             "4: layer add: nothing comes before it: write a or b [ambiguous-input]"),
            ("- {op: relu, from: a}", "2: input b reaches no output [no-effect]"),
            ("- {name: a, op: add, from: [a, b]}",
             "4: a is the name of an input: give the layer another [duplicate-name]"),
        ],
    )  # fmt: skip
    def test_of_several_names_what_is_wrong(self, layers, message):
        assert told(net(layers, "input: {a: [4, 8, 8], b: [4, 8, 8]}")) == [message]

    def test_a_single_named_one_is_input_too(self):
        text = net("- {op: relu}\n- {op: add, from: [input, image, relu]}", "input: {image: [4, 8, 8]}")
        assert fed(graph_of(text)) == {"relu": ["image"], "add": ["image", "image", "relu"]}

    def test_a_shape_may_have_a_dtype(self):
        head = "input: {shape: [5], dtype: int64}"
        assert shapes(graph_of(net("- {op: embedding, num_embeddings: 9, embedding_dim: 2}", head))) == {
            "embedding": (5, 2)
        }
        assert told(net("- {op: linear, out_features: 9}", head))[0].endswith("[wrong-dtype]")
        assert told(net("- {op: embedding, num_embeddings: 9, embedding_dim: 2}", "input: [5]"))[0].endswith(
            "[wrong-dtype]"
        )

    REGIONS = """
        input: {image: [4, 8, 8], regions: {shape: [4, 3, 3], samples: =regions}}
        parameters: {regions: 10}
        outputs: [a, b]
    """

    def test_samples_multiply_costs(self):
        layers = f"""
            - {{name: a, {CONV}, from: image, out_channels: 5}}
            - {{name: b, {CONV}, from: regions, out_channels: 5}}
        """
        for regions in (10, 64):
            analysis = analysis_of(net(layers, self.REGIONS), regions=regions)
            assert analysis.graph.nodes[-1].output_shapes == (Shape((5, 3, 3), samples=regions),)
            assert analysis.params == 2 * 4 * 5
            assert analysis.flops == 4 * 5 * 8 * 8 + regions * 4 * 5 * 3 * 3
            assert analysis.figures[1].output_bytes == regions * 5 * 3 * 3 * 4

    def test_two_factors_do_not_mix(self):
        layers = """
            - {name: p, op: adaptive_avg_pool2d, from: image, output_size: 3}
            - {name: sum, op: add, from: [p, regions]}
        """
        assert told(net(layers, self.REGIONS.replace("[a, b]", "[sum]"))) == [
            "7: layer sum (add): its inputs stand for 1 and 10 samples a network input: they must be equal "
            "[mixed-samples]"
        ]

    def test_other_shapes_in_place_of_the_files(self):
        document = document_of(net("- {op: relu}", "input: [3, =size, =size]\nparameters: {size: 5}"))
        graph = expand(document, inputs={"input": Shape((3, 9, 7))})
        assert shapes(graph) == {"relu": (3, 9, 7)}

    def test_other_shapes_keep_dtype_and_samples(self):
        layers = f"- {{name: a, {CONV}, from: image, out_channels: 5}}\n- {{name: b, {CONV}, from: regions, "
        document = document_of(net(layers + "out_channels: 5}", self.REGIONS))
        graph = expand(document, inputs={"image": Shape((4, 6, 6)), "regions": Shape((4, 2, 2))})
        assert graph.inputs[1].output_shapes == (Shape((4, 2, 2), samples=10),)

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ("[]", "2: input must have at least one dimension: write [3, 224, 224] [wrong-length]"),
            ("[3, -1]", "2: input dimension must be at least 1, not -1 [out-of-range]"),
            ("[3, =1 / 2]", "2: input dimension must be an integer, not 0.5 [wrong-type]"),
            ("{}", "2: input must be a shape or a map of named shapes, not an empty map [wrong-type]"),
            ("{image: {dtype: int64}}", "2: input image needs shape [missing-key]"),
            ("{input: [3], previous: [3]}", "2: input previous is taken by the language: choose another [bad-name]"),
            ("='wide'", '2: input must be a shape such as [3, 224, 224], not the word "wide" [wrong-type]'),
        ],
    )
    def test_what_they_are_not(self, written, message):
        assert message in told(net("- {op: relu}", f"input: {written}"))


# --- 15: names


class TestNames:
    @pytest.mark.parametrize("name", ["conv1", "1x1", "3x3_reduce", "a-b", "_", "-x", "L2", "type", "half", '"5"'])
    def test_letters_digits_underscores_and_hyphens(self, name):
        assert paths(graph_of(net(f"- {{name: {name}, op: relu}}"))) == [name.strip('"')]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("5e1", 'YAML reads the name 5e1 as a number: write "5e1"'),
            ("1", 'YAML reads the name 1 as a number: write "1"'),
            ("0x1", 'YAML reads the name 0x1 as a number: write "0x1"'),
            ("true", 'YAML reads the name true as true: write "true"'),
            ("Null", 'YAML reads the name Null as Null: write "Null"'),
            ("a.b", 'name "a.b" may have only letters, digits, _ and -; a dot only joins the names of a path'),
            ("ä", 'name "ä" may have only letters, digits, _ and -'),
            ('""', 'name "" may have only letters, digits, _ and -'),
            ("input", "name input is taken by the language: choose another"),
            ("previous", "name previous is taken by the language: choose another"),
        ],
    )
    def test_and_nothing_else(self, name, message):
        assert told(net(f"- {{name: {name}, op: relu}}")) == [f"4: {message} [bad-name]"]

    def test_may_be_left_out_where_the_operators_is_free(self):
        head = "input: [4, 8, 8]\nblocks: {b: {layers: [{op: relu}, {op: tanh}]}}"
        assert paths(graph_of(net("- {op: relu}\n- {block: b}\n- {op: tanh}", head))) == [
            "relu", "b.relu", "b.tanh", "tanh",
        ]  # fmt: skip
        assert told(net("- {op: relu}\n- {op: relu}")) == [
            "5: a second layer would be called relu (the first is on line 4): give it a name [duplicate-name]"
        ]
        assert told(net("- {name: x, op: ='relu'}\n- {op: ='relu'}")) == [
            "5: a layer whose op is an expression needs a name [missing-key]"
        ]

    def test_are_unique_in_a_list_only(self):
        head = "input: [4, 8, 8]\nblocks: {b: {layers: [{name: a, op: relu}]}}"
        assert paths(graph_of(net("- {name: a, block: b}", head))) == ["a.a"]
        assert told(net("- {name: a, op: relu}\n- {name: a, op: tanh}")) == [
            "5: a second layer is called a (the first is on line 4): names are unique in a list [duplicate-name]"
        ]


# --- 16: expect


class TestExpect:
    LAYERS = """
        - {name: a, op: conv2d, out_channels: 1000, kernel_size: 3, padding: 1}
        - {name: head, op: flatten}
        - {name: aux, op: conv2d, from: a, out_channels: 2, kernel_size: 1}
    """
    HEAD = "input: [4, 8, 8]\noutputs: [head]\ntraining_outputs: [aux]\nexpect: "

    @pytest.mark.parametrize(
        ("expected", "wrong"),
        [
            ("params: 37000", "params: 37001"),  # 1000 * 4 * 3 * 3 + 1000
            ("training_params: 39002", "training_params: 37000"),  # and 2 * 1000 + 2
            ("depth: 1", "depth: 2"),
            ("output: [64000]", "output: [1000, 8, 8]"),
            ("activations: 64000", "activations: 64128"),  # 1000 * 8 * 8
            ("multiply_adds: 2304000", "multiply_adds: 2432000"),  # 1000 * 4 * 3 * 3 * 8 * 8
            ("multiply_adds_with_bias: 2368000", "multiply_adds_with_bias: 2304000"),  # and 1000 * 8 * 8
            ("operations: 4672000", "operations: 4608000"),  # 1000 * 64 * (2 * 36 + 1)
            ("fvcore: 2304000", "fvcore: 1"),
            ("flops: 2304000", "flops: 2368000"),
            ("flops: 2.3M", "flops: 2.4M"),
            ("params: 37K", "params: 38K"),
            ("flops: 2.30M", "flops: 2.31M"),
        ],
    )
    def test_holds_to_the_printed_precision(self, expected, wrong):
        for written, failed in ((expected, 0), (wrong, 1)):
            document = document_of(net(self.LAYERS, self.HEAD + f"{{{written}}}"))
            assert check(document, None).count(FAILED) == failed, written

    def test_receptive_field(self):
        head = "input: [4, 8, 8]\nexpect: {receptive_field: %s}"
        layers = "- {name: a, op: conv2d, out_channels: 1, kernel_size: 3}\n- {op: max_pool2d, kernel_size: 2}"
        for written, failed in (("4", 0), ("[4, 4]", 0), ("3", 1)):  # 1 + 2 + 1
            assert check(document_of(net(layers, head % written)), None).count(FAILED) == failed

    def test_memory(self):
        text = net("- {op: relu}", "input: [4, 8, 8]\nexpect: {memory: %d}")
        found = check(document_of(text % 1), None).findings[0].found
        assert check(document_of(text % int(found.replace(",", ""))), None).count(FAILED) == 0

    def test_flops_are_counted_in_the_convention_in_force(self):
        head = self.HEAD.replace("expect", "counting: multiply_adds_with_bias\nexpect") + "{flops: 2368000}"
        assert check(document_of(net(self.LAYERS, head)), None).count(FAILED) == 0

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ("{param: 1}", "5: expect: unknown key param: did you mean params? [unknown-key]"),
            ("{params: =2 * 3}", "5: expect: params cannot be an expression: write the figure [not-an-expression]"),
            ("{published: 3}", "5: expect: published must be a file's path, not 3 [wrong-type]"),
        ],
    )
    def test_what_it_is_not(self, written, message):
        assert told(net(self.LAYERS, self.HEAD + written)) == [message]


# --- 17: variants


class TestVariants:
    HEAD = """
        input: [4, 8, 8]
        title: Net
        parameters: {width: 4, on: true}
        expect: {depth: 1, params: 20}
        variants:
          net-wide: {with: {width: 6, on: false}, title: Wide net, aliases: [wide, net-w], expect: {params: 30}}
          net-1.0: {input: [3, 9, 9], expect: {params: 1}}
    """
    LAYERS = "- {op: conv2d, out_channels: =width, kernel_size: 1}\n- {op: relu, when: =on}"

    def test_set_parameters_titles_and_inputs(self):
        text = net(self.LAYERS, self.HEAD)
        assert (graph_of(text).name, graph_of(text).title) == ("net", "Net")
        wide = graph_of(text, "net-wide")
        assert (wide.name, wide.title, shapes(wide)) == ("net-wide", "Wide net", {"conv2d": (6, 8, 8)})
        assert wide.parameters == {"width": 6, "on": False}
        assert shapes(graph_of(text, "net-1.0")) == {"conv2d": (4, 9, 9), "relu": (4, 9, 9)}

    @pytest.mark.parametrize("alias", ["wide", "net-w"])
    def test_have_aliases(self, alias):
        assert graph_of(net(self.LAYERS, self.HEAD), alias).name == "net-wide"

    def test_the_callers_parameters_win(self):
        assert shapes(graph_of(net(self.LAYERS, self.HEAD), "wide", width=2)) == {"conv2d": (2, 8, 8)}

    def test_expect_overrides_the_files_key_by_key(self):
        document = document_of(net(self.LAYERS, self.HEAD))
        findings = {
            name: [(each.what, each.expected, each.status) for each in check(document, variant).findings]
            for name, variant in (("net", None), *document.variants.items())
        }
        assert findings == {
            "net": [("depth", "1", "passed"), ("params", "20", "passed")],
            "net-wide": [("depth", "1", "passed"), ("params", "30", "passed")],  # 6 * 4 + 6
            "net-1.0": [("depth", "1", "passed"), ("params", "1", "failed")],
        }

    def test_of_a_file_are_named_behind_a_colon(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "my.yaml").write_text(net(self.LAYERS, self.HEAD))
        for name, found in (("my.yaml", None), ("my.yaml:net-1.0", "net-1.0"), ("my.yaml:wide", "net-wide")):
            _, variant = find_spec(name)
            assert (variant.name if variant else None) == found

    @pytest.mark.parametrize(
        ("name", "found"),
        [("resnet-50", "resnet-50"), ("resnet-50.yaml", "resnet-50"), ("resnet:resnet-50", "resnet-50"), ("densenet121",
          "densenet-121")],
    )  # fmt: skip
    def test_that_ship_are_found_by_name(self, name, found, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        _, variant = find_spec(name)
        assert variant is not None
        assert variant.name == found

    @pytest.mark.parametrize(
        ("variant", "message"),
        [
            ("{with: {widht: 1}}", "5: variant v: the file has no parameter widht: did you mean width? "
             "[unknown-parameter]"),
            ("{with: {width: =2}}", "5: variant v: width cannot be an expression: write the value [not-an-expression]"),
            ("{with: {width: wide}}", '5: variant v: width must be an integer, not the word "wide" [wrong-type]'),
            ("{expects: {}}", "5: variant v: unknown key expects: did you mean expect? [unknown-key]"),
            ("{aliases: [w]}, w: {}", "5: variant v: alias w is variant w's already [duplicate-name]"),
        ],
    )  # fmt: skip
    def test_what_they_are_not(self, variant, message):
        head = f"input: [4, 8, 8]\nparameters: {{width: 4}}\nvariants:\n  {{v: {variant}}}"
        assert told(net("- {op: conv2d, out_channels: =width, kernel_size: 1}", head)) == [message]


# --- 18: outputs, and what reaches none


class TestOutputs:
    def test_are_the_last_layer_unless_said(self):
        layers = "- {name: a, op: relu}\n- {name: b, op: tanh}"
        assert list(graph_of(net(layers)).outputs) == ["b"]
        assert list(graph_of(net(layers, "input: [4, 8, 8]\noutputs: [b, a]")).outputs) == ["b", "a"]

    def test_name_nodes_inside_blocks_too(self):
        head = "input: [4, 8, 8]\noutputs: [b.1.relu, b]\nblocks: {b: {layers: [{op: relu}, {op: tanh}]}}"
        graph = graph_of(net("- {name: b, block: b, repeat: 2}", head))
        assert {name: graph.nodes[value.node].path for name, value in graph.outputs.items()} == {
            "b.1.relu": "b.1.relu", "b": "b.1.tanh",
        }  # fmt: skip

    def test_of_training_mark_what_only_they_use(self):
        layers = f"""
            - {{name: stem, {CONV}, out_channels: 4}}
            - {{name: end, op: tanh}}
            - {{name: aux, {CONV}, from: stem, out_channels: 7}}
            - {{name: softmax, op: softmax}}
        """
        graph = graph_of(net(layers, "input: [4, 8, 8]\noutputs: [end]\ntraining_outputs: [softmax]"))
        assert {node.path: node.training_only for node in graph.nodes} == {
            "input": False, "stem": False, "end": False, "aux": True, "softmax": True,
        }  # fmt: skip
        assert analyse(graph).params == 4 * 4
        assert analyse(graph, train=True).params == 4 * 4 + 4 * 7

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("- {name: a, op: relu}\n- {name: b, op: tanh, from: input}",
             "4: layer a (relu) reaches no output; layer b after it takes input instead [no-effect]"),
            ("- {name: a, op: relu}\n- {name: b, op: relu}\n- {name: c, op: tanh, from: input}",
             "5: layer b (relu) reaches no output; layer c after it takes input instead [no-effect]"),
        ],
    )  # fmt: skip
    def test_a_layer_that_reaches_none_is_an_error(self, layers, message):
        assert told(net(layers)) == [message]

    def test_the_last_layer_that_is_no_output(self):
        assert told(net("- {name: a, op: relu}\n- {name: b, op: tanh}", "input: [3]\noutputs: [a]")) == [
            "6: layer b (tanh) reaches no output [no-effect]"
        ]


# --- 19: all mistakes at once


class TestMistakes:
    def test_of_structure_are_told_together(self):
        text = net(
            """
            - {name: a, op: conv2d, kernel_sise: 3, out_channels: 2, kernel_size: 3}
            - {name: b, op: rellu}
            - {name: c, op: relu, from: d}
            - {name: d, op: relu, when: yes}
            """,
            "input: [3, 0]\nlayer: 3",
        )
        assert [message.partition(":")[0] for message in told(text)] == ["2", "3", "5", "6", "7", "8"]

    def test_of_shapes_the_first_on_each_path(self):
        layers = """
            - {name: a, op: conv2d, out_channels: 2, kernel_size: 9}
            - {name: b, op: conv2d, out_channels: 2, kernel_size: 9}
            - {name: c, op: conv2d, from: input, out_channels: 2, kernel_size: 3, groups: 3}
            - {name: d, op: add, from: [b, c]}
        """
        assert told(net(layers)) == [
            "4: layer a (conv2d): kernel_size 9 is larger than its padded input 8x8 [kernel-too-large]",
            "6: layer c (conv2d): out_channels (=2) must be divisible by groups (=3) [groups-do-not-divide]",
        ]

    def test_inside_a_repeated_block_once_with_the_line_that_used_it(self):
        head = """
            input: [4, 8, 8]
            blocks:
              b:
                layers:
                  - {op: conv2d, out_channels: 4, kernel_size: 3}
        """
        assert told(net("- {name: a, block: b, repeat: 9}\n- {name: c, block: b}", head)) == [
            "6: layer conv2d: kernel_size 3 is larger than its padded input 2x2 (in block b, used on line 8) "
            "[kernel-too-large]"
        ]
