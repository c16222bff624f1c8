import io
import os
import pty
import stat
import threading
from pathlib import Path

import pytest

from archprof.errors import UsageError
from archprof.report import Surface, surface_of, write_output


def test_a_pipe_has_no_width_and_no_colour() -> None:
    assert surface_of(io.StringIO()) == Surface(width=None, colour=False, unicode=True)


def test_a_stream_of_few_characters() -> None:
    with open(os.devnull, "w", encoding="ascii") as stream:
        assert surface_of(stream) == Surface(width=None, colour=False, unicode=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Surface(width=80, colour=True)),
        ({"COLUMNS": "160"}, Surface(width=160, colour=True)),
        ({"COLUMNS": "wide"}, Surface(width=80, colour=True)),
        ({"NO_COLOR": "1"}, Surface(width=80, colour=False)),
        ({"NO_COLOR": ""}, Surface(width=80, colour=True)),  # no-color.org: set and not empty
        ({"TERM": "dumb"}, Surface(width=80, colour=False)),
    ],
)
def test_a_terminal(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: Surface) -> None:
    for name in ("COLUMNS", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    try:
        with open(slave, "w", encoding="utf-8") as stream:
            assert surface_of(stream) == expected  # a new pseudo-terminal says it has 0 columns: 80
    finally:
        os.close(master)


def test_a_new_file(tmp_path: Path) -> None:
    write_output("one\ntwo ─\n", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == "one\ntwo ─\n".encode()
    assert os.listdir(tmp_path) == ["out.csv"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o666 & ~umask


def test_an_old_file_is_replaced_and_keeps_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    path.chmod(0o640)
    write_output("new", path)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_output("new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError) as raised:
        write_output("new", path)
    assert str(raised.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_what_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="surrogates not allowed"):
        write_output("\ud800", tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write_output("text", fifo)
    reader.join(5)
    assert read == ["text"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_mistakes(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path, "it is a directory; give a file"),
        (tmp_path / "none" / "out", f"there is no folder {tmp_path / 'none'}"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(UsageError) as raised:
            write_output("text", path)
        assert str(raised.value) == f"cannot write {path}: {reason}"
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as raised:
        write_output("text", tmp_path / "file" / "out")
    assert str(raised.value) == f"cannot write {tmp_path / 'file' / 'out'}: Not a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        write_output("text", tmp_path / "out")
