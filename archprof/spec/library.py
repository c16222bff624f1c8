"""Where specs are found: a path that exists, else a shipped spec, a variant or an alias of one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from archprof.operators import listed_and, nearest
from archprof.spec.document import Document, Variant
from archprof.spec.errors import Mistake, SpecError
from archprof.spec.parse import parse
from archprof.spec.reader import MAX_BYTES, read_file, read_partly

_PACKAGE = Path(__file__).resolve().parent.parent
# in a wheel the specs lie inside the package, in a checkout beside it
SHIPPED = next(path for path in (_PACKAGE / "specs", _PACKAGE.parent / "specs") if path.is_dir())


def load_document(path: Path | str) -> Document:
    """Read one spec file; `-` is standard input. Raises SpecError with all structural mistakes."""
    file = "<stdin>" if str(path) == "-" else str(path)
    if str(path) != "-":
        return parse_text(read_file(Path(path)), file)
    if sys.stdin is None:
        raise SpecError([Mistake(file, 0, 0, "standard input is closed", "unreadable-file")])
    return parse_text(sys.stdin.buffer.read(MAX_BYTES + 1), file)


def parse_text(text: bytes, file: str) -> Document:
    """The Document of a spec's text; `file` is the name that messages give it. Raises SpecError."""
    return parse(*read_partly(text, file), file=file)


def shipped_paths() -> list[Path]:
    """The shipped spec files, by name."""
    return sorted(SHIPPED.glob("*.yaml"))


def _variants_by_name(document: Document) -> Iterator[tuple[str, Variant]]:
    for name, variant in document.variants.items():
        yield name, variant
        for alias in variant.aliases:
            yield alias, variant


def shipped_names() -> list[str]:
    """Every name that `find_spec` knows without a path: files, variants and aliases."""
    names = []
    for path in shipped_paths():
        names.append(path.stem)
        names.extend(name for name, _ in _variants_by_name(load_document(path)))
    return names


def find_variant(document: Document, name: str) -> Variant:
    """A document's variant by name or alias. Raises SpecError with the nearest name."""
    known = dict(_variants_by_name(document))
    if name not in known:
        close = nearest(name, known)
        has = f"its variants are {listed_and(known)}" if known else "it has none"
        hint = f"did you mean {close}?" if close else has
        raise SpecError([Mistake(document.file, 0, 0, f"no variant {name}: {hint}", "unknown-variant")])
    return known[name]


def find_spec(name: str) -> tuple[Document, Variant | None]:
    """A spec as a command line names it.

    A path that exists (or `-`) is taken as it is, `PATH:VARIANT` takes a variant of it; otherwise the
    name, with or without `.yaml`, is looked up among the shipped files, their variants and aliases.
    Raises SpecError.
    """
    if name == "-" or _exists(name):
        return load_document(name), None
    path, colon, variant = name.rpartition(":")
    if colon and _exists(path):
        document = load_document(path)
        return document, find_variant(document, variant)
    if colon and _exists(SHIPPED / f"{_stem(path)}.yaml"):
        document = load_document(SHIPPED / f"{_stem(path)}.yaml")
        return document, find_variant(document, variant)
    stem = _stem(name)
    if stem and "/" not in stem and _exists(SHIPPED / f"{stem}.yaml"):
        return load_document(SHIPPED / f"{stem}.yaml"), None
    for candidate in shipped_paths():
        if stem.encode(errors="surrogateescape") in candidate.read_bytes():  # far cheaper than parsing all of them
            document = load_document(candidate)
            found = dict(_variants_by_name(document)).get(stem)
            if found is not None:
                return document, found
    close = nearest(stem, shipped_names())
    hint = f"did you mean {close}?" if close else "archprof list shows them"
    raise SpecError(
        [Mistake(name, 0, 0, f"no such file, and no shipped spec is called {stem}: {hint}", "no-such-file")]
    )


def _exists(path: Path | str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a path may be
        return False


def has_variant(stem: str, variant: str) -> bool | None:
    """Whether the shipped spec of a name has a variant; None where no spec is called so."""
    shipped = SHIPPED / f"{_stem(stem)}.yaml"
    return variant in dict(_variants_by_name(load_document(shipped))) if shipped.is_file() else None


def _stem(name: str) -> str:
    return name[: -len(".yaml")] if name.endswith(".yaml") else name
