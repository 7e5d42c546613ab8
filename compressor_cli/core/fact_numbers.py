"""Finds quantities, money, percentages, dates, times and versions.

All start from a digit, or from a word that is a number, a month or a day; what stands around it is read by patterns
that are matched at that place only, so that a text without figures costs nothing and none can cost a square.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from decimal import Decimal

from compressor_cli.core.fact_tokens import Found, Span, Words
from compressor_cli.core.fact_values import (
    CARDINALS,
    FRACTIONS,
    GLYPHS,
    MONEY,
    MONTHS,
    ORDINALS,
    SCALES,
    TIMES_OVER,
    UNITS,
    WEEKDAYS,
    compound,
    decimal,
    quantity,
    ratio,
    spelled,
    unit,
)

Unit = tuple[str, Decimal]
_SPACE = r"[ \u00a0\u2009\u202f]"
_DIGITS = re.compile(rf"\d{{1,3}}([,'’]|{_SPACE})\d{{3}}(?!\d)(?:\1\d{{3}}(?!\d))*(?:\.\d+)?|\d+(?:\.\d+)*")
_DIGIT = re.compile(r"\d+")
_ISO = re.compile(r"(\d{4})-(\d\d?)(?:-(\d\d?))?(?![\w-])|(\d{4})-(\d\d)-(\d\d)(?=T\d)")
_SLASHED = re.compile(r"(\d{1,4})([/.])(\d{1,2})\2(\d{4}|\d{2})(?![\w/])")
_FRACTION = re.compile(r"(\d{1,3})/(\d{1,3})(?![\w/.]|,\d)")
_ZONE = r"(?:\s?(UTC|GMT|CES?T|EE?S?T|[CMP][SD]?T|BST|IST|JST|AEST|Z)(?![\w]))?"
_TIME = re.compile(
    rf"(?<![\w:])(\d{{1,2}})(?:[:.h](\d\d)(?!\d|\.\d)(?::(\d\d))?)?(?:{_SPACE}?([ap])\.?{_SPACE}?m\b\.?)?{_ZONE}", re.I
)
_POWER = re.compile(r"[eE]([-−+]?\d{1,3})(?!\w)| ?[×x·*] ?10(?:\^|\*\*)?([-−⁻]?[\d⁰¹²³⁴-⁹]{1,3})(?![\w.])")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
_OF_A = re.compile(r" (?:of )?an? (?=[A-Za-z])")
_PAST = re.compile(r" (past|to) (\w+)")
_DAY_TIME = re.compile(r"(?: in the (morning|afternoon|evening)| at (night))\b")
_SUFFIX = re.compile(r"(st|nd|rd|th)c?(?!\w)|(s)(?!\w)", re.I)
_COUNTED = re.compile(r"[a-z]{1,5}(?!\w)")  # 1000bp, 40ppl
_LONG_SCALES = "|".join(sorted((word for word in SCALES if len(word) > 1), key=len, reverse=True))
_SCALE = re.compile(rf"([kKMBTmb]|bn|mn)(?!\w|\^|[²³])|[ \u00a0-]?(?i:({_LONG_SCALES}))(?!\w)")
_HALF = re.compile(r" and a (half|quarter)\b|([½⅓⅔¼¾⅕⅛])")
_GLYPH = re.compile(r"(?<!\d)[½⅓⅔¼¾⅕⅛]")
_UNIT = re.compile(
    r"(?: (?:business|biz|working|calendar|consecutive|full|whole|more|extra|trading|straight)(?= ))?[ \u00a0\u2009\u202f-]?(%|‰|°(?: ?[CFcf](?!\w))?|[℃℉″¢$€£¥]|×(?! ?\d)|x(?! ?\d)(?!\w)|(?<!×)[A-Za-zµμΩ]+(?:/o\b)?(?:[²³]|\^?[23](?!\w))?)(?:([ _-])([A-Za-z]+))?(?:[ -]([A-Za-z]+))?"
)
_PER = re.compile(r"(?:/| ?per )([A-Za-zµ]+[²³]?)(?!\w)| (dai|week|month|year|annual|hour)ly(?!\w)")
_A_UNIT = re.compile(r" an? ([A-Za-z]+)(?!\w)")
_SLOW = frozenset("day days d week wk month mo year yr y a".split())  # 3 kg/day are 3 kg of something
_EACH = {"dai": "day", "annual": "year"}
_PREFIX = re.compile(r"(?:US\$|A\$|C\$|HK\$|NZ\$|R\$|[$€£¥₹₽₩₺₿]|\b[A-Z]{3}) ?$")
_YEAR_AFTER = re.compile(r"(?:,? |[-/.])(\d{4})(?![\w,.]*\d)(?!%)")
_DAY_AFTER = re.compile(r"\.?[ -](?:the )?(\d{1,2})(?:st|nd|rd|th)?(?![\w:%]|[.,]\d| ?[ap]\.?m\b)", re.I)
_DAY_BEFORE = re.compile(r"(?<![\w.,:/$€£-])(\d{1,2})(?:st|nd|rd|th)?(?: of)?[ -]$", re.I)
_LINK = re.compile(r"\s*(?:-|–|—|/|,|&|→|to|and|or|until|till|through|by|x|×|vs\.?|versus|from|then|of|not|rather than|instead of|compared with|,\s*(?:and|or|then))\s*", re.I)
_LONGEST_LINK = 16
_NOT_ONE = frozenset("no any some every each this that the which another other not only or".split())
_AFTER_ONE = frozenset(
    "might could cannot of another day who that which is was has had can may must should will would by to in on at and or as else thing s "
    "with from has".split()
)
_SECOND_IS_TIME = frozenset("a per each every one split".split())
_CLOCK = {"noon": 12 * 3600, "midday": 12 * 3600, "midnight": 0}
_AFTER_HALF = frozenset("a an of the its their his her our all as that million billion".split())
_DETERMINERS = frozenset("the a an his her its their our my your this that each every s".split())
_NUMBER_WORDS = frozenset(
    [*CARDINALS, *ORDINALS, *FRACTIONS, *TIMES_OVER, *WEEKDAYS, *_CLOCK]
    + "hundred thousand million billion trillion dozen hundreds thousands millions billions dozens".split()
)
_VERSION_BEFORE = re.compile(r"(?:\b(?:version|release|ver\.?|v\.?)|[a-z] ?[A-Z][A-Za-z+#]*) $")
_VERSION_END = re.compile(r"(?:\.x|[-.]?(?:alpha|beta|rc|dev|post|pre)[-.]?\d*)(?!\w)")
_IN_MONTH = frozenset("in of by since until last next early late mid every from to and through this during before after".split())


def numbers(words: Words) -> list[Found]:
    """Sorted; none overlap."""
    found = list(_named_dates(words))
    for date in found:
        words.take(date.start, date.end)
    for finder in (_figures, _glyphs, _spelled):
        for number in finder(words):
            words.take(number.start, number.end)
            found.append(number)
    found.sort(key=lambda number: number.start)
    return _inherit(words.text, found)


def _figures(words: Words) -> Iterator[Found]:
    end = 0
    for digits in _DIGIT.finditer(words.text):
        start = digits.start()
        if start >= end and not words.taken[start] and (match := _DIGITS.match(words.text, start)):
            found = _figure(words.text, start, match.end())
            end = match.end()
            if found:
                end = found.end
                yield found


def _figure(text: str, start: int, end: int) -> Found | None:
    raw, before, after = text[start:end], text[start - 1 : start], text[end : end + 1]
    if before.isalpha() or before == "_":
        return _lettered(text, start, end)
    if raw.isdigit() and after in "-/.:hHaApP \u00a0\u202f" and (found := _date(text, start) or _time(text, start, end)):
        return found
    if raw.count(".") > 1:
        return _date(text, start) or Found("version", start, end, ((start, end),), ("version", raw))
    if "." in raw and (found := _time(text, start, end)):
        return found
    if before == "." and not text[start - 2 : start - 1].isalnum():
        start, raw = start - 1, "0." + raw
    number = decimal(re.sub(r"[^\d.]", "", raw))
    if number is None:
        return Found("number", start, end, ((start, end),), ("text", raw))
    if power := _POWER.match(text, end):
        exponent = int((power[1] or power[2]).translate(_SUPERSCRIPT))
        return _measure(text, start, power.end(), number.scaleb(exponent))
    if suffix := _SUFFIX.match(text, end):
        return _ordinal_or_decade(text, start, suffix, int(number))
    if _VERSION_END.match(text, end) or (
        "." in raw
        and _VERSION_BEFORE.search(text, max(0, start - 12), start)
        and not _SCALE.match(text, end)
        and not _unit_at(text, end, None)[0]
    ):
        end = match.end() if (match := _VERSION_END.match(text, end)) else end
        also = () if raw.endswith("0") else (quantity(number),)
        return Found("version", start, end, ((start, end),), ("version", text[start:end].lower()), also)
    found = _measure(text, start, end, number)
    if found and found.mark == (1, None) and "." in raw:
        return found._replace(also=(*found.also, ("version", raw)))
    return found


def _glyphs(words: Words) -> Iterator[Found]:
    """½ alone; after figures it is a part of them."""
    for match in _GLYPH.finditer(words.text) if any(glyph in words.text for glyph in GLYPHS) else ():
        number = ratio(*GLYPHS[match.group()])
        span = match.span()
        plain = Found("number", *span, (span,), quantity(number), (quantity(number * 100, UNITS["%"]),))
        yield _of_a_unit(words.text, span, number) or plain


def _lettered(text: str, start: int, end: int) -> Found | None:
    """v1.2 and Q3; other figures after letters are part of a name."""
    if text[start - 2 : start - 1].isalnum() or text[start - 2 : start - 1] == "_":
        return None
    letter, raw = text[start - 1].lower(), text[start:end]
    span = (start - 1, end)
    if letter == "v":
        match = _VERSION_END.match(text, end)
        span = (start - 1, match.end()) if match else span
        value = text[start : span[1]].lower()
        return Found("version", *span, (span,), ("version", value), () if "." in value else (quantity(Decimal(raw)),))
    if letter == "q" and raw in "1234" and not text[end : end + 1].isalnum():
        return Found("date", *span, (span,), ("o", int(raw)))
    return None


def _ordinal_or_decade(text: str, start: int, suffix: re.Match[str], n: int) -> Found:
    end = suffix.end()
    if suffix.group(1):
        return Found("number", start, end, ((start, end),), ("o", n), (quantity(Decimal(n)),))
    if n >= 1000:
        return Found("date", start, end, ((start, end),), ("decade", n), (("decade", n % 100),))
    also = (quantity(Decimal(n)), ("decade", n))
    return Found("number", start, end, ((start, end),), quantity(Decimal(n), UNITS["s"]), also)


def _date(text: str, start: int) -> Found | None:
    if match := _ISO.match(text, start):
        year, month, day = (int(part) if part else None for part in (match.groups()[:3] if match[1] else match.groups()[3:]))
        if 1 <= (month or 0) <= 12 and (day is None or 1 <= day <= 31):
            return Found("date", start, match.end(), (match.span(),), ("date", year, month, day))
    if match := _SLASHED.match(text, start):
        a, b, c = int(match[1]), int(match[3]), int(match[4])
        if len(match[1]) == 4:
            return Found("date", start, match.end(), (match.span(),), ("date", a, b, c)) if b <= 12 else None
        year = c if c > 99 else 2000 + c
        either = [("date", year, month, day) for day, month in ((a, b), (b, a)) if 1 <= month <= 12 and 1 <= day <= 31]
        if either:
            return Found("date", start, match.end(), (match.span(),), either[0], tuple(either[1:]))
    if (match := _FRACTION.match(text, start)) and int(match[2]):
        above, below = int(match[1]), int(match[2])
        both = [("date", None, month, day) for day, month in ((above, below), (below, above)) if month <= 12 and day <= 31]
        number = ratio(above, below)
        also = (quantity(number * 100, UNITS["%"]), *both, *(quantity(Decimal(n)) for n in (above, below)))
        return Found("number", start, match.end(), (match.span(),), quantity(number), also)
    return None


def _time(text: str, start: int, end: int) -> Found | None:
    match = _TIME.match(text, start)
    if not match or not (match[4] or (match[2] and text[start + len(match[1])] in ":h")):
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if hour > 24 or minute > 59 or (match[4] and hour > 12):
        return None
    noon = 0
    if match[4]:
        noon = 12 if match[4].lower() == "p" else 0
        hour = hour % 12 + noon
    value = ("time", (hour % 24 * 60 + minute) * 60 + second, (match[5] or "").upper())
    mark = (Decimal(noon), None) if match[4] else None
    return Found("time", start, match.end(), (match.span(),), value, (), mark)


def _measure(text: str, start: int, end: int, number: Decimal) -> Found | None:
    """A number with what belongs to it on both sides: sign, currency, half, scale and unit."""
    first, number, currency = _before(text, start, number)
    digits = end
    if match := _HALF.match(text, end):
        fraction = GLYPHS.get(match[2]) or (1, FRACTIONS[match[1]])
        number, end = number + ratio(*fraction), match.end()
    return _with_unit(text, (first, start), (digits, end), number, currency)


def _before(text: str, start: int, number: Decimal) -> tuple[int, Decimal, Unit | None]:
    """Where the quantity starts, with its sign, and the currency before it."""
    first, currency = start, None
    if start and text[start - 1] not in "-−–\n" and (match := _PREFIX.search(text, max(0, start - 4), start)):
        name = match.group().strip()
        if name in UNITS and UNITS[name][0] in MONEY:
            first, currency = match.start(), UNITS[name]
    if text[first - 1 : first] in ("-", "−", "–") and (first == 1 or text[first - 2] in " (\t\n[=:,<>~≈|"):
        return first - 1, -number, currency
    if text[max(0, first - 6) : first].lower() == "minus " and not text.endswith("or ", 0, first - 6):
        return first - 6, -number, currency
    return first, number, currency


def _with_unit(
    text: str, head: Span, tail: Span, number: Decimal, currency: Unit | None, spelled_out: bool = False
) -> Found | None:
    """`head`: where it starts, and its figures do; `tail`: where the figures end, and the number does."""
    start, end, plain = head[0], tail[1], number
    factor, also = Decimal(1), ()
    scale = _SCALE.match(text, end)
    if scale and scale[1] in ("m", "b") and not currency:
        also, scale = (quantity(number * SCALES[scale[1]]),), None
    if scale:
        factor = Decimal(SCALES.get(scale[1] or scale[2].lower(), 1))
        number, end = number * factor, scale.end()
    name, last, counted = _unit_at(text, end, currency)
    glued = currency is None and name is None and not spelled_out and (text[end : end + 1].isalpha() or text[end : end + 1] == "_")
    if glued and not _COUNTED.match(text, end):
        return None
    if text[end:last] in ("c", "C") and number <= 21:
        also = (*also, ("o", int(number)))  # 18c
    base = currency or name
    value = quantity(number, base)
    if name and (each := _A_UNIT.match(text, last)) and (below := unit(each[1])):
        also = (*also, quantity(number, compound(name, below)))  # 5 mg a day: what is counted is still 5 mg
    if counted:
        also = (*also, quantity(number, counted))
    if base and base[0] == "GBP" and text[end:last].strip().startswith("pound"):
        also = (*also, quantity(number, UNITS["lb"]))
    if base and base[0] in ("x", "pp"):  # pp. are pages too
        also = (*also, quantity(number))
    if factor == 1 and base and base[0] == "%":
        also = (*also, quantity(ratio(number, 100)))
    parts = ((start, end),) if last == end else ((start, end), (last - len(text[end:last].lstrip(" -\u00a0\u2009\u202f")), last))
    return Found(_type(text[head[1] : tail[0]], plain, base, end), start, last, parts, value, also, (factor, base))


def _type(raw: str, number: Decimal, base: Unit | None, end: int) -> str:
    if base:
        return "money" if base[0] in MONEY else "percentage" if base[0] in ("%", "pp", "‰") else "number"
    return "date" if raw.isdigit() and len(raw) == 4 and 1500 <= number <= 2100 else "number"


def _unit_at(text: str, end: int, currency: Unit | None) -> tuple[Unit | None, int, Unit | None]:
    """The unit that stands at `end`, where it ends, and what it was before `per day`."""
    match, counted = _UNIT.match(text, end), None
    if not match:
        return None, end, None
    attached = match.start(1) == end
    names = [(match[1], match.end(1))]
    if match[3] and match[2]:
        names.insert(0, (f"{match[1]}_{match[3]}".lower(), match.end(3)))
        if match[2] == "-":
            names.insert(0, (f"{match[1]}-{match[3]}".lower(), match.end(3)))
        if match[4]:
            names.insert(0, (f"{match[1]}_{match[3]}_{match[4]}".lower(), match.end(4)))
    for name, last in names:
        found = unit(name.replace(" ", ""), attached)
        if not found or (last < len(text) and text[last].isalnum() and name[-1].isalpha()):
            continue
        if currency and found[0] not in MONEY:
            return None, end, None
        while found[0] not in MONEY and found[0] not in ("%", "x", "s", "month") and (per := _PER.match(text, last)):
            below = unit(per[1] or _EACH.get(per[2], per[2]))
            if not below or below[0] in MONEY:
                break
            counted = found if per[1] in _SLOW else None
            found, last = compound(found, below), per.end()
        return found, last, counted
    return None, end, None


def _spelled(words: Words) -> Iterator[Found]:
    done = 0
    for i in [i for i, word in enumerate(words.words) if word in _NUMBER_WORDS]:
        if i >= done and not words.taken[words.starts[i]]:
            found = _spelled_at(words, i, words.words[i])
            if found:
                done = words.at(found.end)
                yield found


def _spelled_at(words: Words, i: int, word: str) -> Found | None:
    span = (words.starts[i], words.ends[i])
    before = words.words[i - 1] if i and words.gap(i) in (" ", "-") else ""
    after = words.words[i + 1] if i + 1 < len(words.words) and words.gap(i + 1) in (" ", "-") else ""
    if found := _past(words, i):
        return found
    if word in _CLOCK:
        return Found("time", *span, (span,), ("time", _CLOCK[word], ""))
    if word in WEEKDAYS:
        if not words.text[span[0]].isupper() or (word in ("sun", "sat", "wed", "mon") and not _beside_date(words, i)):
            return None
        return Found("date", *span, (span,), ("day", WEEKDAYS[word]))
    if word in TIMES_OVER:
        n = Decimal(TIMES_OVER[word])
        if word == "once" and after not in ("a", "an", "per", "every", "each", "daily", "weekly", "monthly", "only"):
            return None
        return Found("number", *span, (span,), quantity(n, UNITS["x"]), (quantity(n),))
    if word in ORDINALS and word not in ("third",) or (word == "third" and not (before == "a" and after == "of")):
        return _ordinal(words, i, before, after, ORDINALS[word]) if word in ORDINALS else None
    if word in FRACTIONS:
        return _part(words, i, before, after)
    if word in ("hundreds", "thousands", "millions", "billions", "dozens"):
        return Found("number", *span, (span,), ("many", SCALES[word[:-1]]))
    return _cardinal(words, i, before, after)


def _beside_date(words: Words, i: int) -> bool:
    near = [words.words[k] for k in (i - 1, i + 1) if 0 <= k < len(words.words)]
    return any(word[0].isdigit() or word in MONTHS or word in WEEKDAYS for word in near)


def _ordinal(words: Words, i: int, before: str, after: str, n: int) -> Found | None:
    span = (words.starts[i], words.ends[i])
    if n == 1 and (before not in _DETERMINERS or not after):
        return None
    if n == 2 and (before in _SECOND_IS_TIME or before.isdigit()):
        return None
    if words.begins_sentence(i) and not after:
        return None
    return Found("number", *span, (span,), ("o", n), (quantity(Decimal(n)),))


def _part(words: Words, i: int, before: str, after: str) -> Found | None:
    """Half, a quarter, a third of; a unit may follow: half an hour."""
    word, below = words.words[i], FRACTIONS[words.words[i]]
    if word.startswith("hal"):
        if before in ORDINALS or before == "other":
            return None
        if after not in _AFTER_HALF and before not in ("by", "in", "one", "a"):
            return None
    elif before not in ("a", "one") or after != "of":
        return None
    if i > 3 and words.words[i - 2 : i] == ["and", "a"] and words.words[i - 4] in ("a", "an", "one"):
        if whole := unit(words.words[i - 3]):  # an hour and a half
            span = (words.starts[i - 4], words.ends[i])
            return Found("number", *span, (span,), quantity(1 + ratio(1, below), whole))
    number = ratio(1, below)
    span = (words.starts[i - 1] if before in ("a", "one") else words.starts[i], words.ends[i])
    plain = Found("number", *span, (span,), quantity(number), (quantity(number * 100, UNITS["%"]),))
    return _of_a_unit(words.text, span, number) or plain


def _of_a_unit(text: str, span: Span, number: Decimal) -> Found | None:
    """A part of a unit: half an hour, four tenths of a second, half a million dollars."""
    match = _OF_A.match(text, span[1])
    end = match.end() - 1 if match else span[1]
    found = _with_unit(text, (span[0], span[0]), (end, end), number, None, True)
    return found if found and found.mark != (1, None) else None


def _past(words: Words, i: int) -> Found | None:
    """Half past eight, quarter to nine, ten past two in the afternoon."""
    word = words.words[i]
    match = _PAST.match(words.lower, words.ends[i])
    hour = CARDINALS.get(match[2], int(match[2]) if match[2].isdigit() and len(match[2]) < 3 else 0) if match else 0
    minutes = {"half": 30, "quarter": 15}.get(word, CARDINALS.get(word, 0))
    if not match or not 1 <= hour <= 12 or not minutes or (word not in ("half", "quarter") and (minutes % 5 or match[1] == "to")):
        return None
    end = match.end()
    later = _DAY_TIME.match(words.lower, end)
    end = later.end() if later else end
    second = (hour % 12 * 60 + (minutes if match[1] == "past" else -minutes)) * 60 % 86400
    noon = 12 * 3600
    if later and later[1] != "morning":
        second = (second + noon) % 86400
    start = words.starts[i]
    if words.lower.endswith("a ", 0, start) and word == "quarter":
        start -= 2
    also = () if later else (("time", (second + noon) % 86400, ""),)
    return Found("time", start, end, ((start, end),), ("time", second, ""), also)


def _cardinal(words: Words, i: int, before: str, after: str) -> Found | None:
    run = [words.words[i]]
    while len(run) < 16 and i + len(run) < len(words.words) and words.gap(i + len(run)) in (" ", "-"):
        run.append(words.words[i + len(run)])
    start = words.starts[i]
    if run[0] in SCALES:
        if before not in ("a", "an", "per", "one") and run[0] != "dozen":
            return None
        start = words.starts[i - 1] if before in ("a", "an") else start
        run.insert(0, "one")
        i -= 1
    elif run[:4] == ["one", "and", "a", "half"] or run[:4] == ["one", "and", "a", "quarter"]:
        pass
    elif run[0] == "two" and before == "the" and (not after or after in _AFTER_ONE):
        return None
    elif run[0] == "one" and (before in _NOT_ONE or after in _AFTER_ONE or not after):
        return None
    spelt = spelled(run)
    if not spelt:
        return None
    number, length = spelt
    after = run[length] if length < len(run) else ""
    end = words.ends[i + length - 1]
    if after in ORDINALS and ORDINALS[after] < 10 and number >= 20 and not number % 10:
        span = (start, words.ends[i + length])
        return Found("number", *span, (span,), ("o", int(number) + ORDINALS[after]))
    if after in FRACTIONS and (number == 1 or after.endswith("s")):
        number = ratio(number, FRACTIONS[after])
        span = (start, words.ends[i + length])
        if found := _of_a_unit(words.text, span, number):
            return found
        return Found("number", *span, (span,), quantity(number), (quantity(number * 100, UNITS["%"]),))
    digits = end
    if match := _HALF.match(words.text, end):
        number, end = number + ratio(1, FRACTIONS[match[1]]), match.end()
    return _with_unit(words.text, (start, start), (digits, end), number, None, True)


def _named_dates(words: Words) -> Iterator[Found]:
    end = 0
    for i in [i for i in words.capitals if words.words[i] in MONTHS]:
        if words.starts[i] >= end:
            found = _named_date(words, i, MONTHS[words.words[i]], end)
            if found and not words.taken[found.start]:
                end = found.end
                yield found


def _named_date(words: Words, i: int, month: int, done: int) -> Found | None:
    text, start, end = words.text, words.starts[i], words.ends[i]
    first, last, day, year = start, end, None, None
    if match := _DAY_BEFORE.search(text, max(done, start - 10), start):
        first, day = match.start(), int(match[1])
    elif (match := _DAY_AFTER.match(text, end)) and 1 <= int(match[1]) <= 31:
        last, day = match.end(), int(match[1])
    if match := _YEAR_AFTER.match(text, last + (text[last : last + 1] == "." and last == end)):
        last, year = match.end(), int(match[1])
    alone = day is None and year is None
    word = words.words[i]
    before = words.words[i - 1] if i else ""
    next_is_name = words.text[words.starts[i + 1]].isupper() if i + 1 < len(words.words) and words.gap(i + 1) == " " else False
    doubtful = len(word) < 5 and word not in ("june", "july") or word == "march"
    if alone and ((doubtful and before not in _IN_MONTH) or (next_is_name and before not in _IN_MONTH)):
        return None
    return Found("date", first, last, ((first, last),), ("date", year, month, day))


def _inherit(text: str, found: list[Found]) -> list[Found]:
    """In `5 to 7 km` and `18 and 19 October` the first number may mean what the second says, in `$5-7` the second."""
    for k in range(len(found) - 2, -1, -1):
        a, b = found[k], found[k + 1]
        if b.start - a.end <= _LONGEST_LINK and _LINK.fullmatch(text, a.end, b.start):
            found[k] = _forward(a, b)
    for k in range(1, len(found)):
        a, b = found[k - 1], found[k]
        if b.start - a.end <= _LONGEST_LINK and _LINK.fullmatch(text, a.end, b.start):
            found[k] = _backward(a, b)
    return found


def _bare(found: Found) -> Decimal | None:
    value = found.value
    return value[1] if isinstance(value, tuple) and value[0] == "n" and not value[2] else None


def _forward(a: Found, b: Found) -> Found:
    n = _bare(a)
    if a.type == "money" and a.mark and a.mark[0] == 1 and b.mark and b.mark[0] != 1 and isinstance(a.value, tuple):
        return a._replace(also=(*a.also, ("n", a.value[1] * b.mark[0], a.value[2])))  # €1.62-1.66B
    if n is None or not isinstance(b.value, tuple):
        return a
    if b.type == "time" and 0 <= n <= 24 and n == int(n):
        hour = int(n) % 12 + int(b.mark[0]) if b.mark else int(n)
        return a._replace(also=(*a.also, ("time", hour * 3600, b.value[2])), mark=b.mark)
    dates = [value for value in (b.value, *b.also) if isinstance(value, tuple) and value[0] == "date"]
    if dates and 1 <= n <= 31 and n == int(n):
        return a._replace(also=(*a.also, *(("date", date[1], date[2], int(n)) for date in dates)))
    if b.type != "time" and b.mark and (b.mark[1] or b.mark[0] != 1):
        factor, base = b.mark
        values = {quantity(n * factor, base), quantity(n, base)}
        return a._replace(also=(*a.also, *(values - {a.value})), mark=(factor, base))
    return a


def _backward(a: Found, b: Found) -> Found:
    n = _bare(b)
    if n is None or not isinstance(a.value, tuple):
        return b
    if a.value[0] == "date" and a.value[3] and 1 <= n <= 31 and n == int(n):
        return b._replace(also=(*b.also, ("date", a.value[1], a.value[2], int(n))))
    if a.type == "date" and a.value[0] == "n" and n < 100:
        return b._replace(also=(*b.also, quantity(a.value[1] // 100 * 100 + n)))
    if a.type == "money" and a.mark:
        return b._replace(also=(*b.also, quantity(n * a.mark[0], a.mark[1]), quantity(n, a.mark[1])))
    return b
