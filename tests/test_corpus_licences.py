"""The licence that a file has by what files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from compressor_cli.core.licences import Licences, as_expression, is_licence_file, tagged

MIT = (
    "MIT License\n\nCopyright (c) 2020\n\n"
    "Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software and"
)
APACHE = "                                 Apache License\n                           Version 2.0, January 2004\n"


@pytest.mark.parametrize(
    "name", ["LICENSE", "Licence.txt", "COPYING", "LICENSE-MIT", "COPYING.LESSER", "UNLICENSE", "license.md"]
)
def test_names_of_licence_files(name: str) -> None:
    assert is_licence_file(name)


@pytest.mark.parametrize("name", ["license.py", "licences.md", "license-guide.md", "copying_files.md", "LICENSE.py"])
def test_names_of_other_files(name: str) -> None:
    assert not is_licence_file(name)


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("# SPDX-License-Identifier: MIT\nimport os", "MIT"),
        (
            "/* SPDX-License-Identifier: GPL-2.0-only WITH Classpath-exception-2.0 */",
            "GPL-2.0-only WITH Classpath-exception-2.0",
        ),
        ("// SPDX-License-Identifier: (MIT OR Apache-2.0)\n", "(MIT OR Apache-2.0)"),
        ("<!-- SPDX-License-Identifier: CC-BY-4.0 -->", "CC-BY-4.0"),
        ("x = 1\n", None),
        ("\n" * 5000 + "# SPDX-License-Identifier: MIT\n", None),
    ],
)
def test_headers(text: str, licence: str | None) -> None:
    assert tagged(text) == licence


def test_what_a_person_wrote_is_taken_where_it_is_an_expression() -> None:
    assert as_expression('"CC-BY-4.0"') == "CC-BY-4.0"
    assert as_expression("see the file LICENSE") is None and as_expression("") is None


def test_the_nearest_file_within_the_source_counts(tmp_path: Path) -> None:
    for name, text in {
        "LICENSE": MIT,
        "a/b/COPYING": APACHE,
        "own/LICENSE": "All rights reserved.",
        "two/LICENSE-MIT": MIT,
        "two/LICENSE-APACHE": APACHE,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def of(file: str, root: str = "") -> str | None:
        return Licences().of(tmp_path / file, tmp_path / root)

    assert of("a/x.py") == "MIT" and of("a/b/c/x.py") == "Apache-2.0"
    assert of("a/x.py", "a") is None and of("a/b/x.py", "a/b") == "Apache-2.0"
    assert of("two/x.py", "two") is None  # which of both, no file says
    assert of("two/x.py") is None and of("own/x.py") is None
