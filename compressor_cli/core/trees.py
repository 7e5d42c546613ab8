"""The files that stand in what a user names, in a fixed order, and why others are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from compressor_cli.core.folders import printable
from compressor_cli.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

HIDDEN, IGNORED, INSTALLED, NO_FILE, UNREADABLE = (
    "hidden", "ignored by git", "installed packages", "no regular file", "unreadable"
)  # fmt: skip
_INSTALLED = frozenset("node_modules bower_components site-packages __pycache__ venv".split())


@dataclass(frozen=True, slots=True)
class Found:
    """A file or, where it is left out for `problem`, also a folder.

    `inside` is its path within `root`, the folder that was named or that of the file that was (`named`); `name` has
    the name of that folder too, and a number where two are equal.
    """

    path: Path
    root: Path
    inside: PurePath
    name: str
    named: bool
    problem: str | None = None
    error: str | None = None


def find_files(sources: Sequence[Path], *, but_not: Iterable[Path] = ()) -> Iterator[Found]:
    """Each file once, by the order of the sources and of names. Links to folders are not followed; what is hidden or
    ignored is taken where it is named itself. Raises UsageError for a source that is not there."""
    for source in sources:
        if not os.path.exists(source):  # where Path.exists raises, this says no
            raise UsageError(f"no such file or folder: {source}")
    return _find(sources, {os.path.realpath(path) for path in but_not})


def _find(sources: Sequence[Path], seen: set[str]) -> Iterator[Found]:
    names: Counter[str] = Counter()
    for source in sources:
        folder = source.resolve().name if source.is_dir() else ""
        found = _walk(source) if source.is_dir() else [(source, None, None)]
        for path, problem, error in found:
            real = os.path.realpath(path)  # Path.resolve raises for a link to itself
            if real in seen:
                continue
            seen.add(real)
            named = not source.is_dir()
            root = source.parent if named else source
            inside = PurePath(path.relative_to(root))
            name = printable(Path(folder, inside))
            names[name] += 1
            if names[name] > 1:
                name = f"{name}#{names[name]}"
            if problem is None and not path.is_file():
                problem = NO_FILE
            yield Found(path, root, inside, name, named, problem, error)


def _walk(root: Path) -> Iterator[tuple[Path, str | None, str | None]]:
    """Path, why it is left out, and the system's error where that is why."""
    ignored = _Ignored(root)
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as exc:
            yield folder, UNREADABLE, exc.strerror or str(exc)
            continue
        deeper: list[Path] = []
        for entry in entries:
            path, is_folder = Path(entry.path), entry.is_dir(follow_symlinks=False)
            if entry.name.startswith("."):
                yield path, HIDDEN, None
            elif is_folder and entry.name in _INSTALLED:
                yield path, INSTALLED, None
            elif ignored.matches(path, is_folder=is_folder):
                yield path, IGNORED, None
            elif is_folder:
                deeper.append(path)
            else:
                yield path, None, None
        waiting.extend(reversed(deeper))


class _Ignored:
    """What `.gitignore` files say, from the top of the repository that a folder stands in and is not ignored by."""

    def __init__(self, root: Path) -> None:
        self._specs: dict[Path, GitIgnoreSpec | None] = {}
        above = [root.resolve(), *root.resolve().parents]
        self._top = next((folder for folder in above if (folder / ".git").exists()), above[0])
        if any(self.matches(folder, is_folder=True) for folder in above if self._top in folder.parents):
            self._top = above[0]

    def matches(self, path: Path, *, is_folder: bool) -> bool:
        """The nearest file with a rule for the path decides."""
        path = path.parent.resolve() / path.name
        for folder in path.parents:
            spec = self._spec(folder)
            if spec is not None:
                said = spec.check_file(path.relative_to(folder).as_posix() + "/" * is_folder).include
                if said is not None:
                    return said
            if folder == self._top:
                return False
        return False

    def _spec(self, folder: Path) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = _read_spec(folder / ".gitignore")
        return self._specs[folder]


def _read_spec(path: Path) -> GitIgnoreSpec | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    try:
        from pathspec import GitIgnoreSpec
    except ModuleNotFoundError as exc:
        raise MissingExtraError(exc.name or "pathspec", "data") from None
    return GitIgnoreSpec.from_lines(lines)
