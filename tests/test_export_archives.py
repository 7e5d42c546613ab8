"""Archives from outside: nothing leaves the folder, nothing is a link, nothing is without end."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli.core.archives import unpack
from compressor_cli.errors import UsageError


def tar(path: Path, *members: tuple[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if change:
                change(member)
            archive.addfile(member, io.BytesIO(content))
    return path


def linked(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    return change


def zipped(path: Path, name: str, mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, "/etc/passwd")
    return path


@pytest.fixture
def target(work: Path) -> Path:
    (work / "outer/inner").mkdir(parents=True)
    return work / "outer/inner"


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_files_and_folders(work: Path, target: Path, form: str) -> None:
    if form == "tar":
        archive = tar(work / "a.tar.gz", ("./a.json", b"{}"), ("b/c.json", b"[]"))
    else:
        archive = work / "a.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.mkdir("b")
            file.writestr("a.json", "{}")
            file.writestr("b/c.json", "[]")
    assert [str(path.relative_to(target)) for path in unpack(archive, target)] == ["a.json", "b/c.json"]
    assert (target / "b/c.json").read_text() == "[]"


NAMES = ["../x", "a/../../x", "/tmp/x", "a\\..\\x", "C:x", "a\nb", "", ".", "n" * 250]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere(work: Path, target: Path, name: str) -> None:
    for archive in (tar(work / "a.tar.gz", (name, b"x")), zipped(work / "a.zip", name or "..")):
        with pytest.raises(UsageError, match="is no name inside a folder"):
            unpack(archive, target)
    assert not list(target.iterdir())
    assert [path.name for path in (work / "outer").iterdir()] == ["inner"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices(work: Path, target: Path, kind: bytes) -> None:
    with pytest.raises(UsageError, match="is a link or a device"):
        unpack(tar(work / "a.tar.gz", ("link", b""), change=linked(kind)), target)
    assert not list(target.iterdir())


def test_a_link_in_a_zip(work: Path, target: Path) -> None:
    with pytest.raises(UsageError, match="is a link or a device"):
        unpack(zipped(work / "a.zip", "link", mode=0o120777), target)


def test_limits(work: Path, target: Path) -> None:
    archive = tar(work / "a.tar.gz", *((f"{number}", bytes(1000)) for number in range(5)))
    with pytest.raises(UsageError, match="more bytes than"):
        unpack(archive, target, largest=4999)
    for path in target.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="more than 4 files"):
        unpack(archive, target, most_files=4)
    for path in target.iterdir():
        path.unlink()
    assert len(unpack(archive, target, largest=5000, most_files=5)) == 5


def test_a_bomb_is_no_weights(work: Path, target: Path) -> None:
    archive = work / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file, file.open("a", "w") as content:
        for _ in range(300):
            content.write(bytes(1 << 20))
    with pytest.raises(UsageError, match="more bytes than"):
        unpack(archive, target)
    assert sum(path.stat().st_size for path in target.iterdir()) <= 1 << 28


def test_a_zip_that_lies_about_its_size(work: Path, target: Path) -> None:
    archive = work / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(1 << 20))
    archive.write_bytes(archive.read_bytes().replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UsageError):
        unpack(archive, target, largest=1000)
    assert sum(path.stat().st_size for path in target.iterdir()) <= 1000


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00broken", b"PK\x03\x04"])
def test_what_is_no_archive(work: Path, target: Path, content: bytes) -> None:
    (work / "a.tar.gz").write_bytes(content)
    with pytest.raises(UsageError, match=r"a\.tar\.gz"):
        unpack(work / "a.tar.gz", target)


def test_one_that_is_cut_off(work: Path, target: Path) -> None:
    whole = tar(work / "a.tar.gz", ("a", bytes(range(256)) * 400))
    whole.write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack(whole, target)


def test_a_name_twice(work: Path, target: Path) -> None:
    for names in (("a", "a"), ("a", "a/b")):
        with pytest.raises(UsageError, match=r"twice|folder too"):
            unpack(tar(work / "a.tar.gz", *((name, b"x") for name in names)), target)
        (target / "a").unlink()


def test_through_the_command(scc: Scc, work: Path) -> None:
    tar(work / "a.tar.gz", ("adapter_config.json", b"{}"), ("link", b""), change=linked(tarfile.SYMTYPE))
    result = scc("export", "a.tar.gz", "--to", "out", "--format", "peft")
    assert (result.exit_code, result.stderr) == (2, "error: a.tar.gz: 'adapter_config.json' is a link or a device\n")
    tar(work / "b.tar.gz", ("notes.txt", b"x"))
    result = scc("export", "b.tar.gz", "--to", "out", "--format", "peft")
    assert result.stderr.splitlines()[0] == "error: b.tar.gz holds no adapters or models"
    assert sorted(path.name for path in work.iterdir()) == ["a.tar.gz", "b.tar.gz"]
