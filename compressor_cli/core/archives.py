"""Archives from outside, unpacked: only regular files, only inside the folder, and no more than a limit of them.

What an archive says of its sizes is not believed: bytes are counted while they are written.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from compressor_cli.errors import UsageError

LARGEST = 64 << 30  # bytes of all files
_SMALL = 1 << 28  # bytes that any archive may hold
_TIMES = 100  # its own size that a larger one may hold: weights shrink little
MOST_FILES = 1000
_LONGEST_NAME = 240
_BLOCK = 1 << 20
_BROKEN = (  # a RuntimeError is for a zip with a password
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip


def unpack(archive: Path, folder: Path, *, largest: int = LARGEST, most_files: int = MOST_FILES) -> list[Path]:
    """The files, in `folder`, which is empty. Raises UsageError for what is no archive, or one that is refused; what
    was written by then stays for the caller to remove."""
    written: list[Path] = []
    try:
        left = min(largest, max(_SMALL, _TIMES * archive.stat().st_size))
        with closing(_members(archive)) as members:
            for name, content in members:
                path = folder / _inside(archive, name)
                if len(written) == most_files:
                    raise UsageError(f"{archive}: more than {most_files:,} files")
                if path.exists():
                    raise UsageError(f"{archive}: {name[:100]!r} is in it twice")
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _write(archive, content, path, left)
                written.append(path)
    except _BROKEN as exc:
        raise UsageError(f"{archive} cannot be unpacked: {' '.join(str(exc).split())}") from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise UsageError(f"{archive}: a file in it is a folder too") from None
    if not written:
        raise UsageError(f"{archive} holds no files")
    return written


def is_archive(path: Path) -> bool:
    return path.is_file() and path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip"))


def _members(archive: Path) -> Generator[tuple[str, IO[bytes]]]:
    """Names and contents, in their order; folders are left out, since files make theirs."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UsageError(f"{archive}: {entry.filename[:100]!r} is a link or a device")
                if not entry.is_dir():
                    with packed.open(entry) as content:
                        yield entry.filename, content
        return
    with tarfile.open(archive, "r:*") as tar:
        for member in tar:
            if not member.isreg() and not member.isdir():
                raise UsageError(f"{archive}: {member.name[:100]!r} is a link or a device")
            if member.isreg() and (file := tar.extractfile(member)) is not None:
                with file:
                    yield member.name, file


def _inside(archive: Path, name: str) -> Path:
    """Raises UsageError for a name that leads out of the folder, or that no system writes the same."""
    path = PurePosixPath(name)
    parts = [part for part in path.parts if part != "."]
    bad = not parts or path.is_absolute() or ".." in parts or "\\" in name or not name.isprintable()
    if bad or len(name) > _LONGEST_NAME or ":" in parts[0]:
        raise UsageError(f"{archive}: {name[:100]!r} is no name inside a folder")
    return Path(*parts)


def _write(archive: Path, content: IO[bytes], path: Path, limit: int) -> int:
    size = 0
    with path.open("xb") as file:
        while block := content.read(_BLOCK):
            size += len(block)
            if size > limit:
                raise UsageError(f"{archive}: more bytes than an adapter or a model has")
            file.write(block)
    return size
