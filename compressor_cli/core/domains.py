"""What a text is: prose, code with its language, JSON, or mixed. Rules over a sample of lines, under 1 ms for 10 kB."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from compressor_cli.core.forms import form_of
from compressor_cli.core.log_lines import are_events

DomainName = Literal["prose", "code", "json", "mixed", "chat"]
DOMAINS: tuple[str, ...] = get_args(DomainName)[:-1]  # those that a text can be found to be; a chat is asked for

_SAMPLED_LINES = 64
_MIXED_SHARE = 0.12

FENCE = re.compile(r"^ {0,3}(`{3,}(?=[^`]*$)|~{3,})")


def closes_fence(line: str, mark: str) -> bool:
    """`mark` opened it; at least as many of the same sign, and nothing else, end it."""
    inner = line.strip()
    return inner.startswith(mark) and not inner.strip(mark[0])


@dataclass(frozen=True, slots=True)
class Domain:
    """`language` only where the domain is code; `why`: what the choice rests on."""

    name: DomainName
    language: str | None = None
    why: str = field(default="", compare=False)


_LANGUAGES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("python", r"^\s*(?:(?:async )?def \w+\(.*|class \w+.*:|from [\w.]+ import |import [\w.]+(?: as \w+)?$|@\w[\w.]*|(?:if|for|while|elif|else|try|except|with)\b.*:$|return\b|raise \w|self\.|print\(|\"\"\"|#!.*python)"),
        ("typescript", r"^\s*(?:export )?(?:interface \w+.*\{|type \w+ =|enum \w+ \{)|\w\??: (?:string|number|boolean|void|any|unknown|Promise<)|^import type |^\s*(?:private|public|readonly) \w+[:(]"),
        ("javascript", r"^\s*(?:(?:export )?(?:default |async )*function\b|(?:const|let|var) [\w{\[]|export |import .* from ['\"]|module\.exports|console\.)|=> ?[{(\w]|\brequire\(|===|!=="),
        ("java", r"^\s*(?:(?:public|private|protected) (?:static |final |abstract )*[\w<>\[\], ]+[({=;]|import java|package [\w.]+;|@Override)|System\.out\."),
        ("csharp", r"^\s*(?:using [A-Z][\w.]*;|namespace [\w.]+|(?:public|private|internal|protected) (?:static |async |override |readonly |sealed )*[\w<>\[\]?]+ \w+ ?(?:\(|\{ ?get|=>))|Console\.Write|\bvar \w+ = new "),
        ("go", r"^(?:package \w+$|func[ (]|import \(|type \w+ (?:struct|interface))|:= |\bif err != nil|^\s*(?:defer|go) \w"),
        ("rust", r"^\s*(?:(?:pub(?:\(\w+\))? )?(?:fn|struct|enum|trait|mod|impl|use)\b|let mut |#\[|match .*\{)|::<|&mut |-> (?:Self|Result|Option|&|[iu]\d\d)"),
        ("cpp", r"std::|^\s*(?:template ?<|#include <\w+>|using namespace|class \w+ .*\{|public:|private:)|\bcout <<|nullptr"),
        ("c", r"^\s*(?:#(?:include|define|ifdef|ifndef|endif)|(?:static |const |unsigned |struct )*(?:int|void|char|float|double|size_t|long) \**\w+ ?[(=;\[])|\bprintf\(|->\w+"),
        ("ruby", r"^\s*(?:def [\w.?!]+(?:\(.*\))?$|end$|require(?:_relative)? ['\"]|module [A-Z]\w*$|class [A-Z]\w*(?: < [\w:]+)?$|attr_\w+ :|puts )|\bdo \|\w+\|"),
        ("php", r"<\?php|\$\w+ ?(?:=|->)|^\s*(?:echo \$|use [A-Z]\w*\\)"),
        ("sql", r"(?i)^\s*(?:select\b.*|insert into |update \w+ set |delete from |create (?:table|view|index|or replace)|alter table |from \w+|(?:left |inner |right )?join \w+|where .*[=<>]|group by |order by )"),
        ("shell", r"^#!.*\b(?:ba|z|)sh\b|^\s*(?:\$ )?(?:echo |export \w+=|cd |sudo |if \[|fi$|done$|then$|elif \[|for \w+ in |while read|set -[eux]|source |curl -|apt-get |\w+=\$\()"),
        ("html", r"^\s*</?(?:html|head|body|div|span|p|ul|li|table|tr|td|script|style|meta|link|a|img|form|section|nav|h\d)\b[^>]*>|<!DOCTYPE"),
        ("css", r"^\s*[.#@]?[\w-]+[^{};]*\{\s*$|^\s*[\w-]+: [^;]+;$"),
    )
)  # fmt: skip

# Lines that only code has, whatever the language.
_STRONG = re.compile(
    r"^\s*(?:(?:async )?def \w+ ?\(|class \w+[^ ]*[:({]|import [\w.{*]|from [\w.]+ import |@\w+[\w.]*(?:\(|$)"
    r"|(?:export |public |private |protected |static |pub |async )*(?:function|func|fn|struct|enum|interface|impl)\b.*[({]"
    r"|(?:public|private|protected) |#(?:include|define|ifdef|!)|package [\w.]+;?$|(?:const|let|var) \w+.*=|<\?php|using [\w.]+;"
    r"|(?:SELECT|INSERT INTO|CREATE TABLE|ALTER TABLE|UPDATE|DELETE FROM) |(?:raise|throw|return|yield|assert)\b[^.]*[)\]};\w]$"
    r"|(?:if|for|while|elif|with|switch|except|catch)\b.*[:{]$|(?:else|try|finally)\s*[:{]$|[)\]}]+[,;:]?$|(?://|/\*)"
    r"|[\w.\[\]'\"]+(?:: ?[\w\[\], |.]+)? ?(?:[-+*/|&:]?=|<-) ?\S+[^.!?]*$|[\w.]+\(.*\)[;,:]?$|(?:fi|done|end|then)$"
    r"|<(?:!DOCTYPE|/?(?:html|head|body|div|ul|table|tr|script|style|meta|form|section|nav)\b))|[{;]$"
)


def detect_domain(text: str) -> Domain:
    """Fenced code is not prose: text with both is mixed, and so is prose among which bare code stands."""
    stripped = text.strip()
    if stripped[:1] in "{[" and stripped and _is_json(stripped):
        return Domain("json", None, "it parses")
    outside, fenced = _split_fences(text)
    if fenced and not outside:
        return Domain("code", _language(fenced), "nothing stands outside of its fences")
    lines = _sample(outside)
    if not fenced and are_events(_sample(outside, 24)):
        return Domain("mixed", None, "its lines begin with a time or a level, as those of a log")
    form = form_of(text, _sample(outside, 24), _is_sentence) if not fenced else None
    if form:
        return Domain("code", form, f"its lines have the form of {form}")
    sentences = sum(1 for line in lines if _is_sentence(line))
    code = sum(1 for line in lines if len(line) < 200 and _STRONG.search(line)) if sentences < len(lines) else 0
    opens = code > 0 and sentences == 0 and _STRONG.search(lines[0]) is not None
    if not fenced and code > 2 * sentences and (opens or code >= 0.1 * len(lines)):
        language = _language(lines)
        if language or opens or code > 0.5 * len(lines):
            return Domain("code", language, f"{code} of {len(lines)} lines looked at are code, {sentences} sentences")
    if fenced:
        return Domain("mixed", None, "it has fences and text")
    mixed = code >= max(3, _MIXED_SHARE * len(lines))
    why = f"{sentences} of {len(lines)} lines looked at are sentences" + (f", {code} are code" if code else "")
    return Domain("mixed" if mixed else "prose", None, why)


def _is_sentence(line: str) -> bool:
    """Words from the margin on; inside code, sentences stand in comments and indented docstrings."""
    return (
        line[0].isalpha()
        and line.count(" ") > 4
        and (line.rstrip()[-1] in '.!?:,”"’)' or len(line) > 80)
        and not (len(line) < 160 and _STRONG.search(line))
    )


def _is_json(text: str) -> bool:
    """Of JSONL a few whole lines are enough."""
    if _parses(text):
        return True
    lines = [line for line in text.split("\n", 6)[:6] if line.strip()]
    return len(lines) > 1 and all(line.lstrip()[0] in "{[" and _parses(line) for line in lines[:5])


def _parses(text: str) -> bool:
    """That it does not is the answer; a nesting too deep for the parser is too deep for the JSON engine as well."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _split_fences(text: str) -> tuple[list[str], list[str]]:
    """Lines outside and inside of Markdown fences."""
    outside: list[str] = []
    inside: list[str] = []
    mark = ""
    for line in text.splitlines():
        fence = FENCE.match(line) if "```" in line or "~~~" in line else None
        if not mark and fence:
            mark = fence.group(1)
        elif mark and fence and closes_fence(line, mark):
            mark = ""
        else:
            (inside if mark else outside).append(line)
    return [line for line in outside if line.strip()], inside


def _sample(lines: list[str], most: int = _SAMPLED_LINES) -> list[str]:
    """Runs of neighbouring lines from all over the text, for code stands in runs."""
    if len(lines) <= most:
        return lines
    step = len(lines) // 8
    return [line for i in range(8) for line in lines[i * step : i * step + most // 8]]


def _language(lines: list[str]) -> str | None:
    sample = [line for line in _sample(lines, 24) if line.strip()]
    scores = {name: sum(1 for line in sample if pattern.search(line)) for name, pattern in _LANGUAGES}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] >= max(1, len(sample) * 0.1) else None
