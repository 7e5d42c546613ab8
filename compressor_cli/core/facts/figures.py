"""Finds quantities, money, percentages and versions that are written in figures, each with what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from decimal import Decimal

from compressor_cli.core.facts.dates import MERIDIEM, date_at, time_at
from compressor_cli.core.facts.tokens import Found, Span, Words
from compressor_cli.core.facts.units import MONEY, UNITS, compound, unit
from compressor_cli.core.facts.values import FRACTIONS, GLYPHS, SCALES, SPACE, Unit, decimal, plus, quantity, ratio

_DIGITS = re.compile(rf"\d{{1,3}}([,'’]|{SPACE})\d{{3}}(?!\d)(?:\1\d{{3}}(?!\d))*(?:\.\d+)?|\d+(?:\.\d+)*")
_NO_DIGIT = re.compile(r"[^\d.]")
_DIGIT = re.compile(r"\d+")
_POWER = re.compile(
    r"[eE]([-−+]?\d{1,3})(?!\w)| ?[×x·*] ?10(\^|\*\*|(?=[-−⁻⁰¹²³⁴-⁹]))?([-−⁻]?[\d⁰¹²³⁴-⁹]{1,3})(?![\w.])"
)
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−", "0123456789--")
_SUPERSCRIPTS = frozenset("⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_EXPONENT = re.compile(r"(?:\^\{?([-−]?\d{1,3})\}?|(⁻?[⁰¹²³⁴-⁹]{1,3}))(?!\w)")
_SUFFIX = re.compile(r"(st|nd|rd|th)c?(?!\w)|(s)(?!\w)", re.I)
_BY = re.compile(r"\d[xX](?= ?\d)")  # 2x3 m
_COUNTED = re.compile(r"[a-z]{1,5}(?!\w)")  # 1000bp, 40ppl
_LONG_SCALES = "|".join(sorted((word for word in SCALES if len(word) > 1), key=len, reverse=True))
_SCALE = re.compile(rf"([kKMBTmb]|bn|mn)(?!\w|\^|[²³])|[ \u00a0-]?(?i:({_LONG_SCALES}))(?!\w)")
HALF = re.compile(r" and a (half|quarter)\b| ?([½⅓⅔¼¾⅕⅛])| ([1-7])/([2348])(?![\d/])")
_GLYPH = re.compile(r"[½⅓⅔¼¾⅕⅛](?<!\d.)")
_OF_A = re.compile(r" (?:of )?an? (?=[A-Za-z])")
_UNIT = re.compile(
    r"(?: (?:business|biz|working|calendar|consecutive|full|whole|more|extra|trading|straight)(?= ))?"
    r"[ \u00a0\u2009\u202f-]?"
    r"(%|‰|°(?: ?[CFcf](?!\w))?|[℃℉″¢$€£¥]|×(?! ?\d)|x(?! ?\d)(?!\w)"
    r"|(?<!×)[A-Za-zµμΩ]+(?:/o\b)?(?:[²³]|\^?[23](?!\w))?)"
    r"(?:([ _-])([A-Za-z]+))?(?:[ -]([A-Za-z]+))?"  # degrees Celsius, parts per million
)
_PER = re.compile(r"(?:/| ?per )([A-Za-zµ]+[²³]?)(?!\w)| (dai|week|month|year|annual|hour)ly(?!\w)")
_OF_WHAT = re.compile(r" of \w+ (?:per|an?) ([a-z]+)")
_A_UNIT = re.compile(r" an? ([A-Za-z]+)(?!\w)")
_SLOW = frozenset("day days d week wk month mo year yr y a".split())  # 3 kg/day are 3 kg of something
_BEFORE_UNIT = " -\u00a0\u2009\u202f"
_EACH = {"dai": "day", "annual": "year"}
_HALF_STARTS = frozenset(" ½⅓⅔¼¾⅕⅛")
_CURRENCY = frozenset("$€£¥₹₽₩₺₿")
_PREFIX = re.compile(r"(?:US\$|A\$|C\$|HK\$|NZ\$|R\$|\bRs\.?|[$€£¥₹₽₩₺₿]|\b[A-Z]{3}) ?$")
_VERSION_BEFORE = re.compile(r"(?:\b(?:version|release|ver\.?|v\.?)|[a-z] ?[A-Z][A-Za-z+#]*) $")
_VERSION_END = re.compile(r"(?:\.x|[-.]?(?:alpha|beta|rc|dev|post|pre)[-.]?\d*)(?!\w)")


_LONGEST_POWER = 25  # digits
PLAIN = (Decimal(1), None)  # the mark of a number without scale and unit


def figures(words: Words) -> Iterator[Found]:
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
    if (before.isalpha() or before == "_") and not (before in "xX" and _BY.match(text, start - 2)):
        return _lettered(text, start, end)
    if after and raw.isdigit() and (found := _dated(text, start, end, after)):
        return found
    if raw.count(".") > 1:
        return date_at(text, start) or Found("version", start, end, ((start, end),), ("version", raw))
    if "." in raw and (found := time_at(text, start, end)):
        return found
    if before == "." and raw.isdigit() and not (text[start - 2 : start - 1].isalnum() or text.endswith("..", 0, start)):
        start, raw = start - 1, "0." + raw
    said = raw if raw.isdigit() else _NO_DIGIT.sub("", raw)
    number = decimal(said)
    if number is None:
        return Found("number", start, end, ((start, end),), ("text", said))
    if after and after in "eE×x·* " and (power := _power_of_ten(text, end, raw)):
        exponent = int((power[1] or power[3]).translate(_SUPERSCRIPT))
        return _measure(text, start, power.end(), number.scaleb(exponent))
    if (after == "^" or (after in _SUPERSCRIPTS and said == "10")) and (power := _EXPONENT.match(text, end)):
        return _power(text, start, power, said)
    if after.isalpha() and (suffix := _SUFFIX.match(text, end)):
        return _ordinal_or_decade(text, start, suffix, int(number))
    if (after and after in ".-abrdp" and _VERSION_END.match(text, end)) or (
        "." in raw
        and _VERSION_BEFORE.search(text, max(0, start - 12), start)
        and not _SCALE.match(text, end)
        and not _unit_at(text, end, None)[0]
    ):
        end = match.end() if (match := _VERSION_END.match(text, end)) else end
        also = () if raw.endswith("0") else (quantity(number),)  # 3.10 is not 3.1
        return Found("version", start, end, ((start, end),), ("version", text[start:end].lower()), also)
    found = _measure(text, start, end, number)
    if found and found.mark == PLAIN and "." in raw:
        return found._replace(also=(*found.also, ("version", raw)))
    return found


def _power_of_ten(text: str, end: int, raw: str) -> re.Match[str] | None:
    """1.5 × 1011 has lost a sign, 1920 × 1080 has not."""
    power = _POWER.match(text, end)
    plain = power is not None and power[1] is None and power[2] is None
    return None if plain and raw.isdigit() and len(raw) > 1 else power


def _power(text: str, start: int, exponent: re.Match[str], base: str) -> Found | None:
    """10^6 and 2⁵; what is too long to be a quantity is compared as text."""
    end, n = exponent.end(), int((exponent[1] or exponent[2]).translate(_SUPERSCRIPT))
    if base == "10":
        return _measure(text, start, end, Decimal(1).scaleb(n))
    if 0 <= n * len(base) <= _LONGEST_POWER and base.isdigit():
        return _measure(text, start, end, Decimal(int(base) ** n))
    return Found("number", start, end, ((start, end),), ("text", f"{base}^{n}"))


def _dated(text: str, start: int, end: int, after: str) -> Found | None:
    """A date or a time, where what follows the figures lets one expect it."""
    if after in "-/.":
        return date_at(text, start) or time_at(text, start, end)
    if after in ":hH" or (after in "aApP \u00a0\u202f" and MERIDIEM.match(text, end)):
        return time_at(text, start, end)
    return None


def _lettered(text: str, start: int, end: int) -> Found | None:
    """v1.2, Q3, H1 and the time in 2026-01-02T10:00; other figures after letters are part of a name."""
    if text[start - 1] == "T" and text[start - 2 : start - 1].isdigit() and text[end : end + 1] == ":":
        return time_at(text, start, end)
    if text[start - 2 : start - 1].isalnum() or text[start - 2 : start - 1] == "_":
        return None
    letter, raw = text[start - 1].lower(), text[start:end]
    span = (start - 1, end)
    if letter == "v":
        match = _VERSION_END.match(text, end)
        span = (start - 1, match.end()) if match else span
        value = text[start : span[1]].lower()
        readings = (quantity(Decimal(raw)),) if value == raw and raw.isdigit() else ()
        return Found("version", *span, (span,), ("version", value), readings)
    if ((letter == "q" and raw in "1234") or (text[start - 1] == "H" and raw in "12")) and not text[
        end : end + 1
    ].isalnum():
        return Found("date", *span, (span,), ("o", int(raw)))
    return None


def _ordinal_or_decade(text: str, start: int, suffix: re.Match[str], n: int) -> Found:
    end = suffix.end()
    if suffix.group(1):
        return Found("number", start, end, ((start, end),), ("o", n), (quantity(Decimal(n)),))
    if n >= 1000:
        return Found("date", start, end, ((start, end),), ("decade", n), (("decade", n % 100), ("many", n)))
    also = (quantity(Decimal(n)), ("decade", n), ("many", n))
    return Found("number", start, end, ((start, end),), quantity(Decimal(n), UNITS["s"]), also)


def glyphs(words: Words) -> Iterator[Found]:
    """½ alone; after figures it is a part of them."""
    for match in _GLYPH.finditer(words.text):
        number = ratio(*GLYPHS[match.group()])
        span = match.span()
        plain = Found("number", *span, (span,), quantity(number), (quantity(number * 100, UNITS["%"]),))
        yield of_a_unit(words.text, span, number) or plain


def _measure(text: str, start: int, end: int, number: Decimal) -> Found | None:
    """A number with what belongs to it on both sides: sign, currency, half, scale and unit."""
    first, number, currency = _before(text, start, number)
    digits = end
    if text[end : end + 1] in _HALF_STARTS and (match := HALF.match(text, end)):
        above, below = GLYPHS.get(match[2], (match[3] or 1, match[4] or FRACTIONS.get(match[1], 1)))
        number, end = plus(number, ratio(int(above), int(below))), match.end()
    return with_unit(text, (first, start), (digits, end), number, currency)


def _before(text: str, start: int, number: Decimal) -> tuple[int, Decimal, Unit | None]:
    """Where the quantity starts, with its sign, and the currency before it."""
    first, currency = start, None
    before = text[max(0, start - 2) : start].rstrip()[-1:]
    if (before.isupper() or before in _CURRENCY or before in (".", "s")) and (
        match := _PREFIX.search(text, max(0, start - 4), start)
    ):
        name = match.group().strip()
        if name in UNITS and UNITS[name][0] in MONEY:
            first, currency = match.start(), UNITS[name]
    if text[first - 1 : first] in ("-", "−", "–") and (first == 1 or text[first - 2] in " (\t\n[=:,<>~≈|"):
        return first - 1, -number, currency
    if text[max(0, first - 6) : first].lower() == "minus " and not text.endswith("or ", 0, first - 6):
        return first - 6, -number, currency
    return first, number, currency


def with_unit(
    text: str, head: Span, tail: Span, number: Decimal, currency: Unit | None, spelled_out: bool = False
) -> Found | None:
    """`head`: where it starts, and its figures do; `tail`: where the figures end, and the number does."""
    start, end, plain = head[0], tail[1], number
    also: list[Hashable] = []
    scale = _SCALE.match(text, end)
    if scale and scale[1] in ("m", "b") and not currency:
        also.append(quantity(number * SCALES[scale[1]]))
        scale = None
    factor = Decimal(SCALES.get(scale[1] or scale[2].lower(), 1)) if scale else Decimal(1)
    number, end = number * factor, scale.end() if scale else end
    name, last, counted = _unit_at(text, end, currency)
    base = currency or name
    after = text[end : end + 1]
    lettered = not (base or spelled_out) and (after.isalpha() or after == "_")
    if lettered and not (_COUNTED.match(text, end) or _BY.match(text, end - 1)):
        return None
    also += _also(text, (end, last), number, base)
    if counted:
        also.append(quantity(number, counted))
    if factor == 1 and base and base[0] == "%":
        also.append(quantity(ratio(number, 100)))
    unit_start = last - len(text[end:last].lstrip(_BEFORE_UNIT))
    parts = ((start, end),) if last == end else ((start, end), (unit_start, last))
    kind = _type(text[head[1] : tail[0]], plain, base)
    return Found(kind, start, last, parts, quantity(number, base), tuple(also), (factor, base))


def _also(text: str, span: Span, number: Decimal, base: Unit | None) -> Iterator[Hashable]:
    """What a number with the unit in `span` can mean besides."""
    name = text[slice(*span)].strip(_BEFORE_UNIT)
    if name in ("c", "C") and number <= 21:
        yield ("o", int(number))  # 18c
    if base is None:
        return
    if (each := _A_UNIT.match(text, span[1])) and base[0] not in MONEY and (below := unit(each[1])):
        yield quantity(number, compound(base, below))  # 5 mg a day; what is counted is 5 mg
    if (each := _OF_WHAT.match(text, span[1])) and (below := unit(each[1])):
        yield quantity(number, compound(base, below))  # five litres of water per hour
    if name.startswith("pound"):
        yield quantity(number, UNITS["lb"])
    if base[0] in ("x", "pp"):  # pp. are pages too
        yield quantity(number)


def of_a_unit(text: str, span: Span, number: Decimal) -> Found | None:
    """A part of a unit: half an hour, four tenths of a second, half a million dollars."""
    match = _OF_A.match(text, span[1])
    end = match.end() - 1 if match else span[1]
    found = with_unit(text, (span[0], span[0]), (end, end), number, None, True)
    return found if found and found.mark != PLAIN else None


def _type(raw: str, number: Decimal, base: Unit | None) -> str:
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
