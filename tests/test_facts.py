"""Facts: what is found, what counts as kept, and the two rates on the labelled pairs."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import REPO
from hypothesis import given
from hypothesis import strategies as st
from test_facts_pairs import CHANGED, FAITHFUL, not_kept, pairs

from compressor_cli.core.facts import KINDS, check_facts, find_facts
from compressor_cli.core.facts.code import _URL, _addresses
from compressor_cli.core.facts.tokens import split

DATA = REPO / "tests" / "data"
PROSE = [original for original, _ in pairs(CHANGED) + pairs(FAITHFUL)]


def found(text: str, kind: str) -> list[str]:
    return [fact.text for fact in find_facts(text, [kind])]


def status(original: str, compressed: str, text: str) -> str:
    return next(fact.status for fact in check_facts(original, compressed).facts if fact.text == text)


# --- what is found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It is 5 km, 5 kilometres or 5km long.", ["5 km", "5 kilometres", "5km"]),
        ("£2.4M, $5 million, 18,400 euros and EUR 20", ["£2.4M", "$5 million", "18,400 euros", "EUR 20"]),
        ("10%, 10 per cent, ten percent", ["10%", "10 per cent", "ten percent"]),
        (
            "on 3 March 2020, March 3rd, Mar 2020 and 2020-03-03",
            ["3 March 2020", "March 3rd", "Mar 2020", "2020-03-03"],
        ),
        ("10:30 UTC, 5 p.m., noon, half past eight", ["10:30 UTC", "5 p.m.", "noon", "half past eight"]),
        ("v1.2.3, version 3.11, 2.0rc1", ["v1.2.3", "3.11", "2.0rc1"]),
        ("two hundred and fifty-six of one thousand", ["two hundred and fifty-six", "one thousand"]),
        ("half an hour, two thirds, the 3rd, twenty-first", ["half an hour", "two thirds", "3rd", "twenty-first"]),
        ("-5 °C and 2.5e-6 g/L", ["-5 °C", "2.5e-6 g/L"]),
        ("no one, the one that is one of them", []),
        ("user_2, utf8 and B12 in https://a.example/1/2", []),
        ("12 people in 3 rooms", ["12", "3"]),
        ("at 2026-01-02T10:00:07Z", ["2026-01-02", "10:00:07Z"]),
    ],
)
def test_numbers(text: str, numbers: list[str]) -> None:
    assert found(text, "numbers") == numbers


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It must never be opened.", [("must", "never", "opened")]),
        ("It does not, however, matter.", [("not",)]),
        ("Entry without a valid ticket is refused.", [("without", "valid", "ticket"), ("ticket", "refused")]),
        ("At most five people may enter.", [("At most", "five"), ("may", "enter")]),
        ("In May we may not sell it.", [("may not", "sell")]),
        ("I can't, won't, and couldn't say.", [("can't",), ("won't",), ("couldn't", "say")]),
        ("Nobody is allowed to leave.", [("Nobody", "allowed")]),
    ],
)
def test_negations_and_what_they_govern(text: str, parts: list[tuple[str, ...]]) -> None:
    facts = find_facts(text, ["negation"])
    assert [tuple(text[a:b] for a, b in fact.parts) for fact in facts][: len(parts)] == parts or [
        tuple(text[a:b] for a, b in fact.parts) for fact in facts
    ] == parts


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Mayor Ingrid Sallow met Tom van Dyck in The Hague.", ["Ingrid Sallow", "Tom van Dyck", "Hague"]),
        ("The results were good. Patients recovered.", []),
        ("Alice paid Bob.", ["Alice", "Bob"]),
        ("NASA and the U.S. Navy agreed.", ["NASA", "U.S. Navy"]),
        ("On Monday in March the University of Oxford closed.", ["University of Oxford"]),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert [name.rstrip(".") for name in found(text, "names")] == names


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("See https://a.example/b?c=1#d, or (https://e.example/f_(g)).", ["https://a.example/b?c=1#d", "https://e.example/f_(g)"]),
        ("Write to jane.doe+x@mail.example.org.", ["jane.doe+x@mail.example.org"]),
        ("Edit /etc/hosts, ~/.ssh/config and src/a.py.", ["/etc/hosts", "~/.ssh/config", "src/a.py"]),
        (r"It is in C:\Tools\key.txt now.", [r"C:\Tools\key.txt"]),
        ("either/or, 24/7, km/h, w/o and 1/2", []),
        ("Read settings.yaml at docs.example.com.", ["settings.yaml", "docs.example.com"]),
    ],
)  # fmt: skip
def test_urls(text: str, urls: list[str]) -> None:
    assert sorted(found(text, "urls")) == sorted(urls)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("max_retries, maxRetries and MAX_RETRIES", ["max_retries", "maxRetries", "MAX_RETRIES"]),
        ("call os.path.join() with --dry-run", ["os.path.join()", "--dry-run"]),
        ("run `git rebase -i` now", ["`git rebase -i`"]),
        ('He said "not now" and left.', ['"not now"']),
        ("This is e.g. fine, i.e. at 5 p.m. it ends.", []),
        ("It ended.Then it began.", []),
    ],
)
def test_code(text: str, code: list[str]) -> None:
    assert found(text, "code") == code


def test_facts_within_a_long_quotation_count_by_themselves() -> None:
    text = 'He said: "We will not sell the 12 machines in the hall to anyone who has not paid for all of them."'
    assert {fact.kind for fact in find_facts(text)} == {"numbers", "negation"}


def test_kinds_are_chosen() -> None:
    text = "Alice must not read https://a.example/1 within 5 days; see `x`."
    for kind in KINDS:
        assert {fact.kind for fact in find_facts(text, [kind])} == {kind}
        assert {fact.kind for fact in check_facts(text, "", kinds=[kind]).facts} == {kind}
    assert find_facts(text, ()) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("one thousand", "1,000"),
        ("1k", "1,000"),
        ("3 March 2020", "2020-03-03"),
        ("March 3, 2020", "3rd of March 2020"),
        ("5 kilometres", "5000 m"),
        ("90 minutes", "1.5 h"),
        ("10 percent", "10%"),
        ("12:00", "noon"),
        ("2 pm", "14:00"),
        ("$5 million", "5M dollars"),
    ],
)
def test_equal_values_mean_the_same(one: str, other: str) -> None:
    (a,), (b,) = find_facts(one, ["numbers"]), find_facts(other, ["numbers"])
    assert a.value == b.value


# --- what is kept


def test_the_report() -> None:
    report = check_facts("Alice must pay 5 euros by 3 May 2020.", "Alice may pay €6 by 3 May 2020.")
    assert [(fact.text, fact.status, fact.found) for fact in report.facts] == [
        ("Alice", "kept", None),
        ("must pay", "changed", "may pay"),
        ("5 euros", "changed", "€6"),
        ("3 May 2020", "kept", None),
    ]
    assert report.fidelity == 0.5
    assert report.by_kind == {"names": 1.0, "negation": 0.0, "numbers": 0.5}
    assert json.loads(json.dumps(report.as_dict()))["facts"][2]["found"] == "€6"


def test_without_facts_nothing_is_lost() -> None:
    report = check_facts("All is well.", "")
    assert (report.fidelity, report.by_kind, report.facts) == (1.0, {}, ())


def test_patterns_must_stand_verbatim() -> None:
    pattern = re.compile(r"TICKET-\d+|!!+")
    report = check_facts("See TICKET-12 and TICKET-13!!", "TICKET-13 only", patterns=[pattern], kinds=())
    assert [(fact.kind, fact.text, fact.status) for fact in report.facts] == [
        ("pattern", "TICKET-12", "lost"),
        ("pattern", "TICKET-13", "kept"),
        ("pattern", "!!", "lost"),
    ]


def test_a_negation_that_was_added_is_told() -> None:
    (fact,) = not_kept("The warranty covers frost.", "Warranty does not cover frost.")
    assert (fact.text, fact.status, fact.found) == ("covers", "changed", "not cover")


def test_a_surname_needs_its_name_first() -> None:
    twice = "Maria Lind spoke. Maria Lind left."
    assert not_kept(twice, "Maria Lind spoke; Lind left.") == []
    assert len(not_kept(twice, "Lind spoke & left.")) == 2


def test_an_acronym_stands_for_what_introduced_it() -> None:
    text = "The World Trade Board (WTB) met. The World Trade Board agreed."
    assert not_kept(text, "World Trade Board (WTB) met; WTB agreed.") == []
    assert not_kept("The World Trade Board agreed.", "WTB agreed.")


def test_what_was_said_twice() -> None:
    text = "Take 250 mg at night. The tablets contain 250 mg each."
    assert len(not_kept(text, "Take 520 mg at night. Tablets contain 250 mg each.")) == 1
    assert not_kept("In 2020 sales rose, and in 2020 costs fell.", "2020: sales ↑, costs ↓") == []


def test_a_part_of_an_address_is_not_the_address() -> None:
    for other in ("https://a.example", "https://a.example/b/c", "http://a.example/b", "https://a.example/b?x=1"):
        assert status("See https://a.example/b now.", f"See {other} now.", "https://a.example/b") == "changed"
    for other in ("https://a.example/b", "a.example/b", "<https://a.example/b/>"):
        assert status("See https://a.example/b now.", f"See {other}.", "https://a.example/b") == "kept"


def test_changed_is_said_only_where_the_surroundings_match() -> None:
    log = "2026-01-02T10:00:01Z INFO job 7 started by worker 3\n2026-01-02T10:00:02Z WARN disk 91% full\n"
    other = "2026-01-02T10:00:02Z WARN disk 95% full\n+7 s INFO"
    gone = {(fact.text, fact.status, fact.found) for fact in check_facts(log, other).facts if fact.status != "kept"}
    assert gone >= {("10:00:01Z", "lost", None), ("3", "lost", None), ("91%", "changed", "95%")}


# --- the rates that the project promises


def labelled(name: str, key: str) -> list[tuple[str, str]]:
    path = DATA / name
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [(row["original"], row[key]) for row in map(json.loads, lines)]


def test_changed_facts_are_caught() -> None:
    rows = labelled("fact_mutations.jsonl", "mutated") or pairs(CHANGED)
    caught = sum(bool(not_kept(original, mutated)) for original, mutated in rows)
    assert caught / len(rows) >= 0.98


def test_faithful_rewritings_raise_no_alarm() -> None:
    rows = labelled("fact_rewritings.jsonl", "rewritten") or pairs(FAITHFUL)
    alarms = sum(bool(not_kept(original, rewritten)) for original, rewritten in rows)
    assert alarms / len(rows) <= 0.02


# --- invariants

PIECES = st.sampled_from(
    "5 km not never 2020 March 3 must may Alice Bob no only until one half of a the and . , ; : \n ( ) \" ' ` - / "
    "£ $ % 10:30 v1.2 a_b aB() https://a.example x@a.example ./b.c !x ≤ > at least most million İ ½ é 北 \u00a0".split(
        " "
    )
)
DENSE = st.lists(st.sampled_from([*"0123456789.,:-/+%$v~½²…€M", " "]), max_size=30).map("".join)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join), DENSE)


@given(text=TEXTS)
def test_a_text_keeps_all_of_itself(text: str) -> None:
    assert check_facts(text, text).fidelity == 1.0
    assert check_facts(text, text + "\n").fidelity == 1.0
    assert check_facts(text, "").fidelity == (0.0 if find_facts(text) else 1.0)


@given(text=TEXTS)
def test_facts_stand_where_they_say(text: str) -> None:
    facts = find_facts(text)
    assert [fact.start for fact in facts] == sorted(fact.start for fact in facts)
    for fact in facts:
        assert fact.kind in KINDS
        assert text[fact.start : fact.end] == fact.text
        assert fact.parts
        assert all(fact.start <= a < b <= fact.end for a, b in fact.parts)
        assert hash(fact.value) == hash(fact.value)


@pytest.mark.parametrize("text", ["[0.0...1.0]", "v9,422%", "M½€%", "no until  %"])
def test_odd_figures_crash_nothing(text: str) -> None:
    find_facts(text)
    assert check_facts(text, "5<'](≤~pm6by +T" + text[1:]).fidelity <= 1
    assert check_facts(text, text).fidelity == 1.0


@given(original=TEXTS, compressed=TEXTS)
def test_any_two_texts_can_be_compared(original: str, compressed: str) -> None:
    report = check_facts(original, compressed)
    assert 0 <= report.fidelity <= 1
    assert bool(report.facts) >= bool(find_facts(original))


@given(sentences=st.lists(st.sampled_from(PROSE), min_size=1, max_size=6, unique=True), seed=st.integers(0, 999))
def test_facts_whose_parts_survive_are_kept(sentences: list[str], seed: int) -> None:
    """What the extractive engine relies on: words go, the parts of the facts stay, and so do the facts."""
    text = " ".join(sentences)
    chosen = random.Random(seed)
    facts = find_facts(text)
    needed = [span for fact in facts for span in fact.parts]
    words = [match.span() for match in re.finditer(r"\S+", text)]
    kept = [any(a < end and start < b for a, b in needed) or chosen.random() < 0.3 for start, end in words]
    compressed = " ".join(text[a:b] for (a, b), keep in zip(words, kept, strict=True) if keep)
    # `A was succeeded by B` without its small words says the opposite, and is told: names are not protected from that.
    lost = [fact for fact in not_kept(text, compressed) if not (fact.kind == "names" and fact.status == "changed")]
    assert len(lost) <= len(facts) // 20 + 1, lost


ADVERSARIES: list[Callable[[int], str]] = [
    lambda n, piece=piece: piece * (n // len(piece))  # type: ignore[misc]
    for piece in (
        "1,", "A ", "`", "not ", "http://", "a.", "1 ", '"', "a/", "@a.b", "::a", "no dog may ", "Alice Bob. ",
        "until 5 ", "one hundred and ", "5 to ", "must ", "not more than 5 ", "not done ", "1.2.3.", "a.b.c.d ",
        "10:30:", "3.14,", "0f a1 ", "9", "\n", "--a", "$5 million ", "3 March ", "safe unsafe ", '"a" ', "A.",
        "Ann hit by Bob. ",
    )
]  # fmt: skip


@pytest.mark.parametrize("text", ADVERSARIES)
def test_work_grows_with_the_text_and_no_faster(text: Callable[[int], str]) -> None:
    """Work is counted in calls; a regular expression that runs away is met by the slow test."""

    def calls(size: int) -> int:
        made, count = text(size), 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(counted)
        try:
            check_facts(made, made[: size // 2])
        finally:
            sys.setprofile(None)
        return count

    calls(100)
    assert calls(16_000) < 6 * max(calls(4_000), 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("text", ADVERSARIES)
def test_no_expression_runs_away(text: Callable[[int], str]) -> None:
    made = text(200_000)
    code = "import sys; from compressor_cli.core.facts import find_facts; find_facts(sys.stdin.read())"
    subprocess.run([sys.executable, "-c", code], input=made, text=True, encoding="utf-8", check=True, timeout=120)


def test_no_order_of_a_set_decides() -> None:
    """Sets of words are in another order in another process."""
    code = (
        "import json, sys\nfrom compressor_cli.core.facts import check_facts\n"
        "rows = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')][::2]\n"
        "one, other = (' '.join(row[key] for row in rows) for key in ('original', 'rewritten'))\n"
        "print([check_facts(row['original'], row['rewritten']) for row in rows], check_facts(one, other))\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code, str(DATA / "fact_rewritings.jsonl")],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(told) == 1


_PIECES = ["https", "HTTP", "postgresql", "git", "s3", "foo", "www.", "://", ":", "/", "a.b", " ", "\n", "ſ", "x"]


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_addresses_are_those_that_the_pattern_finds(text: str) -> None:
    """It is not tried everywhere, as it is slow."""
    found = [match.span() for match in _addresses(split(text))]
    assert found == [match.span() for match in _URL.finditer(text)]
