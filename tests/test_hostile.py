"""Whatever comes in, what comes out is a receipt that holds, or one of our errors."""

from __future__ import annotations

import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from compressor_cli import check_facts, compress, expand
from compressor_cli.core.tokens import token_counter
from compressor_cli.errors import BudgetTooSmallError, SccError

count = token_counter().count
_SCRAPS = (
    'def f(x):\n    return x\n', '```python\nx = 1\n', '```', '{"a": [1, 2.50,', '{"messages": [{"role": "user"',
    '| a | b |\n|---|---|\n', 'not never must ', '1,234.5 kg ', 'https://x.example/a?b=c ',
    '2026-11-21T10:00:00Z WARN disk full\n', '# Heading\n\n', '> quote\n', '- item\n', '\ufeff', '\r\n', '\u2028',
    '“', '(((', ']]]', '$$', '<!--', '---\n', '東京 ', '🌉', '\ud800', '\t\t', '/* ', '//', "'''", '"""',
    'import os\n', 'SELECT * FROM t;\n', 'fn main() {', 'a,b,c\n1,2,3\n', 'items[2]{id,name}:\n  1,a\n',
    '# table\n', '[…]', '(x3, last 10:00:01)',
)  # fmt: skip


def hostile(seed: int) -> str:
    """Random bytes read as UTF-8, scraps of everything that has an engine, and both mixed."""
    rng = random.Random(seed)
    if seed % 3 == 0:
        return rng.randbytes(rng.randrange(1, 400)).decode("utf-8", "replace")
    scraps = [rng.choice(_SCRAPS) for _ in range(rng.randrange(1, 25))]
    if seed % 3 == 1:
        scraps = [part[: rng.randrange(len(part)) + 1] for part in scraps]
        scraps.insert(rng.randrange(len(scraps)), rng.randbytes(rng.randrange(40)).decode("latin-1"))
    return "".join(scraps)


def options_of(seed: int) -> dict[str, object]:
    rng = random.Random(-seed)
    options: dict[str, object] = {}
    if rng.random() < 0.6:
        options["rate"] = rng.choice((0.1, 0.33, 0.5, 0.9, 1.0))
    for name, values in (
        ("allow_loss", (True,)),
        ("omission_marker", (True,)),
        ("protect", ("none", "all")),
        ("keep_first", (1, 3)),
        ("keep_last", (1, 2)),
        ("stable_prefix", (1, 20)),
        ("query", ("What must not be 1,234.5 kg?",)),
        ("level", ("whitespace", "compact", "outline")),
        ("engine", ("prose", "code", "json")),
        ("chat", (True,)),
    ):
        if rng.random() < 0.15:
            options[name] = rng.choice(values)
    return options


def check(seed: int) -> None:
    text, options = hostile(seed), options_of(seed)
    try:
        receipt = compress(text, with_map=True, **options)  # type: ignore[arg-type]
    except BudgetTooSmallError as exc:
        assert exc.tokens_needed > 0
        return
    except SccError:
        return
    assert receipt.tokens_in == count(text)
    assert receipt.tokens_out == count(receipt.compressed) <= receipt.tokens_in
    if "rate" in options:
        assert receipt.tokens_out <= float(str(options["rate"])) * receipt.tokens_in
    assert expand(receipt) == text
    assert 0 <= receipt.fidelity <= 1
    json.dumps(receipt.as_dict())
    check_facts(receipt.compressed, text)


def test_hostile_texts() -> None:
    for seed in range(200):
        check(seed)


@pytest.mark.slow
def test_ten_thousand_hostile_texts() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(check, range(400, 10_400), chunksize=100))
