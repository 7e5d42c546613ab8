"""`compress()`: budgets that hold, order that stays, a receipt that adds up; whatever the model thinks of a text."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import splintr
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compressor_cli import Receipt, compress
from compressor_cli.engines.scorer import EMBEDDED, Scorer, _windows, load_scorer
from compressor_cli.errors import BudgetTooSmallError, SccError, UsageError

PROSE = (
    "The council of Brimley met on Tuesday, 3 March, to talk about the old bridge. Ada Quill, who has kept its records "
    "since 1994, said that it must not carry lorries of more than 7.5 tonnes. Nobody disagreed. The repair will cost "
    "about £48,000, and it cannot begin before the swallows have left in September."
)
CODE = "import os\n\n\ndef size(path):\n    if not path:\n        return 0\n    return os.stat(path).st_size\n"
FENCED = f"{PROSE}\n\n```python\n{CODE}```\n\nThat is how the size is found, and it is not quick.\n"
JSON = '{"name": "Brimley", "bridges": [1, 2, 3], "open": false}'
GERMAN = (
    "Der Rat der Stadt hat am Dienstag über die alte Brücke gesprochen, die seit vielen Jahren nicht mehr sicher ist. "
    "Die Kosten für die Reparatur werden auf 48.000 Euro geschätzt, und sie kann nicht vor dem September beginnen."
)

_VOCABULARIES = {name: splintr.Tokenizer.from_pretrained(name) for name in ("o200k_base", "cl100k_base", "qwen3")}


def tokens(text: str, vocabulary: str = "o200k_base") -> int:
    """Counted without the project's own counter."""
    return len(_VOCABULARIES[vocabulary].encode_ordinary(text.encode("utf-8", "replace").decode()))


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


# --- any text, any budget

english = st.lists(
    st.sampled_from(
        "the a of and not never bridge council Ada 1994 £48,000 7.5% said, repaired it. who? cannot (old) “quote” "
        "**must** `x y` [a plan](u) because September — lorries; tonnes: swallows.".split()
    ),
    min_size=1,
    max_size=60,
).map(" ".join)
pieces = st.one_of(
    english,
    english.map("# {}\n".format),
    english.map("- {}".format),
    english.map("> {}".format),
    st.sampled_from(["```\na   b\n```", "| a | b |\n|---|---|\n| 1 | 2 |", "---", "", "<br>", "[x]: http://x.example"]),
    st.text(st.characters(), max_size=30),
    st.sampled_from(
        ["日本の首都は東京です。", "שלום עולם", "мост закрыт", "🌉🦅 🚧", "x" * 300, "\x07\x1b[0m \x85", "a\ud800b"]
    ),
)
texts = st.lists(pieces, min_size=1, max_size=6).map("\n".join).filter(lambda text: bool(text.strip()))
rates = st.floats(0.02, 1.0)


@settings(max_examples=100)
@given(text=texts, rate=rates)
def test_a_rate_is_never_exceeded(text: str, rate: float) -> None:
    try:
        receipt = compress(text, rate=rate, engine="prose")
    except BudgetTooSmallError as exc:
        assert exc.exit_code == 100
        assert exc.tokens_needed > rate * tokens(text) - 1
        assert str(exc.tokens_needed) in str(exc)
        return
    check(text, receipt)
    assert receipt.tokens_out <= rate * tokens(text)
    assert receipt.rate == rate


@settings(max_examples=100)
@given(text=texts, most=st.integers(1, 80))
def test_a_number_of_tokens_is_never_exceeded(text: str, most: int) -> None:
    try:
        receipt = compress(text, max_tokens=most, engine="prose")
    except BudgetTooSmallError as exc:
        assert exc.tokens_needed > most
        needed = compress(text, max_tokens=exc.tokens_needed, engine="prose")
        assert 0 < needed.tokens_out <= exc.tokens_needed
        with pytest.raises(BudgetTooSmallError):
            compress(text, max_tokens=exc.tokens_needed - 1, engine="prose")
        return
    check(text, receipt)
    assert receipt.tokens_out <= most


@settings(max_examples=60)
@given(text=texts)
def test_without_a_budget_no_text_is_an_error(text: str) -> None:
    receipt = compress(text)
    check(text, receipt)
    assert receipt == dataclasses.replace(compress(text), seconds=receipt.seconds)


def check(text: str, receipt: Receipt) -> None:
    """What holds of every receipt."""
    assert receipt.compressed.strip()
    assert receipt.tokens_in == tokens(text)
    assert receipt.tokens_out == tokens(receipt.compressed)
    assert receipt.tokens_out <= receipt.tokens_in
    assert receipt.ratio == round(receipt.tokens_out / receipt.tokens_in, 4)
    assert receipt.savings == pytest.approx(1 - receipt.ratio, abs=1e-4)
    assert 0 <= receipt.rate <= 1
    assert receipt.seconds > 0
    assert receipt.exact
    assert is_subsequence(words(receipt.compressed), words(text))
    assert (receipt.engine == "none") == (receipt.compressed == text)
    assert receipt.engine == "prose" or receipt.warnings or receipt.tokens_in == receipt.tokens_out


@settings(max_examples=40)
@given(before=english, after=english, rate=st.floats(0.3, 0.9))
def test_fences_come_through_byte_for_byte(before: str, after: str, rate: float) -> None:
    fence = "```text\nif  x:\n\n    pass   \n```"
    text = f"{before}\n\n{fence}\n{after}"
    assume(compress(text).engine == "prose")
    try:
        assert fence in compress(text, rate=rate).compressed
    except BudgetTooSmallError as exc:
        assert exc.tokens_needed > math.floor(rate * tokens(text))
    assert fence in compress(text).compressed


# --- what a receipt says


def test_the_receipt_of_prose() -> None:
    receipt = compress(PROSE, rate=0.5)
    assert (receipt.engine, receipt.domain, receipt.tokenizer, receipt.exact) == ("prose", "prose", "o200k_base", True)
    assert receipt.rate == 0.5
    assert receipt.warnings == ()
    check(PROSE, receipt)
    with pytest.raises(dataclasses.FrozenInstanceError):
        receipt.rate = 1  # type: ignore[misc]
    assert list(receipt.as_dict()) == (
        "compressed engine domain why tokenizer exact tokens_in tokens_out ratio savings rate level minified_tokens "
        "blocks fidelity fidelity_by_kind facts seconds warnings map".split()
    )
    assert receipt.as_dict()["warnings"] == []


@pytest.mark.parametrize("rate", [0.8, 0.6, 0.4])
def test_a_budget_is_used(rate: float, samples: Path) -> None:
    for text in (PROSE, (samples / "transcript.txt").read_text()):
        receipt = compress(text, rate=rate, protect="none")
        budget = math.floor(rate * receipt.tokens_in)
        assert budget - max(2, 0.01 * budget) <= receipt.tokens_out <= budget


def test_emoji_are_words() -> None:
    receipt = compress("🌉 " * 40, rate=0.5)
    assert 0.4 * receipt.tokens_in < receipt.tokens_out <= 0.5 * receipt.tokens_in


def test_all_of_the_tokens_is_all_of_the_text() -> None:
    for given_budget in ({"rate": 1.0}, {"max_tokens": 10_000}):
        receipt = compress(PROSE + "  \n\n", **given_budget)
        assert receipt.compressed == PROSE + "  \n\n"
        assert (receipt.engine, receipt.rate, receipt.savings) == ("none", 1.0, 0.0)
        assert receipt.warnings == ("already within the budget",)


def test_half_is_the_default() -> None:
    receipt = compress(PROSE, protect="none")
    assert receipt.tokens_out <= 0.5 * receipt.tokens_in
    assert receipt.rate == pytest.approx(0.5, abs=0.01)


def test_the_default_stretches_for_what_is_fixed() -> None:
    receipt = compress(FENCED, protect="none")
    fence = f"```python\n{CODE}```"
    assert (receipt.domain, receipt.engine) == ("mixed", "prose")
    assert fence in receipt.compressed
    assert 0.5 < receipt.rate < 0.9
    assert receipt.tokens_out <= receipt.rate * receipt.tokens_in + 1
    (warning,) = receipt.warnings
    assert re.search(r"\d+ tokens of .* stay as they are", warning)


def test_a_budget_below_what_is_fixed_names_the_tokens_needed() -> None:
    with pytest.raises(
        BudgetTooSmallError, match=r"what must stay as it is takes \d+ tokens, the budget is 9"
    ) as caught:
        compress(FENCED, max_tokens=9, protect="none")
    needed = caught.value.tokens_needed
    assert compress(FENCED, max_tokens=needed, protect="none").tokens_out <= needed
    with pytest.raises(BudgetTooSmallError):
        compress(FENCED, max_tokens=needed - 1, protect="none")


@pytest.mark.parametrize("text", ["Hello", "antidisestablishmentarianism", "```\nx = 1\n```\n\n\n", "---\n", "東京"])
def test_what_cannot_be_less_comes_back(text: str) -> None:
    receipt = compress(text)
    assert (receipt.compressed, receipt.engine) == (text, "none")
    assert receipt.warnings


YAML = "name: bridge\nlorries:\n  - four\n  - eleven\nopen: false\nclosed_by: council\n"


def test_what_has_no_engine_is_left_as_it_is() -> None:
    receipt = compress(YAML)
    assert (receipt.compressed, receipt.engine, receipt.domain, receipt.rate) == (YAML, "none", "code", 1.0)
    assert receipt.warnings == ("yaml is left as it is; --engine prose treats it as prose",)
    with pytest.raises(BudgetTooSmallError, match=f"yaml stays as it is and takes {tokens(YAML)} tokens") as caught:
        compress(YAML, rate=0.5)
    assert caught.value.tokens_needed == tokens(YAML)
    assert compress(YAML, max_tokens=tokens(YAML)).compressed == YAML
    assert compress(YAML, rate=0.5, engine="prose", protect="none").tokens_out <= 0.5 * tokens(YAML)


COMMENTED = CODE.replace("    if", '    """How large."""\n    # a file\n    if')


def test_code_loses_comments_until_a_budget_asks_for_more() -> None:
    receipt = compress(COMMENTED)
    assert (receipt.engine, receipt.domain, receipt.level) == ("code", "code", "comments")
    assert "How large" not in receipt.compressed and "a file" not in receipt.compressed
    assert receipt.warnings == ("2 comments and docstrings are left out",)
    compile(receipt.compressed, "code", "exec")
    tight = compress(COMMENTED, max_tokens=receipt.tokens_out - 1)
    assert tight.level == "compact"
    compile(tight.compressed, "code", "exec")
    with pytest.raises(BudgetTooSmallError, match="python takes") as caught:
        compress(COMMENTED, max_tokens=12)
    assert compress(COMMENTED, max_tokens=caught.value.tokens_needed).level == "compact"
    assert compress(COMMENTED, max_tokens=20, allow_loss=True).level == "outline"


def test_comments_that_state_facts_go_only_when_asked() -> None:
    code = COMMENTED.replace("a file", "never more than 4096 bytes")
    assert "4096" in compress(code).compressed
    assert "4096" not in compress(code, level="comments").compressed
    assert "4096" not in compress(code, protect="none").compressed
    assert "4096" in compress(code, level="comments", protect_pattern=["never more.*"]).compressed


def test_json_is_lossless() -> None:
    receipt = compress(JSON)
    assert json.loads(receipt.compressed) == json.loads(JSON)
    assert (receipt.engine, receipt.domain, receipt.minified_tokens) == ("json", "json", receipt.tokens_out)
    with pytest.raises(BudgetTooSmallError, match="JSON is kept whole and takes") as caught:
        compress(JSON, max_tokens=5)
    assert caught.value.tokens_needed == receipt.tokens_out
    assert compress(JSON, rate=0.5, engine="prose", protect="none").tokens_out <= 0.5 * tokens(JSON)
    with pytest.raises(UsageError, match="neither JSON nor JSONL nor CSV"):
        compress(PROSE, domain="json")


def test_the_domain_can_be_told() -> None:
    assert compress(PROSE, domain="code").compressed == PROSE
    assert compress(JSON, domain="prose").domain == "prose"
    assert compress(PROSE, domain="mixed").engine == "prose"


def test_other_languages_are_left_as_they_are() -> None:
    receipt = compress(GERMAN)
    assert (receipt.compressed, receipt.engine) == (GERMAN, "none")
    assert any("German" in warning and "--engine prose" in warning for warning in receipt.warnings)
    with pytest.raises(BudgetTooSmallError):
        compress(GERMAN, rate=0.5)
    forced = compress(GERMAN, rate=0.5, engine="prose")
    assert forced.engine == "prose"
    assert is_subsequence(words(forced.compressed), words(GERMAN))


def test_a_foreign_paragraph_stays_among_english_ones() -> None:
    receipt = compress(f"{PROSE}\n\n{GERMAN}\n\n{PROSE}")
    assert GERMAN in receipt.compressed
    assert receipt.tokens_out < receipt.tokens_in
    assert any("1 lines in German" in warning or "German" in warning for warning in receipt.warnings)


@pytest.mark.parametrize("tokenizer", ["cl100k_base", "qwen3"])
def test_the_budget_is_in_the_named_tokenizer(tokenizer: str) -> None:
    receipt = compress(PROSE, rate=0.5, tokenizer=tokenizer)
    assert receipt.tokenizer == tokenizer
    assert receipt.exact
    assert receipt.tokens_in == tokens(PROSE, tokenizer)
    assert receipt.tokens_out == tokens(receipt.compressed, tokenizer) <= 0.5 * receipt.tokens_in


def test_an_estimate_is_marked() -> None:
    receipt = compress(PROSE, rate=0.5, tokenizer="claude-sonnet-4-5")
    assert (receipt.tokenizer, receipt.exact) == ("claude-sonnet-4-5", False)


def test_crlf_stays_crlf() -> None:
    text = f"# Bridge\r\n\r\n{PROSE}\r\n\r\n```\r\na   b\r\n```\r\n"
    compressed = compress(text).compressed
    assert "```\r\na   b\r\n```\r\n" in compressed
    assert compressed.count("\n") == compressed.count("\r\n")


# --- arguments

_SENSELESS: list[tuple[dict[str, Any], str]] = [
    ({"rate": 0.5, "max_tokens": 5}, "--rate and --max-tokens exclude each other"),
    ({"rate": 0.0}, r"--rate 0.0 is outside \(0, 1\]"),
    ({"rate": -1}, r"--rate -1 is outside"),
    ({"rate": 1.01}, r"--rate 1.01 is outside"),
    ({"rate": math.nan}, r"--rate nan is outside"),
    ({"max_tokens": 0}, "--max-tokens 0: at least 1 is needed"),
    ({"max_tokens": -4}, "--max-tokens -4: at least 1"),
    ({"engine": "magic"}, "unknown engine 'magic'"),
    ({"domain": "poem"}, "unknown domain 'poem'"),
    ({"tokenizer": "nope"}, "unknown tokenizer 'nope'"),
    ({"engine": "prose", "domain": "code"}, "--engine prose does not fit --domain code"),
    ({"engine": "prose", "domain": "json"}, "--engine prose does not fit --domain json"),
    ({"model": "gone"}, "--model gone: no such folder"),
    ({"level": "magic"}, "unknown level 'magic'"),
    ({"level": "compact", "engine": "prose"}, "--level is for code, and does not go with --engine prose"),
    ({"level": "compact", "domain": "json"}, "--level is for code, and does not go with --domain json"),
    ({"query": " "}, "--query is empty"),
    ({"chat": True, "engine": "prose"}, "--chat and --engine exclude each other"),
    ({"chat": True, "domain": "prose"}, "--chat and --domain exclude each other"),
    ({"rate": "x"}, "rate: a number is needed, this is 'x'"),
    ({"rate": True}, "rate: a number is needed, this is True"),
    ({"max_tokens": True}, "max_tokens: a whole number is needed, this is True"),
    ({"max_tokens": 1.5}, "max_tokens: a whole number is needed, this is 1.5"),
    ({"tokenizer": None}, "tokenizer: text is needed, this is None"),
    ({"engine": 3}, "engine: text is needed, this is 3"),
    ({"domain": []}, r"domain: text is needed, this is \[\]"),
    ({"model": 3}, "model: the path of a folder is needed, this is 3"),
    ({"level": 2}, "level: text is needed, this is 2"),
    ({"query": 5}, "query: text is needed, this is 5"),
    ({"protect": 3}, "protect: text or a list of texts is needed, this is 3"),
    ({"protect": ["names", None]}, r"protect: text or a list of texts is needed, this is \['names', None\]"),
    ({"protect": {"names": 1}}, "protect: text or a list of texts is needed"),
    ({"protect_pattern": [1]}, r"protect_pattern: text or a list of texts is needed, this is \[1\]"),
    ({"allow_loss": "yes"}, "allow_loss: True or False is needed, this is 'yes'"),
    ({"omission_marker": 1}, "omission_marker: True or False is needed, this is 1"),
    ({"keep_first": None}, "keep_first: a whole number is needed, this is None"),
    ({"keep_last": "2"}, "keep_last: a whole number is needed, this is '2'"),
    ({"stable_prefix": 1.5}, "stable_prefix: a whole number is needed, this is 1.5"),
    ({"chat": "yes"}, "chat: True or False is needed, this is 'yes'"),
    ({"filename": 7}, "filename: text is needed, this is 7"),
    ({"with_map": "yes"}, "with_map: True or False is needed, this is 'yes'"),
]


def test_numbers_of_numpy_are_numbers() -> None:
    assert compress(PROSE, rate=np.float32(0.5), protect="none").tokens_out <= 0.5 * tokens(PROSE)  # type: ignore[arg-type]
    assert compress(PROSE, max_tokens=np.int64(40), protect="none").tokens_out <= 40  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [PROSE, JSON, f"{PROSE}\n\n```text\nnothing\n```\n"])
def test_a_level_without_code_is_told(text: str) -> None:
    assert "no code in it: --level compact makes no difference" in compress(text, level="compact").warnings


def test_a_level_with_code_is_not() -> None:
    for text in (COMMENTED, FENCED, f"{PROSE}\n\n```python\n{COMMENTED}```\n"):
        assert not any("no difference" in told for told in compress(text, level="compact").warnings)


def test_an_outline_of_what_has_no_bodies_is_told() -> None:
    sql = "-- all of it\nSELECT name, tonnes FROM bridges WHERE tonnes > 7;\n"
    assert "sql has no outline here: compact instead" in compress(sql, level="outline", domain="code").warnings
    flat = "import os\n\n# the size\nprint(os.stat('bridge').st_size)\n"
    receipt = compress(flat, level="outline")
    assert "no bodies to leave out" in receipt.warnings and "size\n" not in receipt.compressed


def test_comments_that_quote_stay_by_default_and_others_go() -> None:
    code = CODE.replace("    if", '    # the answer is "no such bridge"\n    # see `old_size` and OldBridge\n    if')
    receipt = compress(code)
    assert "no such bridge" in receipt.compressed and "old_size" not in receipt.compressed
    assert "no such bridge" not in compress(code, protect="numbers").compressed


def test_a_pattern_keeps_its_comment_and_no_other() -> None:
    receipt = compress(COMMENTED, level="compact", protect_pattern="a file")
    assert "# a file" in receipt.compressed and "How large" not in receipt.compressed
    assert receipt.level == "compact"


@pytest.mark.parametrize(("arguments", "message"), _SENSELESS)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        compress(PROSE, **arguments)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\u2003\u2028"])
def test_nothing_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="the input is empty"):
        compress(text)


def test_folders_without_a_model(work: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no extractive model: model\.onnx is missing") as caught:
        compress(PROSE, model=work)
    assert caught.value.hint
    for name in ("model.onnx", "tokenizer.json", "model.json"):
        (work / name).write_text("{}")
    with pytest.raises(UsageError, match="is not an extractive model"):
        compress(PROSE, model=work)


def test_a_model_can_be_named(work: Path) -> None:
    (work / "run").mkdir()
    (work / "run" / "model").symlink_to(EMBEDDED)
    named = compress(PROSE, rate=0.5, model="run")
    assert (
        named.compressed == compress(PROSE, rate=0.5).compressed == compress(PROSE, rate=0.5, model=EMBEDDED).compressed
    )


def test_the_error_of_every_failure_is_one_line() -> None:
    for arguments, _ in _SENSELESS:
        with pytest.raises(SccError) as caught:
            compress(PROSE, **arguments)
        assert "\n" not in f"{caught.value}{caught.value.hint or ''}"


# --- the model's windows


@given(lengths=st.lists(st.integers(0, 90), max_size=40), room=st.integers(8, 254))
def test_every_token_is_scored_once_and_sees_what_went_before(lengths: list[int], room: int) -> None:
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    windows = list(_windows(ends, room))
    assert [at for window in windows for at in range(window.start, window.stop)] == list(range(sum(lengths)))
    for window in windows:
        assert 0 <= window.seen <= window.start < window.stop <= window.seen + room
        # A window ends inside of a sentence only if that sentence leaves it no choice.
        if window.stop not in ends:
            assert not any(window.start < end <= window.seen + room for end in ends)


def test_scores_do_not_depend_on_what_is_far_away() -> None:
    scorer = load_scorer()
    sentence = PROSE.split()
    alone, twice = scorer.score([sentence]), scorer.score([sentence] * 12)
    assert len(twice.start) == 12 * len(sentence)
    for scores in (alone, twice):
        for column in (scores.start, scores.go_on, scores.keep):
            assert ((column >= 0) & (column <= 1)).all()
    assert abs(alone.keep - twice.keep[: len(sentence)]).max() < 0.2


def test_a_model_is_loaded_once() -> None:
    assert load_scorer() is load_scorer(EMBEDDED)
    assert isinstance(load_scorer(), Scorer)


def test_a_unit_that_is_no_text_to_the_model_has_a_score() -> None:
    scores = load_scorer().score([["\x07", "word", "\ud800", "x" * 4000], []])
    assert len(scores.start) == 4
    assert not any(math.isnan(value) for value in (*scores.start, *scores.go_on, *scores.keep))


# --- long and hostile texts


@pytest.mark.slow
def test_a_long_text(samples: Path) -> None:
    text = (samples / "transcript.txt").read_text()
    repeats = math.ceil(30_000 / len(text.split()))
    long = "\n\n".join(f"Part {n} begins here.\n\n{text}" for n in range(repeats))
    receipt = compress(long, rate=0.33, protect="none")
    assert 0.32 * receipt.tokens_in < receipt.tokens_out <= 0.33 * receipt.tokens_in
    assert receipt.tokens_out == tokens(receipt.compressed)
    assert is_subsequence(words(receipt.compressed), words(long))
    # One budget over the whole: no part is emptied for another that says the same.
    single = compress(text, rate=0.33, protect="none").compressed.count("\n\n")
    assert 0.6 * single < receipt.compressed.count("\n\n") / repeats < 1.6 * (single + 2)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000,
        "\n" * 50_000 + "x y z",
        "`" * 30_000,
        "[" * 30_000,
        ")" * 30_000 + "x",
        "(" * 30_000 + "x",
        "[a](" * 5_000,
        "| " + " " * 30_000 + "x\n| - " + " " * 30_000 + "y|",
        "> " * 3_000 + "hello there",
        "“a " * 3_000,
        "$$\n" * 5_000,
        "<!--\n" * 5_000,
        "```\n" * 5_001,
        "of all the words that were said on that long day by the river, few were kept\n" * 1_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_hostile_texts(text: str) -> None:
    receipt = compress(text, engine="prose")  # what is quadratic would take minutes
    assert receipt.tokens_out <= receipt.tokens_in


@pytest.mark.parametrize(
    "text",
    [
        "There is no evidence that the drug is safe.",
        "Do not press the red button.",
        "The company denied that it had paid the bribe to the official.",
        "The council voted against closing the outdoor swimming pool in the park.",
        "Only employees of the harbour may enter the northern quay after six.",
    ],
)
@pytest.mark.parametrize("rate", [None, 0.3, 0.5, 0.7, 0.9])
def test_a_sentence_never_loses_its_negation_in_silence(text: str, rate: float | None) -> None:
    words = {"no", "not", "denied", "against", "Only"}
    try:
        receipt = compress(text, rate=rate)
    except BudgetTooSmallError:
        return
    kept = words & set(receipt.compressed.replace(".", "").split())
    assert kept == words & set(text.replace(".", "").split()) or any("negation" in told for told in receipt.warnings)


def test_negations_survive_among_other_sentences() -> None:
    text = (
        "The harbour has eleven quays. Henrik Sandvik could not come to the meeting on Thursday. The crane was moved "
        "in May 2019 by a firm from Oslo. Personal data is deleted after 90 days and not after 180. Nobody was hurt."
    )
    short = compress(text, rate=0.5).compressed
    assert ("Sandvik" in short) <= ("could not come" in short)
    assert ("90" in short) <= ("and not" in short)


def test_a_capital_is_no_article() -> None:
    text = "Close valve A before you open valve B, and keep the pressure in tank A below 6 bar at all times."
    short = compress(text, rate=0.9).compressed
    assert short.count(" A") == 2


@pytest.mark.parametrize("budget", range(2, 8))
def test_a_lost_negation_is_told_at_any_budget(budget: int) -> None:
    receipt = compress("Do not press the red button.", max_tokens=budget, protect="none")
    assert "not" in receipt.compressed or any("negation" in told for told in receipt.warnings)


@pytest.mark.parametrize("name", ["rate", "max_tokens"])
def test_text_must_be_text(name: str) -> None:
    with pytest.raises(UsageError, match="text is needed, this is bytes"):
        compress(b"bytes", **{name: 1})  # type: ignore[arg-type]
