"""Where a result comes from: versions of packages, and the commit of the folder it was made in."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from compressor_cli import __version__


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """By the name of the distribution; of those that are installed."""
    found = {"compressor_cli": __version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> dict[str, Any] | None:
    """Of the working directory; `changed` where it has changes that no commit has. None outside of a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "changed": bool(changes.strip())}


def _git(*words: str) -> str:
    # A repository can name a program to watch its files: none is run for a look at its commit.
    command = ["git", "-c", "core.fsmonitor=false", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
