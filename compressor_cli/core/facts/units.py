"""Units and currencies as they are written, with the dimension and scale of each."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from compressor_cli.core.facts.values import ratio

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
INR 1 ₹ INR Rs Rs. rupee rupees
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
MONEY = frozenset(
    "USD EUR GBP JPY CNY CHF INR KRW RUB CAD AUD NZD HKD SEK NOK DKK KRONA PLN BRL MXN ZAR TRY BTC".split()
)
_ONLY_ATTACHED = frozenset("x c p w".split())  # `5 c` may be anything, `5c` is not


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
    return f"{above[0]}/{below[0]}", ratio(above[1], below[1])
