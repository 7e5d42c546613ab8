"""The free checks of a pair: what each rejects, and what it lets pass."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from compressor_cli.core.decoding import copied_words, find_preamble, inside, is_refusal
from compressor_cli.core.paircheck import check_pair
from compressor_cli.core.recipes import Checks, load_plan
from compressor_cli.core.seeds import SourceRow
from compressor_cli.engines.acceptance import Judge
from compressor_cli.engines.code_names import definitions

ORIGINAL = (
    "The committee that had been appointed in the spring met again on 25 September 2024, and after a long discussion "
    "it did not agree on the price of the basic plan, which was $14.50 before. Helena Marsh said that she would not "
    "sign unless the three conditions were met."
)
GOOD = (
    "Committee met 25 September 2024; did not agree on price of basic plan, $14.50 before. Helena Marsh: not sign "
    "unless 3 conditions met."
)
CHECKS = Checks(max_ratio=0.95, min_fidelity=0.9)
PROMPT = load_plan("compression").jobs[0].system


def reasons(
    compressed: str, *, original: str = ORIGINAL, checks: Checks = CHECKS, names: Collection[str] = ()
) -> set[str]:
    domain = "code" if names else "prose"
    found = check_pair(original, compressed, domain=domain, checks=checks, prompt=PROMPT, names=names)
    return {reason.reason for reason in found.reasons}


def test_a_good_pair() -> None:
    found = check_pair(ORIGINAL, GOOD, domain="prose", checks=CHECKS, prompt=PROMPT)
    assert found.reasons == () and found.fidelity == 1.0 and found.lost == ()
    assert 0 < found.tokens_compressed < found.tokens_original and found.ratio < 0.75


@pytest.mark.parametrize(
    ("compressed", "expected"),
    [
        (" \n", {"empty"}),
        (ORIGINAL, {"unchanged"}),
        (ORIGINAL + " That is all of it.", {"larger"}),
        (ORIGINAL.replace("again ", ""), {"ratio"}),
        (GOOD.replace("$14.50", "$15.40").replace("did not agree", "agreed"), {"fidelity"}),
        (f"Here is the compressed text:\n{GOOD}", {"preamble"}),
        (f"Sure! {GOOD}", {"preamble"}),
        (f"```\n{GOOD}\n```", {"fence"}),
        ("I'm sorry, but I can't compress this text.", {"refused", "fidelity"}),
        (f"{GOOD} Whatever a careful reader could answer from the source.", {"prompt"}),
    ],
)
def test_each_reason(compressed: str, expected: set[str]) -> None:
    assert reasons(compressed) == expected


def test_what_is_not_asked_is_not_checked() -> None:
    assert reasons(ORIGINAL.replace("again ", ""), checks=Checks()) == set()
    assert reasons("Committee met.", checks=Checks()) == set()
    assert reasons(ORIGINAL + " More.", checks=Checks()) == {"larger"}  # always


def test_names_stand_as_words() -> None:
    source = "def get(a):\n    return a\n\n\ndef get_all(b):\n    return [get(x) for x in b if x is not None]\n"
    assert definitions(source, "python") == ("get", "get_all")
    assert reasons("get_all(b) → [x ∀ b, !None]", original=source, names=("get", "get_all")) == {"names"}
    assert reasons("get(a) → a; get_all(b) → [x ∀ b]", original=source, names=("get", "get_all")) == set()
    assert reasons("get a; is_x?", original=source, names=("n::get", "is_x?", "get")) == set()
    assert reasons("m(a): ==", original=source, names=("operator==", "A::m")) == {"names"}


@pytest.mark.parametrize(
    ("language", "source", "names"),
    [
        (
            "python",
            "class A:\n  y: int = 3\n  def get(self):\n    z = 1\n    def inner(): pass\n",
            ("A", "get", "inner"),
        ),
        ("javascript", "const a = () => 1; let b = 2; class K { f = 1; m() { const t = 1; } }", ("a", "K", "m")),
        (
            "typescript",
            "interface I { x: number } type T = string; class C { public p = 1; constructor() {} }",
            ("I", "T", "C"),
        ),
        ("java", "public class A { private int f = 1; void m() { int local = 2; } enum E { P } }", ("A", "m", "E")),
        ("go", "package p\ntype S struct{ F int }\nfunc (s *S) Do() { v := 1; var w int }\n", ("S", "Do")),
        ("rust", "struct P { f: u8 } impl P { fn t(&self) { let l = 1; } } mod m { fn x() {} }", ("P", "t", "m", "x")),
        ("c", "struct Q { int g; }; static int top(int a) { int l = 1; return l; }", ("Q", "top")),
        ("cpp", "namespace n { int A::m() const { int l = 1; return l; } }", ("n", "A::m")),
        ("swift", "struct S { var f = 1; func m() { let l = 1 } }", ("S", "m")),
        ("sql", "CREATE TABLE t (a int);", ()),
        ("python", "def broken(:\n  pass\nclass B:\n  pass\n", ("B",)),
    ],
)
def test_names_of_a_language(language: str, source: str, names: tuple[str, ...]) -> None:
    found = definitions(source, language)
    assert set(names) <= set(found) if "broken" in source else found == names


def test_a_beginning_that_the_source_has_is_no_preamble() -> None:
    text = "Sure, the bridge was late."
    assert find_preamble(text) == "Sure," and find_preamble(text, "Sure, said the engineer.") is None
    assert is_refusal("I cannot swim, he said") and not is_refusal("I cannot swim", "I cannot swim, he said.")
    assert not is_refusal("The committee cannot agree.")


def test_what_models_put_around_json() -> None:
    assert inside('```json\n{"a": 1}\n```') == '{"a": 1}'
    assert inside('<think>Let me {see}.</think>\n{"a": 1}').strip() == '{"a": 1}'
    assert inside('{"a": "```x```"}') == '{"a": "```x```"}'


def test_words_of_the_prompt_that_stand_in_the_source_too() -> None:
    prompt = "one two three four five six seven eight nine"
    assert (
        copied_words("so one two three four five six seven eight", prompt) == "one two three four five six seven eight"
    )
    assert copied_words("so one two three four five six seven eight", prompt, prompt) is None
    assert copied_words("one two three four five six seven", prompt) is None


def test_thoughts_before_an_answer_in_plain_text_are_left_out(work: Path) -> None:
    recipe = {
        "name": "plain",
        "kind": "compression",
        "model": "local:x",
        "output": "text",
        "prompts": {"prose": "p.md"},
    }
    (work / "p.md").write_text("Compress.")
    (work / "r.yaml").write_text(json.dumps(recipe))
    judge = Judge(load_plan(work / "r.yaml"))
    row = SourceRow("a", ORIGINAL, "prose", None, "a.md", None, None)
    found = judge("prose", row, f"<think>\nWhat to drop?\n</think>\n\n{GOOD}", "end").found
    assert (found["status"], found["compressed"]) == ("accepted", GOOD)


def test_thoughts_stand_before_an_answer_not_in_it() -> None:
    assert inside('{"compressed": "tag <think>a</think> kept"}') == '{"compressed": "tag <think>a</think> kept"}'
    assert inside("<think>a</think>\n```json\n{}\n```") == "{}"
