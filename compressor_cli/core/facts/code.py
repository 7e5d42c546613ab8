"""Finds what must stand letter for letter: URLs, addresses, paths, identifiers, inline code and quotations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compressor_cli.core.facts.literals import literals
from compressor_cli.core.facts.tokens import Found, Words

_URL = re.compile(
    r"(?:(?:https?|ftps?|file|ssh|git|s3|gs|wss?|postgres(?:ql)?|mysql|redis|mongodb|jdbc|mailto)://|www\.)[^\s<>\"'`|\\^{}]+",
    re.I,
)
_LONGEST_SCHEME = len("postgresql")
_DOMAIN_PART = re.compile(r"@[\w-]+(?:\.[\w-]+)+")
_LOCAL_PART = re.compile(r"[\w.+-]+$")
_BREAKS = " \t\n\r\f\v\u00a0\"'`<>()[]{}|,;="
_SLASHED = re.compile(r"[^\s\"'`<>()\[\]{}|,;=]+")
_LONGEST_PATH = 500
_EXTENSION = (
    r"py|pyi|js|mjs|ts|tsx|jsx|json|jsonl|ya?ml|toml|ini|cfg|conf|env|md|rst|txt|csv|tsv|xml|html?|css|scss|go|rs|java|kt|c|h|"
    r"cc|cpp|hpp|cs|rb|php|pl|sh|bash|zsh|fish|ps1|bat|sql|db|sqlite|log|lock|pdf|docx?|xlsx?|pptx?|png|jpe?g|gif|svg|webp|"
    r"zip|tar|gz|bz2|xz|whl|jar|exe|dll|so|parquet|ipynb|tex|proto|tf|pem|key|crt|bak|tmp|map|wav|mp3|mp4|iso|img|bin|dat"
)
_FILE = re.compile(rf"(?:{_EXTENSION})", re.I)
_DOMAIN = re.compile(r"(?:com|org|net|io|dev|edu|gov|eu|uk|de|fr|ch|at|nl|se|app|ai|co|info|local|test|example)", re.I)
_INNER_DOT = re.compile(r"\.(?<=\w\.)(?=\w)")
_ESCAPE = re.compile(r"\\u[\da-fA-F]{4}")  # in JSON
_TIMES = re.compile(r"\d+[x×]")
_SIZE = re.compile(r"\d+(?:x\d+)+")  # 800x600
_DOTTED = re.compile(r"\.?\w[\w-]*(?:\.\w[\w-]*)+(?::\d+)?")
_TRUTH_AFTER = frozenset("to as returns return be is are default".split())
_FLAG = re.compile(r"--(?<![\w-]--)[A-Za-z][\w-]*")
_DOLLAR = re.compile(r"\$(?<![\w$]\$)\{?[A-Za-z_]\w*\}?")
_CHAINED = re.compile(r"(?:\(\)(?<=\w\(\))|::(?<=\w::)\w+(?:(?:::|\.)\w+)*(?:\(\))?)")
_INLINE = re.compile(r"`(?<!``)([^`\n]{1,200})`(?!`)")
_OPENING = re.compile(r"[\"“«‘']")
_QUOTES = {
    '"': re.compile(r"(?<![\w\"])\"(?=[^\s\"])([^\"\n]{1,60})(?<=\S)\"(?!\w)"),
    "“": re.compile(r"“([^“”\n]{1,60})”"),
    "«": re.compile(r"«([^«»\n]{1,60})»"),
    "‘": re.compile(r"‘([^‘’\n]{2,60})’(?!\w)"),
    "'": re.compile(r"(?<![\w'])'(?=[^\s'])([^'\n]{1,60})(?<=\S)'(?!\w)"),
}
_HUMP = re.compile(r"[a-z0-9][A-Z]")
_CALLED = frozenset(
    "job queue service package module branch command container image bucket topic pod repo repository cluster key "
    "namespace library crate plugin workflow pipeline task tag label host volume deployment function script tool index "
    "stream".split()
)
_TELLING = _CALLED | {"true", "false"}
_KEBAB = re.compile(r" ([a-z][a-z0-9]*(?:-[a-z0-9]+)+)(?![\w-])")
_CAMEL = re.compile(r"[a-z_]+[a-z0-9]*[A-Z]\w*$|(?!Mc|Mac|De|O|La|Di|Van)[A-Z][a-z0-9]+[A-Z][a-z0-9]\w*$")
_MIXED = re.compile(r"(?=\w*\d)(?=\w*[a-z])(?:[a-z]{1,12}\d{1,6}(?:_\w+)?|(?=(?:\w*\d\w*[a-z]\w*\d))[a-z0-9]{6,})$")


def urls(words: Words) -> list[Found]:
    """URLs, e-mail addresses and paths; what they take is looked at by no other finder."""
    text = words.text
    found: list[Found] = []
    found += (_exact("url", text, *match.span()) for match in _addresses(words))
    if "@" in text:
        for match in _DOMAIN_PART.finditer(text):
            if local := _LOCAL_PART.search(text[max(0, match.start() - 64) : match.start()]):
                found.append(_exact("email", text, match.start() - len(local.group()), match.end()))
    _claim(words, found)
    found += _claim(
        words,
        [path for path in _slashed(words) if _is_path(text[path.start : path.end], text[path.start - 1 : path.start])],
    )
    return found + _claim(words, [file for file in _dotted(words) if file.type != "identifier"])


def _addresses(words: Words) -> Iterator[re.Match[str]]:
    """All matches of the pattern; without a `www.` it is tried only where a scheme ends, for it is slow elsewhere."""
    if "www." in words.lower:
        yield from _URL.finditer(words.text)
        return
    end = 0
    while (colon := words.text.find("://", end)) >= 0:
        match = _URL.search(words.text, max(end, colon - _LONGEST_SCHEME))
        if not match:
            return
        yield match
        end = match.end()


def code(words: Words) -> list[Found]:
    """Identifiers, inline code and quotations; what stands inside a quotation counts by itself too."""
    text = words.text
    inline = [_verbatim("inline_code", match) for match in _INLINE.finditer(text)] if "`" in text else []
    inline = [found for found in inline if not all(words.taken[found.start + 1 : found.end - 1])]
    _claim(words, inline)
    inline += _claim(words, list(literals(words)))
    return inline + _claim(words, list(_identifiers(words))) + list(_quotes(words))


def _quotes(words: Words) -> Iterator[Found]:
    end = 0
    for opening in _OPENING.finditer(words.text):
        start = opening.start()
        match = _QUOTES[opening.group()].match(words.text, start) if start >= end and not words.taken[start] else None
        if match:
            end = match.end()
            yield _verbatim("quote", match)


def _slashed(words: Words) -> Iterator[Found]:
    """What stands around a slash up to the next blank."""
    text, end = words.text, 0
    for slash in re.finditer(r"[/\\]", text):
        start = slash.start()
        if start < end or words.taken[start]:
            continue
        while (
            start > end
            and slash.start() - start < _LONGEST_PATH
            and text[start - 1] not in _BREAKS
            and not (text[start - 1] == ":" and text[start] != "\\" and not text[start - 2 : start - 1].isalpha())
        ):
            start -= 1
        match = _SLASHED.match(text, start)
        if match:
            end = match.end()
            yield _exact("path", text, start, min(end, start + 4 * _LONGEST_PATH))


def _claim(words: Words, found: list[Found]) -> list[Found]:
    """Those that no other finder has taken."""
    free = []
    for one in found:
        if not words.taken[one.start] and not words.taken[one.end - 1]:
            words.take(one.start, one.end)
            free.append(one)
    return free


def _exact(kind: str, text: str, start: int, end: int) -> Found:
    """Without the punctuation that follows it in a sentence."""
    end = start + len(text[start:end].rstrip(".,:;!?'\"*_…"))
    while (
        end > start
        and text[end - 1] in ")]}"
        and text[start:end].count(text[end - 1]) > text.count("([{"[")]}".index(text[end - 1])], start, end)
    ):
        end = start + len(text[start : end - 1].rstrip(".,:;!?'\""))
    return Found(
        kind, start, max(end, start + 1), ((start, max(end, start + 1)),), (kind, text[start : max(end, start + 1)])
    )


def _verbatim(kind: str, match: re.Match[str]) -> Found:
    inside = next(group for group in match.groups() if group is not None)
    return Found(kind, *match.span(), (match.span(),), (kind, " ".join(inside.split()).rstrip(",.")))


def _is_path(path: str, before: str) -> bool:
    if len(path) < 3 or before == "<" or path.startswith(("//", "</")) or not any(map(str.isalpha, path)):
        return False
    if "\\" in path:
        return (
            not _ESCAPE.search(path)
            and (path[1:3] == ":\\" or path.startswith("\\\\") or path.count("\\") > 1)
            and "\\n" not in path
        )
    if path.startswith(("/", "~/", "./", "../")) or path[1:3] == ":/":
        segments = [segment for segment in path.split("/") if segment]
        return len(segments) > 1 or (
            len(segments) == 1 and len(segments[0]) > 3 and before in ("", " ", "`", "\n", '"', "(", "'")
        )
    segments = path.split("/")
    last = segments[-1]
    if _TIMES.fullmatch(segments[0]):  # 2x/day
        return False
    if not all(segments[:-1]) or (not segments[0][0].isalnum() and segments[0][0] not in "._@*"):
        return False
    if "." in last and _FILE.fullmatch(last.rsplit(".", 1)[-1]):
        return True
    if "." in segments[0] and _DOMAIN.fullmatch(segments[0].rsplit(".", 1)[-1].split(":")[0]):
        return True
    code_like = any(char in path for char in "_*@") or (any(map(str.isdigit, path)) and segments[0].islower())
    return (
        (len(segments) > 3 or code_like or not last)
        and not any(segment.isdigit() for segment in segments)
        and len(segments[0]) > 1
    )


def _dotted(words: Words) -> Iterator[Found]:
    """config.yaml, example.com, os.path.join; not `e.g.`, `p.m.` or a missing space."""
    text, done = words.text, 0
    for match in _INNER_DOT.finditer(text):
        if match.start() < done or words.taken[match.start()]:
            continue
        k = words.at(match.start()) - 1
        start = words.starts[k] if k >= 0 else 0
        while start and text[start - 1] in "-." and start - 2 >= 0 and text[start - 2].isalnum() and k > 0:
            k -= 1
            start = words.starts[k]
        whole = _DOTTED.match(text, start - 1 if text[start - 1 : start] == "." else start)
        if not whole or whole.end() <= match.start():
            continue
        done = whole.end()
        parts = whole.group().split(":")[0].strip(".").split(".")
        if kind := _dotted_kind(parts):
            colon = kind == "url" or ":" not in whole.group()
            end = whole.end() if colon else whole.start() + whole.group().index(":")
            yield (
                _identifier(text, whole.start(), end)
                if kind == "identifier"
                else _exact(kind, text, whole.start(), end)
            )


def _dotted_kind(parts: list[str]) -> str:
    first, last = parts[0], parts[-1]
    if not any(char.isalpha() for part in parts for char in part) or first.isdigit() or not first:
        return ""
    if all(len(part) == 1 for part in parts) or (len(parts) == 2 and len(first) == 1 and len(last) < 3):
        return ""
    if _FILE.fullmatch(last) and not (last.isdigit()):
        return "path"
    if _DOMAIN.fullmatch(last) and first.islower():
        return "url"
    if last[:1].isdigit() and not first.islower():
        return ""
    if (
        last[:1].isupper()
        and not any(char in first for char in "_")
        and first[:1].islower()
        and len(last) > 1
        and last[1:].islower()
    ):
        return ""
    return "identifier" if all(part[:1].isalpha() or part[:1] == "_" for part in parts) else ""


def _identifiers(words: Words) -> Iterator[Found]:
    text = words.text
    for pattern in (_FLAG, _DOLLAR):
        yield from (_identifier(text, *match.span()) for match in pattern.finditer(text))
    done = 0
    for match in _CHAINED.finditer(text) if "()" in text or "::" in text else ():
        if match.start() >= done:
            first = words.at(match.start()) - 1
            while first and words.gap(first) == ".":
                first -= 1
            done = match.end()
            yield _identifier(text, max(words.starts[first], 0), done)
    for i in [i for i, word in enumerate(words.words) if word in _TELLING]:
        if words.words[i] not in _CALLED:
            if _is_set(words, i):
                yield _identifier(text, words.starts[i], words.ends[i])
        elif kebab := _KEBAB.match(text, words.ends[i]):
            yield _identifier(text, *kebab.span(1))
    yield from (found for found in _dotted(words) if found.type == "identifier")
    for i in sorted({*words.odd, *_humps(words)}):
        start, end, raw = words.starts[i], words.ends[i], words.raw(i)
        if raw.islower() and "_" not in raw:
            mixed = "'" not in raw and "’" not in raw and not raw.isalpha() and _MIXED.match(raw)
            if mixed and raw[0] != "v" and not _SIZE.fullmatch(raw):
                yield _identifier(text, start, end)
        elif "_" in raw.strip("_"):
            while raw.startswith("_") and raw.endswith("_") and not raw.startswith("__"):
                start, end, raw = start + 1, end - 1, raw[1:-1]
            yield _identifier(text, start, end)
        elif not raw[1:].islower() and _CAMEL.match(raw):
            yield _identifier(text, start, end)


def _is_set(words: Words, i: int) -> bool:
    """True and false where something is set to them."""
    if not i or words.text.startswith(" that", words.ends[i]):
        return False
    return words.words[i - 1] in _TRUTH_AFTER or words.gap(i).rstrip(" `\"'").endswith("=")


def _humps(words: Words) -> Iterator[int]:
    """Words with a capital after a small letter: maxRetries."""
    return (words.at(match.end()) - 1 for match in _HUMP.finditer(words.text))


def _identifier(text: str, start: int, end: int) -> Found:
    raw = text[start:end]
    return Found(
        "identifier",
        start,
        end,
        ((start, end),),
        ("identifier", raw.removesuffix("()").removeprefix("self.").removeprefix("this.")),
    )
