"""What words and figures mean, in a form in which equal values mean the same: stems, quantities, dates, units.

A quantity is `("n", Decimal, unit)` in the base unit of its dimension, so that 5 km is 5,000 metres and 1k is one
thousand; a date `("date", year, month, day)` with None for what is not said; a time `("time", minutes, zone)`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Context, Decimal
from functools import lru_cache

_EXACT = Context(prec=16)  # 1/3 and 0.3333333333333333 are one value
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
    "crore": 10**7, "lakh": 10**5, "M": 10**6, "B": 10**9, "T": 10**12, "K": 10**3, "m": 10**6, "b": 10**9, "mill": 10**6,
}  # fmt: skip
FRACTIONS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
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

# dimension, scale, and the names of the unit; short ones are as they are written, long ones in any case.
_UNITS = """
m 1 m metre metres meter meters
m 1000 km kms kilometre kilometres kilometer kilometers
m 0.01 cm centimetre centimetres centimeter centimeters
m 0.001 mm millimetre millimetres millimeter millimeters
m 0.000001 µm micrometre micrometres micrometer micrometers micron microns
m 0.000000001 nm nanometre nanometres nanometer nanometers
m 1609.344 mi mile miles
m 1852 nmi nautical_mile nautical_miles
m 0.3048 ft foot feet
m 0.0254 inch inches ″
m 0.9144 yd yds yard yards
ly 1 ly light_year light_years
g 1 g gram grams gramme grammes
g 1000 kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes
g 0.001 mg milligram milligrams milligramme milligrammes
g 0.000001 µg mcg ug microgram micrograms
g 0.000000001 ng nanogram nanograms
g 1000000 t tonne tonnes ton tons metric_ton metric_tons metric_tonnes
g 1000000000 kt kiloton kilotons kilotonne kilotonnes
g 1000000000000 Mt megaton megatons megatonne megatonnes
g 453.59237 lb lbs pound_weight
g 28.349523125 oz ounce ounces
s 1 s sec secs second seconds
s 0.001 ms msec msecs millisecond milliseconds
s 0.000001 µs microsecond microseconds
s 0.000000001 ns nanosecond nanoseconds
s 60 min mins minute minutes
s 3600 h hr hrs hour hours
s 86400 d day days
s 604800 w wk wks week weeks
s 1209600 fortnight fortnights
month 1 mo mos mth mths month months
month 12 y yr yrs year years yo y/o
month 120 decade decades
month 1200 century centuries
byte 1 byte bytes
byte 1000 kB KB kilobyte kilobytes
byte 1000000 MB megabyte megabytes
byte 1000000000 GB gigabyte gigabytes
byte 1000000000000 TB terabyte terabytes
byte 1000000000000000 PB petabyte petabytes
byte 1024 KiB kibibyte kibibytes
byte 1048576 MiB mebibyte mebibytes
byte 1073741824 GiB gibibyte gibibytes
byte 1099511627776 TiB tebibyte tebibytes
bit 1 bit bits
bit 1000 kbit kilobit kilobits
bit 1000000 Mbit megabit megabits
bit 1000000000 Gbit gigabit gigabits
bit/s 1000 kbps kbit/s
bit/s 1000000 Mbps mbps Mbit/s
bit/s 1000000000 Gbps gbps Gbit/s
l 1 l L litre litres liter liters
l 0.001 ml mL millilitre millilitres milliliter milliliters
l 0.01 cl centilitre centilitres centiliter centiliters
l 0.1 dl dL decilitre decilitres deciliter deciliters
l 100 hl hectolitre hectolitres
l 0.000001 µl µL microlitre microlitres microliter microliters
l 1000 m³ m3 m^3 cubic_metre cubic_metres cubic_meter cubic_meters
l 0.001 cm³ cm3 cm^3 cc cubic_centimetre cubic_centimetres cubic_centimeter cubic_centimeters
l 1000000000000 km³ km3 cubic_kilometre cubic_kilometres cubic_kilometer cubic_kilometers
l 28.316846592 ft³ ft3 cubic_foot cubic_feet
gallon 1 gal gallon gallons
gallon 0.125 pint pints
l 0.015 tbsp tablespoon tablespoons
l 0.005 tsp teaspoon teaspoons
cup 1 cup cups
barrel 1 barrel barrels bbl
m² 1 m² m2 m^2 sqm square_metre square_metres square_meter square_meters sq_m
m² 0.0001 cm² cm2 square_centimetre square_centimetres square_centimeter square_centimeters
m² 1000000 km² km2 km^2 square_kilometre square_kilometres square_kilometer square_kilometers sq_km
m² 0.09290304 ft² ft2 sqft square_foot square_feet sq_ft
m² 2589988.110336 mi² mi2 square_mile square_miles sq_mi
m² 10000 ha hectare hectares
m² 4046.8564224 acre acres
W 1 W watt watts
W 0.001 mW milliwatt milliwatts
W 1000 kW kilowatt kilowatts
W 1000000 MW megawatt megawatts
W 1000000000 GW gigawatt gigawatts
W 1000000000000 TW terawatt terawatts
W 745.7 hp horsepower
Wh 1 Wh watt-hour watt-hours watt_hour watt_hours
Wh 1000 kWh kilowatt-hour kilowatt-hours kilowatt_hour kilowatt_hours
Wh 1000000 MWh megawatt-hour megawatt-hours megawatt_hour megawatt_hours
Wh 1000000000 GWh gigawatt-hour gigawatt-hours gigawatt_hour gigawatt_hours
Wh 1000000000000 TWh terawatt-hour terawatt-hours terawatt_hour terawatt_hours
J 1 joule joules
J 1000 kJ kilojoule kilojoules
J 1000000 MJ megajoule megajoules
cal 1 cal calorie calories
cal 1000 kcal kilocalorie kilocalories
V 1 V volt volts
V 0.001 mV millivolt millivolts
V 1000 kV kilovolt kilovolts
A 1 amp amps ampere amperes
A 0.001 mA milliamp milliamps milliampere milliamperes
Ah 1 Ah amp-hour amp-hours
Ah 0.001 mAh milliamp-hour milliamp-hours milliamp_hours
ohm 1 Ω ohm ohms
ohm 1000 kΩ kiloohm kiloohms
Hz 1 Hz hertz
Hz 1000 kHz kilohertz
Hz 1000000 MHz megahertz
Hz 1000000000 GHz gigahertz
Pa 1 Pa pascal pascals
Pa 100 hPa hectopascal hectopascals mbar mbars millibar millibars
Pa 1000 kPa kilopascal kilopascals
Pa 1000000 MPa megapascal megapascals
Pa 100000 bar bars
psi 1 psi
mmHg 1 mmHg
N 1 newton newtons
N 1000 kN kilonewton kilonewtons
K 1 kelvin kelvins
°C 1 °C ℃ celsius degree_celsius degrees_celsius degrees_c degrees_centigrade
°F 1 °F ℉ fahrenheit degree_fahrenheit degrees_fahrenheit degrees_f
° 1 ° degree degrees deg
dB 1 dB decibel decibels
mol 1 mol mole moles
mol 0.001 mmol millimole millimoles
lumen 1 lm lumen lumens
ppm 1 ppm parts_per_million
ppm 0.001 ppb parts_per_billion
pixel 1 px pixel pixels
MP 1 MP megapixel megapixels
IU 1 IU international_unit international_units
knot 1 kn kt. knot knots
rpm 1 rpm revolutions_per_minute
m/s 0.44704 mph
m/s 0.2777777777777778 kph kmh
% 1 % percent per_cent pct pc
‰ 1 ‰ per_mille
pp 1 pp ppt percentage_point percentage_points
x 1 x × times time fold
USD 1 $ USD US$ dollar dollars us_dollar us_dollars buck bucks
USD 0.01 cent cents ¢ c
EUR 1 € EUR euro euros
GBP 1 £ GBP pound pounds quid
GBP 0.01 pence penny p
JPY 1 ¥ JPY yen
CNY 1 CNY RMB yuan
CHF 1 CHF franc francs swiss_franc swiss_francs
INR 1 ₹ INR rupee rupees
KRW 1 ₩ KRW
RUB 1 ₽ RUB rouble roubles ruble rubles
CAD 1 C$ CAD canadian_dollar canadian_dollars
AUD 1 A$ AUD australian_dollar australian_dollars
NZD 1 NZ$ NZD
HKD 1 HK$ HKD
SEK 1 SEK
NOK 1 NOK
DKK 1 DKK
KRONA 1 kr krona kronor krone kroner
PLN 1 PLN zloty zlotys
BRL 1 R$ BRL
MXN 1 MXN peso pesos
ZAR 1 ZAR rand
TRY 1 ₺ TRY lira
BTC 1 ₿ BTC bitcoin bitcoins
"""
UNITS: dict[str, tuple[str, Decimal]] = {}
for _line in _UNITS.strip().splitlines():
    _dimension, _scale, *_names = _line.split()
    UNITS |= dict.fromkeys(_names, (_dimension, Decimal(_scale)))
MONEY = frozenset("USD EUR GBP JPY CNY CHF INR KRW RUB CAD AUD NZD HKD SEK NOK DKK KRONA PLN BRL MXN ZAR TRY BTC".split())
_ONLY_ATTACHED = frozenset("x c p w".split())  # `5 c` may be anything, `5c` is not

_IRREGULAR = """
be is are was were been being am
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
    "ation ations ition itions ion ions ment ments ness al als ance ances ence ences able ably ible ibly ing ings edly er ers "
    "or ors ed ly ive ivy ies ied es s e y".split()
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


def decimal(digits: str) -> Decimal | None:
    """None for what is too long to be a quantity."""
    return Decimal(digits) if len(digits) <= _LONGEST else None


def quantity(number: Decimal, unit: tuple[str, Decimal] | None = None) -> Hashable:
    if unit is None:
        return ("n", _EXACT.plus(number), "")
    return ("n", _EXACT.multiply(number, unit[1]), unit[0])


def ratio(above: int | Decimal, below: int | Decimal) -> Decimal:
    return _EXACT.divide(Decimal(above), Decimal(below)) if below else Decimal(above)


@lru_cache(maxsize=5_000)
def unit(name: str, attached: bool = False) -> tuple[str, Decimal] | None:
    """Dimension and scale of a unit as it is written; `attached` to its number, more can be one."""
    name = name.replace("μ", "µ")
    if name in UNITS:
        return None if name in _ONLY_ATTACHED and not attached else UNITS[name]
    if attached and name in ("C", "F"):
        return UNITS["°" + name]
    lower = name.lower()
    if len(name) > 2 or lower in ("km", "kg", "cm", "gb", "tb", "lb", "ft", "hr", "hz"):
        return UNITS.get(lower)
    return None


def compound(above: tuple[str, Decimal], below: tuple[str, Decimal]) -> tuple[str, Decimal]:
    return f"{above[0]}/{below[0]}", _EXACT.divide(above[1], below[1])


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
                current = (current or 1) * scale
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
