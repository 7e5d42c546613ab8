"""Files that are whole or absent."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from compressor_cli.core.files import atomic_writer, sha256_file, write_atomic, write_json


def test_a_failure_leaves_the_old_file_and_nothing_else(work: Path) -> None:
    target = work / "out.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_writer(target) as handle:
        handle.write(b"new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert os.listdir(work) == ["out.txt"]


def test_folders_are_made_and_text_is_utf8(work: Path) -> None:
    write_atomic(work / "a" / "b" / "out.txt", "é")
    assert (work / "a" / "b" / "out.txt").read_bytes() == "é".encode()
    write_json(work / "out.json", {"é": 1})
    assert (work / "out.json").read_text(encoding="utf-8") == '{\n  "é": 1\n}\n'


def test_permissions_are_those_of_any_new_file_or_stay(work: Path) -> None:
    (work / "plain").touch()
    write_atomic(work / "new", "")
    assert (work / "new").stat().st_mode == (work / "plain").stat().st_mode
    (work / "new").chmod(0o640)
    write_atomic(work / "new", "again")
    assert stat.S_IMODE((work / "new").stat().st_mode) == 0o640


def test_a_link_stays_a_link(work: Path) -> None:
    (work / "real").mkdir()
    (work / "real" / "out.txt").write_text("old")
    (work / "link").symlink_to(work / "real" / "out.txt")
    write_atomic(work / "link", "new")
    assert (work / "link").is_symlink()
    assert (work / "real" / "out.txt").read_text() == "new"


def test_a_device_stays_a_device(work: Path) -> None:
    # By a link, so that a mistake would cost the link and not the machine's own /dev/null.
    (work / "null").symlink_to("/dev/null")
    write_atomic(work / "null", "gone")
    assert (work / "null").is_symlink()
    assert (work / "null").is_char_device()
    assert os.listdir(work) == ["null"]


def test_a_directory_in_the_way_is_named(work: Path) -> None:
    (work / "out").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomic(work / "out", "x")
    assert Path(caught.value.filename) == (work / "out")
    assert os.listdir(work) == ["out"]


def test_hash(work: Path) -> None:
    (work / "a").write_bytes(b"abc")
    assert sha256_file(work / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
