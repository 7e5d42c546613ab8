"""Fences and tables of a document go to engines of their own, within one budget."""

from __future__ import annotations

import pytest

from compressor_cli import compress
from compressor_cli.engines.blocks import _table
from compressor_cli.errors import BudgetTooSmallError

PROSE = (
    "The council talked about the old bridge by the mill, and about lorries that cross it on most days of the year. "
    "It was agreed that the size of each file would be found by a small program, which is printed below in full."
)
FENCE = (
    '```python\nimport os\n\n\ndef size(path):\n    """How large a file is."""\n    # in bytes\n'
    "    return os.stat(path).st_size\n```"
)
JSON = '```json\n{\n    "name": "bridge",\n    "lorries": [1, 2, 3]\n}\n```'
TABLE = "| Name     | Lorries |\n|:---------|--------:|\n| Brimley  |       4 |\n| Skarrow  |      11 |"
DOCUMENT = f"{PROSE}\n\n{FENCE}\n\n{TABLE}\n\n{JSON}\n\n{PROSE}\n"


def test_each_block_has_its_engine_and_the_receipt_says_why() -> None:
    receipt = compress(DOCUMENT, level="comments")
    assert [(block.domain, block.engine) for block in receipt.blocks] == [
        ("code", "code"),
        ("table", "table"),
        ("json", "json"),
    ]
    for block, source in zip(receipt.blocks, (FENCE, TABLE, JSON), strict=True):
        assert DOCUMENT[block.start : block.end] == source
        assert block.tokens_out < block.tokens_in
        assert block.why
    assert '{"name":"bridge","lorries":[1,2,3]}' in receipt.compressed
    assert "|Brimley|4|" in receipt.compressed


def test_a_block_that_gains_nothing_stays() -> None:
    receipt = compress(DOCUMENT)
    assert FENCE in receipt.compressed
    assert receipt.blocks[0].engine == "none"
    assert receipt.blocks[0].tokens_out == receipt.blocks[0].tokens_in


def test_comments_are_text_until_the_budget_asks() -> None:
    assert "# in bytes" in compress(DOCUMENT).compressed
    assert "# in bytes" in compress(DOCUMENT, rate=0.9).compressed
    tight = compress(DOCUMENT, rate=0.6)
    assert "# in bytes" not in tight.compressed
    assert "return os.stat(path).st_size" in tight.compressed
    assert tight.tokens_out <= 0.6 * tight.tokens_in


def test_a_level_is_for_fences_too() -> None:
    assert "# in bytes" not in compress(DOCUMENT, level="comments").compressed
    outlined = compress(DOCUMENT, level="outline").compressed
    assert "def size(path):" in outlined and "st_size" not in outlined


def test_bodies_go_only_when_asked_for() -> None:
    with pytest.raises(BudgetTooSmallError):
        compress(f"{FENCE}\n\nThat is all.\n", rate=0.45)
    assert compress(f"{FENCE}\n\nThat is all.\n", rate=0.6, allow_loss=True).tokens_out


@pytest.mark.parametrize("info", ["text", "console", "diff", "mermaid"])
def test_what_has_no_engine_stays(info: str) -> None:
    fence = f"```{info}\n$ ls   -l\n\n\n+ x\n```"
    receipt = compress(f"{PROSE}\n\n{fence}\n\n{PROSE}\n")
    assert fence in receipt.compressed
    assert [block.engine for block in receipt.blocks] == ["none"]


def test_crlf_and_unclosed_fences_stay_whole() -> None:
    text = DOCUMENT.replace("\n", "\r\n")
    assert "\n" not in compress(text).compressed.replace("\r\n", "")
    assert "return os.stat(path).st_size" in compress(f"{PROSE}\n\n{FENCE.removesuffix('```')}").compressed


def test_a_table_keeps_its_cells() -> None:
    assert _table("| a | b \\| c |\n|:--:|---|\n|  1  |  |") == "|a|b \\| c|\n|:-:|-|\n|1||"


FENCED = """Some words stand above the program, and more of them stand here, so that there is something to leave out.

```python
def f(x):
    # It must never be above 5 bar.
    y = x  # plain words about it
    return y
```
"""


def test_a_budget_leaves_comments_that_state_protected_facts() -> None:
    kept = compress(FENCED, rate=0.8).compressed
    assert "must never be above 5 bar" in kept
    assert "plain words about it" not in kept
    assert "5 bar" not in compress(FENCED, rate=0.8, level="compact").compressed
    assert "5 bar" not in compress(FENCED, rate=0.4, allow_loss=True).compressed


def test_code_under_a_budget_keeps_protected_comments_or_is_refused() -> None:
    code = "def f(x):\n    # It must never be above 5 bar.\n    y = x  # plain words about it\n    return y\n"
    assert "must never be above 5 bar" in compress(code, rate=0.8).compressed
    with pytest.raises(BudgetTooSmallError, match="comments that state protected facts") as refused:
        compress(code, rate=0.4)
    assert refused.value.hint and "--level compact" in refused.value.hint
    needed = refused.value.tokens_needed
    assert "5 bar" in compress(code, max_tokens=needed).compressed
    assert "5 bar" not in compress(code, rate=0.6, level="compact").compressed
    assert "5 bar" not in compress(code, rate=0.4, allow_loss=True).compressed
