"""`archprof explain`: every kind of mistake has a page, whose example makes it and whose fix loads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archprof
from archprof.analysis.published import parse_published
from archprof.cli import application
from archprof.errors import UsageError
from archprof.explanations import codes, page
from archprof.spec import expand
from archprof.spec.library import parse_text

SOURCES = sorted(Path(archprof.__file__).parent.rglob("*.py"))
GOLDEN = sorted((Path(__file__).parent / "bad").glob("*.txt"))

CODE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
HEADINGS = ["Cause", "Example", "Fix"]
# what no text of a spec can show: it is about paths, encodings and sizes
NOT_SHOWN = {
    "file-too-large", "is-a-directory", "no-such-file", "not-utf-8", "too-many-mistakes", "too-many-values",
    "unknown-variant", "unreadable-file",
}  # fmt: skip
PUBLISHED = {"conflicting-keys", "no-such-cell", "not-a-printed-number"}  # of published files


# --- the codes that the sources raise


def alternatives(node: ast.expr) -> Iterator[ast.expr]:
    """What an expression may be: both branches of `a if c else b`."""
    if isinstance(node, ast.IfExp):
        yield from alternatives(node.body)
        yield from alternatives(node.orelse)
    else:
        yield node


def is_code(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(CODE.fullmatch(node.value))


def is_message(node: ast.expr) -> bool:
    """Whether this may be the message that stands behind a code."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and " " in node.value
    return isinstance(node, (ast.JoinedStr, ast.Call)) or (isinstance(node, ast.Name) and node.id == "message")


def places(node: ast.AST, of_spec: bool) -> list[ast.expr]:
    """The expressions of one syntax node that stand where a code does; in `spec` a code and its message are a pair."""
    if isinstance(node, ast.Call):
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called in ("Refusal", "ExpressionError", "__init__"):
            return node.args[:1]
        if called in ("Mistake", "_refusal", "_syntax", "add", "stop"):
            return node.args[1:]
    if of_spec and isinstance(node, ast.Tuple):  # `return code, message`
        return [code for code, message in zip(node.elts, node.elts[1:], strict=False) if is_message(message)]
    if isinstance(node, ast.Assign) and any(isinstance(name, ast.Name) and name.id == "code" for name in node.targets):
        return [node.value]
    if isinstance(node, ast.arguments):
        defaulted = node.args[len(node.args) - len(node.defaults) :]
        return [value for name, value in zip(defaulted, node.defaults, strict=True) if name.arg == "code"]
    return []


def raised() -> dict[str, str]:
    """Every code that a source file gives a mistake, with one place where it does."""
    found = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for place in places(node, of_spec=path.parent.name == "spec"):
                for value in alternatives(place):
                    if is_code(value):
                        assert isinstance(value, ast.Constant)
                        found[value.value] = f"{path.name}:{value.lineno}"
    return found


def test_every_code_has_a_page_and_every_page_a_code():
    found = raised()
    assert {code: place for code, place in found.items() if code not in codes()} == {}
    assert [code for code in codes() if code not in found] == []


def test_the_codes_are_found_where_mistakes_show_them():
    """The search above misses none of those that the fixtures have."""
    shown = {line.rpartition("[")[2].rstrip("]") for path in GOLDEN for line in path.read_text().splitlines()}
    assert len(shown) > 60
    assert shown <= set(raised())


# --- the pages


def parts(code: str) -> dict[str, str]:
    """A page's text under each of its headings, the summary under its title."""
    headings = "|".join((f"# {code}", *(f"## {heading}" for heading in HEADINGS)))
    _, *rest = re.split(f"^({headings})\n", page(code), flags=re.MULTILINE)  # an example has lines with # too
    return dict(zip((heading.lstrip("# ") for heading in rest[::2]), rest[1::2], strict=True))


def block(code: str, heading: str, language: str = "yaml") -> str | None:
    """The fenced block of a language under a heading, if there is one."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", parts(code)[heading], flags=re.MULTILINE | re.DOTALL)
    assert len(found) <= 1
    return found[0] if found else None


def mistakes_of(text: str) -> list[str]:
    try:
        expand(parse_text(text.encode(), "net.yaml"))
    except archprof.SpecError as error:
        return sorted({mistake.code for mistake in error.mistakes})
    return []


@pytest.mark.parametrize("code", codes())
def test_a_page_has_its_parts(code):
    found = parts(code)
    assert list(found) == [code, *HEADINGS]
    summary = found[code].strip()
    assert "\n" not in summary
    assert summary.endswith(".")
    assert all(len(line) <= 120 for line in page(code).splitlines())
    assert all(found[heading].strip() for heading in HEADINGS)


def test_only_what_no_spec_shows_is_without_one():
    assert {code for code in codes() if block(code, "Example") is None} == NOT_SHOWN | PUBLISHED


@pytest.mark.parametrize("code", sorted(set(codes()) - NOT_SHOWN - PUBLISHED))
def test_the_example_makes_the_mistake_and_the_fix_does_not(code):
    example, fix = block(code, "Example"), block(code, "Fix")
    assert example is not None
    assert fix is not None
    assert mistakes_of(example) == [code]
    assert mistakes_of(fix) == []


@pytest.mark.parametrize("code", sorted(PUBLISHED))
def test_the_same_of_published_files(code):
    example, fix = block(code, "Example", "text"), block(code, "Fix", "text")
    assert example is not None
    assert fix is not None
    with pytest.raises(archprof.SpecError) as caught:
        parse_published(example.encode(), "published.yaml")
    assert {mistake.code for mistake in caught.value.mistakes} == {code}
    parse_published(fix.encode(), "published.yaml")


# --- the command


def test_explain_prints_a_page():
    for written in ("wrong-rank", "[wrong-rank]"):  # a message shows the code in brackets
        done = CliRunner().invoke(application(), ["explain", written])
        assert (done.exit_code, done.output) == (0, page("wrong-rank"))


def test_explain_alone_lists_the_codes():
    assert CliRunner().invoke(application(), ["explain"]).output.split() == codes()


@pytest.mark.parametrize(
    ("written", "hint"), [("wrong-ranks", "did you mean wrong-rank?"), ("zebra", "archprof explain lists them")]
)
def test_explain_of_an_unknown_code(written, hint):
    done = CliRunner().invoke(application(), ["explain", written])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == f"no kind of mistake is called {written}: {hint}"
