"""JUnit's XML, as Jenkins reads it: a test suite a network, a test case a finding."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from archprof.analysis.check import EXCEPTION, FAILED, Report
from archprof.report.checks.terminal import said
from archprof.report.output import Surface
from archprof.spec.errors import Mistake


def render(report: Report, surface: Surface) -> str:
    """A failure for what differs; a published cell that does not follow, as recorded, is skipped.

    A file with mistakes is a suite with an error each.
    """
    tests = sum(len(network.findings) for network in report.networks) + len(report.mistakes)
    root = ElementTree.Element("testsuites", _sums(tests, report.count(FAILED), len(report.mistakes)))
    for network in report.networks:
        sums = _sums(len(network.findings), network.count(FAILED), 0)
        skipped = str(network.count(EXCEPTION))
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(network.name), **sums, "skipped": skipped})
        for finding in network.findings:
            case = _case(suite, finding.what, network.name)
            if finding.status == FAILED:
                message = f"{finding.what} is {finding.found}, not {finding.expected}"
                failure = ElementTree.SubElement(case, "failure", {"message": _clean(message), "type": "differs"})
                failure.text = _clean(said(finding))
            elif finding.status == EXCEPTION:
                ElementTree.SubElement(case, "skipped", {"message": _clean(said(finding))})
    for file, mistakes in _by_file(report.mistakes):
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _clean(file), **_sums(len(mistakes), 0, len(mistakes)), "skipped": "0"}
        )
        for mistake in mistakes:
            case = _case(suite, f"{mistake.line}:{mistake.column}", file)
            ElementTree.SubElement(case, "error", {"message": _clean(str(mistake)), "type": mistake.code})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, name: str, classname: str) -> ElementTree.Element:
    given = {"name": _clean(name), "classname": _clean(classname), "time": "0"}
    return ElementTree.SubElement(suite, "testcase", given)


def _by_file(mistakes: Iterable[Mistake]) -> Iterable[tuple[str, list[Mistake]]]:
    files: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        files.setdefault(mistake.file, []).append(mistake)
    return files.items()


def _sums(tests: int, failures: int, errors: int) -> dict[str, str]:
    return {"tests": str(tests), "failures": str(failures), "errors": str(errors), "time": "0"}


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(
        char if char in "\t\n" or " " <= char < "\ud800" or "\ue000" <= char <= "\ufffd" or char > "\uffff" else "?"
        for char in text
    )
