"""What words and figures mean, in a form in which equal values mean the same.

A quantity is `("n", Decimal, unit)` in the base unit of its dimension, so that 5 km is 5,000 metres and 1k is one
thousand; a date `("date", year, month, day)` with None for what is not said; a time `("time", seconds, zone)`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Context, Decimal
from functools import lru_cache

Unit = tuple[str, Decimal]  # dimension and scale

SPACE = r"[ \u00a0\u2009\u202f]"
_ROUNDED, _EXACT = Context(prec=16), Context(prec=60)  # 1/3 and 0.3333333333333333 are one value
_LONGEST = 25  # digits; what is longer is a code rather than a quantity, and compared as text
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL_ORDINALS = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
).split()
_TEN_ORDINALS = "twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth".split()
CARDINALS = {word: n for n, word in enumerate(_SMALL)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
ORDINALS = {word: n for n, word in enumerate(_SMALL_ORDINALS) if n} | {
    word: 20 + 10 * n for n, word in enumerate(_TEN_ORDINALS)
}
SCALES = {
    "hundred": 100, "dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "k": 10**3, "mn": 10**6, "mln": 10**6, "mio": 10**6, "bn": 10**9, "bln": 10**9, "tn": 10**12, "mil": 10**6,
    "crore": 10**7, ""
    "lakh": 10**5, "M": 10**6, "B": 10**9, "T": 10**12, "K": 10**3, "m": 10**6, "b": 10**9, "mill": 10**6,
}  # fmt: skip
FRACTIONS = {"half": 2, "quarter": 4, "quarters": 4} | {
    word + end: n for word, n in ORDINALS.items() if 2 < n <= 20 for end in ("", "s")
}
TIMES_OVER = {"once": 1, "twice": 2, "thrice": 3}
GLYPHS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8)}
_MONTHS = (
    "january february march april may june july august september october november december "
    "jan feb mar apr may jun jul aug sep oct nov dec"
).split()
MONTHS = {name: n % 12 + 1 for n, name in enumerate(_MONTHS)} | {"sept": 9}
_DAYS = "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun".split()
WEEKDAYS = {name: n % 7 for n, name in enumerate(_DAYS)} | {"tues": 1, "weds": 2, "thur": 3, "thurs": 3}
WEEKDAYS |= {name + "s": n for name, n in list(WEEKDAYS.items()) if name.endswith("day")}
_IRREGULAR = """
be is are was were been being am
beat beaten
begin began begun
break broke broken
bring brought
build built
buy bought
catch caught
choose chose chosen choice
come came
cut cutting
deal dealt
decide decision
die died dead death
do did done does
draw drew drawn
drink drank drunk
drive drove driven
eat ate eaten
fall fell fallen
feed fed
feel felt
fight fought
find found
fly flew flown flight
forget forgot forgotten
freeze froze frozen
get got gotten
give gave given
go went gone
grow grew grown growth
have had has
hear heard
hide hid hidden
hold held
keep kept
know knew known knowledge
lay laid
lead led
leave left
lend lent
lie lay lain lying
lose lost loss
make made
mean meant
meet met meeting
pay paid payment
permit permission permitted
put putting
prove proof proven
quit quitting
read reading
receive receipt
reply replied replies
ride rode ridden
ring rang rung
rise rose risen
run ran running
say said
see saw seen
seek sought
sell sold sale sales
send sent
set setting
shake shook shaken
shine shone
shoot shot
show shown
shut shutting
sing sang sung
sink sank sunk
sit sat
sleep slept
speak spoke spoken speech
spend spent
stand stood
steal stole stolen
stick stuck
strike struck
swear swore sworn
swim swam swum
take took taken
teach taught
tear tore torn
tell told
think thought
throw threw thrown
understand understood
wake woke woken
wear wore worn
win won
withdraw withdrew withdrawn withdrawal
write wrote written
person people ppl persons
child children
man men
woman women
patient pts
"""
_LEMMA = {form: line.split()[0] for line in _IRREGULAR.strip().splitlines() for form in line.split()}
_ENDINGS = frozenset(
    "ation ations ition itions ion ions ment ments ness al als ance ances ence ences able ably ible ibly ing ings "
    "edly er ers or ors ed ly ive ivy ies ied es s e y".split()
)


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A rough one of a lower-case word: approve, approved and approval are one, as are go and went."""
    word = word.removesuffix("'s").removesuffix("’s")
    if word in _LEMMA:
        return _LEMMA[word][:6]
    for _ in range(2):
        length = next((n for n in range(min(6, len(word) - 3), 0, -1) if word[-n:] in _ENDINGS), 0)
        if not length:
            break
        word = word[:-length]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    word = word[:-1] + "i" if len(word) > 3 and word[-1] == "y" else word
    return _LEMMA.get(word, word)[:6]


def plainly(word: str) -> str:
    """Numbers as figures: first and 1st are 1. Other words as they are."""
    n = ORDINALS.get(word, CARDINALS.get(word))
    digits = word.rstrip("stndrh") if word[0].isdigit() else ""
    return str(n) if n is not None else digits if digits.isdigit() else word


def decimal(digits: str) -> Decimal | None:
    """None for what is too long to be a quantity."""
    return Decimal(digits) if len(digits) <= _LONGEST else None


def quantity(number: Decimal, unit: tuple[str, Decimal] | None = None) -> Hashable:
    if unit is None:
        return ("n", number, "")
    return ("n", _context(number).multiply(number, unit[1]), unit[0])


def ratio(above: int | Decimal, below: int | Decimal) -> Decimal:
    number = Decimal(above)
    return _context(number).divide(number, Decimal(below)) if below else number


def plus(whole: Decimal, part: Decimal) -> Decimal:
    return _context(whole).add(whole, part)


def _context(number: Decimal) -> Context:
    """What is written with more digits than a division leaves is meant to the last."""
    return _EXACT if len(number.as_tuple().digits) > _ROUNDED.prec else _ROUNDED


def spelled(words: Sequence[str]) -> tuple[Decimal, int] | None:
    """The number that the first of these words spell, and how many they are. The words stand in one phrase."""
    total = current = Decimal(0)
    k = end = 0
    closed = False  # after a digit or a teen only a scale goes on: `one two` are two numbers
    while k < len(words):
        word = words[k]
        n, scale = CARDINALS.get(word), SCALES.get(word) if len(word) > 4 else None
        if n is not None and not closed and (not current % 100 or (not current % 10 and 0 < n < 10)):
            closed = n < 20 or bool(current % 100)
            current += n
        elif scale is not None and k:
            closed = False
            if scale < 1000:
                current = (current or Decimal(1)) * scale
            else:
                total, current = total + (current or 1) * scale, Decimal(0)
        elif word == "point" and k and (digits := _digits(words[k + 1 :])):
            current, closed = current + Decimal("0." + digits), True
            k += len(digits)
        elif word != "and" or words[k - 1] not in SCALES or k + 1 == len(words) or words[k + 1] not in CARDINALS:
            break
        k += 1
        end = k if word != "and" else end
    return (total + current, end) if end else None


def _digits(words: Sequence[str]) -> str:
    digits = ""
    while len(digits) < len(words) and CARDINALS.get(words[len(digits)], 99) < 10:
        digits += str(CARDINALS[words[len(digits)]])
    return digits
