"""JUnit's XML: a test suite a network, a test case a finding."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from archprof.analysis.check import EXCEPTION, FAILED, Checked
from archprof.report.checks.terminal import said
from archprof.report.output import Surface


def render(checked: Sequence[Checked], surface: Surface) -> str:
    """A failure for what differs; a published cell that does not follow, as recorded, is skipped."""
    root = ElementTree.Element("testsuites", _sums(checked))
    for network in checked:
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(network.name), **_sums((network,))})
        for finding in network.findings:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                {"name": _clean(finding.what), "classname": _clean(network.name), "time": "0"},
            )
            if finding.status == FAILED:
                message = f"{finding.what} is {finding.found}, not {finding.expected}"
                failure = ElementTree.SubElement(case, "failure", {"message": _clean(message), "type": "differs"})
                failure.text = _clean(said(finding))
            elif finding.status == EXCEPTION:
                ElementTree.SubElement(case, "skipped", {"message": _clean(said(finding))})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _sums(checked: Sequence[Checked]) -> dict[str, str]:
    return {
        "tests": str(sum(len(network.findings) for network in checked)),
        "failures": str(sum(network.count(FAILED) for network in checked)),
        "errors": "0",
        "skipped": str(sum(network.count(EXCEPTION) for network in checked)),
        "time": "0",
    }


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(char if char in "\t\n" or " " <= char < "\ud800" or char >= "\ue000" else "?" for char in text)
