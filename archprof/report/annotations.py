"""Annotations of a GitHub Actions run.

GitHub shows 10 annotations of a kind a step: of more, one notice must hold all. The form of a workflow command and its
escapes are GitHub's (docs.github.com, workflow commands).
"""

from __future__ import annotations

MOST = 10


def annotation(kind: str, message: str, **properties: str) -> str:
    """A workflow command: kind is error, warning or notice; properties are title, file, line, col."""
    given = ",".join(f"{name}={_encoded(value, ':,')}" for name, value in properties.items())
    return f"::{kind} {given}::{_encoded(message)}"


def _encoded(text: str, more: str = "") -> str:
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text
