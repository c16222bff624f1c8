"""The public API: what `import archprof` promises, and what README shows of it."""

from __future__ import annotations

import ast
import contextlib
import doctest
import inspect
import io
import re
from pathlib import Path

import pytest

import archprof
from archprof.analysis.check import FAILED, PASSED, check
from archprof.spec.library import parse_text

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEC = "name: net\ninput: [3, 8, 8]\nparameters: {width: 4, path: 1}\nlayers:\n" + (
    "  - {name: a, op: conv2d, out_channels: =width, kernel_size: =path}\n"
)
VARIANTS = "variants: {net-wide: {with: {width: 8}, aliases: [wide]}}\n"


def blocks(language: str) -> list[str]:
    """README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.S | re.M)


# --- names


def test_all_is_sorted_and_names_what_is_public():
    assert archprof.__all__ == sorted(archprof.__all__)
    public = {name for name in dir(archprof) if not name.startswith("_")}
    assert public == set(archprof.__all__)
    for name in archprof.__all__:
        assert getattr(archprof, name).__doc__, name


def test_every_name_is_found_where_type_checkers_look_for_it():
    """The names are imported when first asked for; `if TYPE_CHECKING` says the same in a way that tools read."""
    tree = ast.parse(Path(archprof.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    homes = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes.pop("Any", None)
    assert homes == archprof._HOMES
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} - {"__getattr__", "__dir__"}
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "archprof.errors"
        for alias in node.names
    }
    assert defined | imported | set(homes) == set(archprof.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'archprof' has no attribute 'analyze'$"):
        archprof.analyze  # noqa: B018


def test_all_that_is_raised_for_a_mistake_is_an_archprof_error():
    assert issubclass(archprof.SpecError, archprof.ArchprofError)
    assert issubclass(archprof.UsageError, archprof.ArchprofError)


def test_the_package_says_that_it_is_typed():
    assert Path(archprof.__file__).with_name("py.typed").is_file()


def test_signatures():
    assert str(inspect.signature(archprof.load)) == "(path: 'str', /, **parameters: 'Any') -> 'Graph'"
    parameters = inspect.signature(archprof.analyse).parameters
    assert [(name, each.default) for name, each in parameters.items()][:3] == [
        ("graph", inspect.Parameter.empty), ("batch", 1), ("counting", None),
    ]  # fmt: skip


# --- load and analyse


def test_load_takes_a_path_a_variant_and_a_shipped_name(tmp_path):
    file = tmp_path / "net.yaml"
    file.write_text(SPEC + VARIANTS)
    assert archprof.load(str(file)).name == "net"
    assert archprof.load(f"{file}:net-wide").name == archprof.load(f"{file}:wide").name == "net-wide"
    assert archprof.load("resnet-50").name == "resnet-50"
    assert archprof.load("zf").name == archprof.load("zf.yaml").name == "zf"


def test_load_takes_a_path_object(tmp_path):
    (tmp_path / "net.yaml").write_text(SPEC)
    assert archprof.load(tmp_path / "net.yaml").name == "net"


def test_a_parameter_may_be_called_path(tmp_path):
    (tmp_path / "net.yaml").write_text(SPEC)
    graph = archprof.load(str(tmp_path / "net.yaml"), path=3, width=5)
    assert graph.parameters == {"path": 3, "width": 5}
    assert graph.nodes[-1].output_shapes == (archprof.Shape((5, 6, 6)),)


def test_load_tells_every_mistake(tmp_path):
    file = tmp_path / "net.yaml"
    file.write_text(SPEC.replace("kernel_size", "kernel_sise").replace("8, 8", "8, 0"))
    with pytest.raises(archprof.SpecError) as caught:
        archprof.load(str(file))
    assert [(each.line, each.column, each.code) for each in caught.value.mistakes] == [
        (2, 15, "out-of-range"), (5, 49, "unknown-key"),
    ]  # fmt: skip
    assert all(isinstance(each, archprof.Mistake) and each.file == str(file) for each in caught.value.mistakes)


def test_analyse_takes_a_batch_and_a_convention():
    graph = archprof.load("zf")
    analysis = archprof.analyse(graph, batch=3, counting="multiply_adds")
    assert isinstance(analysis, archprof.Analysis)
    assert isinstance(graph, archprof.Graph)
    assert all(isinstance(node, archprof.Node) for node in graph.nodes)
    assert all(isinstance(value, archprof.Value) for node in graph.nodes for value in node.inputs)
    one = archprof.analyse(graph, counting="multiply_adds")
    assert (analysis.params, analysis.flops) == (one.params, 3 * one.flops)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
        ({"counting": "multiply_add"}, "unknown counting convention multiply_add: did you mean multiply_adds?"),
    ],
)
def test_analyse_tells_what_it_cannot_serve(options, message):
    with pytest.raises(archprof.UsageError) as caught:
        archprof.analyse(archprof.load("zf"), **options)
    assert str(caught.value) == message


# --- what is shown


def test_the_docstrings_example_runs():
    failed, tried = doctest.testmod(archprof)
    assert (failed, tried > 0) == (0, True)


def test_readme_shows_python_and_yaml():
    assert blocks("python")
    assert [text for text in blocks("yaml") if "\nlayers:" in text]


@pytest.mark.parametrize("source", blocks("python"))
def test_readmes_python_runs_and_prints_what_it_says(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    said = [line[2:] for line in source.splitlines() if line.startswith("# ")]
    assert printed.getvalue().splitlines() == said


@pytest.mark.parametrize("text", [text for text in blocks("yaml") if "\nlayers:" in text])
def test_readmes_spec_loads_and_is_what_it_expects(text):
    document = parse_text(text.encode(), "README.yaml")
    for variant in (None, *document.variants.values()):
        checked = check(document, variant)
        assert checked.count(PASSED) > 0
        assert checked.count(FAILED) == 0, [str(finding) for finding in checked.findings]
