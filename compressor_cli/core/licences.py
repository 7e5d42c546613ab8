"""The licence of a file, as an SPDX expression, where a file says it."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD = 4000  # characters in which a file says under what licence it is
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+() -]+?)[ \t]*(?:\*/|-->|[\"'#;]|$)", re.M)
_EXPRESSION = re.compile(r"\(?[A-Za-z0-9.+-]+\)?(?: (?:AND|OR|WITH) \(?[A-Za-z0-9.+-]+\)?)*")
_NAME = re.compile(
    r"(?i)(?:(?:un)?licen[cs]e|copying)\d?(?:[-_.](?:mit|apache|bsd|[al]?gpl|lesser|mpl|cc|isc|zlib|bsl)[\w.+-]*)?"
    r"(?:\.(?:txt|md|rst|markdown))?"
)

# Phrases that stand in the text of one licence only, white space aside; the first that fits counts.
_TEXTS = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        ("AGPL-3.0", r"GNU AFFERO GENERAL PUBLIC LICENSE Version 3"),
        ("LGPL-3.0", r"GNU LESSER GENERAL PUBLIC LICENSE Version 3"),
        ("LGPL-2.1", r"GNU LESSER GENERAL PUBLIC LICENSE Version 2\.1"),
        ("GPL-3.0", r"GNU GENERAL PUBLIC LICENSE Version 3"),
        ("GPL-2.0", r"GNU GENERAL PUBLIC LICENSE Version 2"),
        ("Apache-2.0", r"Apache License,? Version 2\.0"),
        ("MPL-2.0", r"Mozilla Public License,? Version 2\.0"),
        ("Python-2.0", r"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
        ("Unlicense", r"This is free and unencumbered software released into the public domain"),
        ("CC0-1.0", r"CC0 1\.0 Universal"),
        ("CC-BY-SA-4.0", r"Attribution-ShareAlike 4\.0 International"),
        ("CC-BY-4.0", r"Attribution 4\.0 International"),
        ("BSL-1.0", r"Boost Software License - Version 1\.0"),
        ("ISC", r"Permission to use, copy, modify, and/?(?:or)? distribute this software for any purpose with or"),
        ("BSD-3-Clause", r"Redistribution and use in source and binary forms.*Neither the name"),
        ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
        ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining a copy of this software"),
    )
)  # fmt: skip


def is_licence_file(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def tagged(text: str) -> str | None:
    """By an SPDX header."""
    match = _TAG.search(text, 0, _HEAD)
    return as_expression(match[1]) if match else None


def as_expression(value: str) -> str | None:
    """What a person wrote for a licence, if it has the form of an SPDX expression."""
    value = value.strip().strip("\"'")
    return value if _EXPRESSION.fullmatch(value) else None


class Licences:
    """Those of folders, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str | None] = {}

    def of(self, file: Path, root: Path) -> str | None:
        """By the nearest licence file in the folder of `file` or above it, up to `root`."""
        for folder in file.parents:
            if folder not in self._known:
                self._known[folder] = _of_folder(folder)
            known = self._known[folder]
            if known is not None or folder == root or root not in folder.parents:
                return known or None
        return None


def _of_folder(folder: Path) -> str | None:
    """None without a licence file. Empty for one that is not known, and for several that differ: which is meant,
    they do not say."""
    try:
        names = sorted(path for path in folder.iterdir() if is_licence_file(path.name) and path.is_file())
        found = {_of_text(path.read_text(encoding="utf-8", errors="replace")[:200_000]) for path in names}
    except OSError:
        return None
    return (found.pop() if len(found) == 1 else None) or ("" if names else None)


def _of_text(text: str) -> str | None:
    plain = " ".join(text.split())
    return tagged(text) or next((name for name, pattern in _TEXTS if pattern.search(plain)), None)
