# ruff: noqa: E501 - a table of patterns
"""Forms in which a word lost is a fault, told by their lines: configuration, markup, changes, tables, sessions.

Markdown shares signs with many of them: `#` begins a heading or a comment, `-` an item, `<p>` a paragraph. So none is
told by a sign alone: markup closes its root, a setting stands below its section, keys of YAML stand once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

_LOOKED_AT = 6_000  # characters from the beginning
_LINES = 120
_MARKUP = 0.3  # of the characters of a text that is markup are in tags
_TAG = re.compile(r"<[^<>]{1,2000}>")
_PAGE = re.compile(r"(?i)<(!doctype\s+(?:html|\w+)|html\b|\?xml\b)")
_ROOT = re.compile(r"<([A-Za-z][\w:.-]*)(?=[\s/>])")
_COMMENT = re.compile(r"\s*<!--.*?-->\s*", re.DOTALL)

_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@")
_CHANGE = re.compile(r"[-+ @\\]|diff |index |(?:new|deleted|old) |similarity |rename |copy |Binary ")

_SECTION = re.compile(r"\[{1,2}[\w .\"'/:@*-]{1,80}\]{1,2}\s*(?:[#;].*)?$")
_SETTING = re.compile(r"\s*(?:[\w.-]{1,60}|\"[^\"]{1,60}\")(?: [\w.-]{1,30}){0,2}\s*[=:]")
_GOES_ON = re.compile(r"\s+\S|[\]})\"']")
_TOML = re.compile(r"\[\[|[\w.\"-]+\s*=\s*[\"'\[{]")
_ENVIRONMENT = re.compile(r"(?:export )?[A-Z][A-Z0-9_]*=")

_KEY = re.compile(r"(\s*)((?:- +)*)([\w./$-]+|\"[^\"]{1,60}\"|'[^']{1,60}'):(?:\s+(.*))?$")
_ITEM = re.compile(r"\s*- ")
_SCALAR = re.compile(r"(?:[&!]\S+ +)?[|>][-+0-9]{0,2}\s*(?:#.*)?$")
_SENTENCE = re.compile(r"[A-Z].*(?:[.!?][\"”’)]?|\S+(?: \S+){11,})$")
_CLASS = re.compile(r"\s*class \w+.*:$")  # a Python class of typed names alone has the form of YAML
_FEWEST_KEYS = 3
_OTHERS = 0.1  # of the lines outside of block scalars may be neither keys nor items
_SAID = 0.25  # of the values may be sentences
_VALUE_WORDS = 4.0  # on average

_LAYOUTS = (  # name, pattern, least share of the lines
    ("dockerfile", re.compile(r"^(?:FROM|RUN|COPY|ADD|ENV|ARG|WORKDIR|CMD|ENTRYPOINT|EXPOSE|USER|VOLUME|LABEL) \S"), 0.6),
    ("latex", re.compile(r"^\s*\\(?:documentclass|usepackage|begin|end|section|subsection|item|label|title|author)\b"), 0.25),
    ("make", re.compile(r"^(?:[\w.%/-]+(?: [\w.%/-]+)*:(?![/=]).*|\t\S.*|[\w.-]+ ?[:?+]?= ?.*|#.*|\.PHONY.*)$"), 0.9),
    ("traceback", re.compile(r"^(?:Traceback \(most recent call last\):|  File \".*\", line \d+|    \S.*|[\w.]+(?:Error|Exception)\b.*)$"), 0.8),
    ("shell", re.compile(r"^(?:\w+@[\w.-]+:?\S*)?[$#] \S"), 0.4),
)  # fmt: skip
_MUST = {"make": "\t", "traceback": "Traceback "}  # how one of the lines begins


def form_of(text: str, sample: Sequence[str], is_sentence: Callable[[str], bool]) -> str | None:
    """`sample` are lines from all over the text, none of them empty."""
    lines = [line for line in text[:_LOOKED_AT].splitlines()[:_LINES] if line.strip()]
    found = _markup(text) or _diff(lines)
    if not found and 2 * sum(map(is_sentence, sample)) <= len(sample):  # what stands below a head with settings
        found = _settings(lines) or _yaml(lines)
    return found or _table_or_session(sample, is_sentence)


def _markup(text: str) -> str | None:
    """A document with a declaration, or one root with more of it in tags than a prompt that marks its parts."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped.startswith("<"):
        return None
    page = _PAGE.match(stripped)
    if page:
        return "xml" if page[1].lower() == "?xml" else "html"
    bare = _COMMENT.sub("", stripped[:_LOOKED_AT], count=1) if stripped.startswith("<!--") else stripped[:_LOOKED_AT]
    root = _ROOT.match(bare)
    if not root or not stripped.rstrip().endswith(f"</{root[1]}>"):
        return None
    return "xml" if sum(map(len, _TAG.findall(bare))) >= _MARKUP * len(bare) else None


def _diff(lines: Sequence[str]) -> str | None:
    hunks = [i for i, line in enumerate(lines) if _HUNK.match(line)]
    named = any(a.startswith("--- ") and b.startswith("+++ ") for a, b in pairwise(lines))
    if not hunks or not named:
        return "diff" if lines and lines[0].startswith("diff --git a/") else None
    changed = lines[hunks[0] :]
    return "diff" if sum(map(bool, map(_CHANGE.match, changed))) >= 0.9 * len(changed) else None


def _settings(lines: Sequence[str]) -> str | None:
    """INI, TOML and files of environment variables."""
    told = [line for line in lines if line.lstrip()[0] not in "#;"]
    if len(told) < 2:
        return None
    if len(told) > 2 and all(map(_ENVIRONMENT.match, told)):
        return "ini"
    sections = [i for i, line in enumerate(told) if _SECTION.match(line)]
    if not any(i + 1 < len(told) and "=" in told[i + 1] and _SETTING.match(told[i + 1]) for i in sections):
        return None
    hits = len(sections) + sum(1 for line in told if _SETTING.match(line) or _GOES_ON.match(line))
    if hits < 0.95 * len(told):
        return None
    return "toml" if any(map(_TOML.match, told)) else "ini"


def _yaml(lines: Sequence[str]) -> str | None:
    """Keys with a colon, each once below what holds it; a conversation names its speakers again and again, and minutes
    have sentences, or headings of several ranks, between such lines."""
    if sum(":" in line for line in lines) < _FEWEST_KEYS or any(line.startswith(("## ", "### ")) for line in lines):
        return None
    rows = _outside_scalars(lines)
    keys = [key for _, key in rows if key]
    others = [line for line, key in rows if not (key or _ITEM.match(line) or line.startswith(("---", "...")))]
    values = [key[4] for key in keys if key[4] and key[4][0] not in "#'\"[{|>&*"]
    said = sum(1 for value in values if _SENTENCE.match(value))
    words = sum(value.count(" ") + 1 for value in values)
    top = Counter(key[3] for key in keys if not key[1] and not key[2])
    is_yaml = (
        len(keys) >= _FEWEST_KEYS
        and len(others) <= _OTHERS * len(rows)
        and said <= _SAID * len(keys)
        and words <= _VALUE_WORDS * max(len(values), 1)
        and max(top.values(), default=1) <= 1 + lines.count("---")
    )
    return ("python" if any(map(_CLASS.match, others)) else "yaml") if is_yaml else None


def _outside_scalars(lines: Sequence[str]) -> list[tuple[str, re.Match[str] | None]]:
    """The lines that are neither comments nor text of a block scalar, with the key of each."""
    rows: list[tuple[str, re.Match[str] | None]] = []
    inside: int | None = None
    for line in lines:
        bare = line.lstrip()
        indent = len(line) - len(bare)
        if bare.startswith("#") or (inside is not None and indent > inside):
            continue
        key = _KEY.match(line) if ":" in line else None
        inside = indent if key and _SCALAR.match(key[4] or "") else None
        rows.append((line, key))
    return rows


def _table_or_session(lines: Sequence[str], is_sentence: Callable[[str], bool]) -> str | None:
    if len(lines) < 3:
        return None
    for mark, least in ((",", 2), ("\t", 1), (";", 2)):
        counts = [line.count(mark) for line in lines]
        if counts[0] >= least and counts.count(counts[0]) >= 0.9 * len(counts) and not all(map(is_sentence, lines)):
            return "csv"
    for name, pattern, share in _LAYOUTS:
        hits = [line for line in lines if pattern.match(line)]
        if len(hits) >= share * len(lines) and any(line.startswith(_MUST.get(name, "")) for line in hits):
            return name
    return None
