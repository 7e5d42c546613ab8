"""Classes of pairs that the fact check once got wrong, five and more of each, and both rates on each labelled half."""

from __future__ import annotations

import json

import pytest
from conftest import REPO

from compressor_cli.core.facts import check_facts

# Amounts in two units, hours and days in words, limits on numbers in words, how often, a unit said elsewhere, denials,
# voice.
KEPT = """
A ticket costs four euros and fifty cents. => Ticket €4.50.
The stamp was three pounds and twenty pence. => Stamp: £3.20.
It took two hours and fifty minutes. => Took 2 h 50 min.
The parcel weighs two kilograms and 300 grams. => Parcel weighs 2.3 kg.
Parking is one dollar and five cents. => Parking: $1.05.
The hearing is at ten in the morning. => Hearing: 10:00.
Doors open at eleven o'clock. => Doors open 11:00.
We meet at three in the afternoon. => Meet 3 pm.
The train leaves at nine in the evening. => Train leaves 21:00.
Rent is due on the first of July. => Rent due July 1.
The vote is on the twenty-first of March. => Vote: 21 March.
It opened on July the fourth. => Opened 4 July.
They left on the tenth of May 1940. => Left 1940-05-10.
It ends on the thirty-first of October. => Ends Oct 31.
Book at least one day ahead. => Book ≥1 day ahead.
It needs at least two signatures. => Needs ≥2 signatures.
Carry at most one bag. => Carry ≤1 bag.
Stay no more than three nights. => Stay ≤3 nights.
Reads stall, but never for more than 50 milliseconds. => Reads stall, but never >50 ms.
The log is trimmed once a week. => Log trimmed weekly.
Take it twice a day. => Take 2x daily.
Backups run once a month. => Backups run every month.
Water them three times a week. => Water 3x a week.
The report comes once per year. => Report: annually.
The header is 16 bytes long, and the first four bytes hold the length. => Header 16 bytes; first 4 hold length.
The rope is 20 metres, and the last two metres are frayed. => Rope 20 m; last 2 frayed.
Of the nine minutes the final three minutes were silent. => 9 min, final 3 silent.
The key is 32 bytes; the lowest eight bytes are zero. => Key 32 bytes; lowest 8 zero.
The race is 42 km and the last seven km are flat. => Race 42 km, last 7 flat.
Sales rose in the first half of the year. => Sales rose in H1.
It is planned for the second half of 2024. => Planned for H2 2024.
The pump isn't suitable for seawater. => Pump not suitable for seawater.
The crew was unable to restart it. => Crew could not restart it.
We checked four files and none mentions it. => Checked 4 files, none mentions it.
Hopfield was acquired by Castlegate. => Castlegate acquired Hopfield.
On Sunday Brimley beat Arden. => Arden was beaten by Brimley on Sunday.
Quill was succeeded by Marsh. => Marsh succeeded Quill.
Denby hired Corley. => Corley was hired by Denby.
They own one dog. => They own a dog.
Sales were €1.62-1.66B in May. => Sales €1.62B-1.66B in May.
The plot came in at 0.5 ha. => Plot: .5 ha.
The church is of the 18c. => Church of 18c.
It opened on 5/3/2020. => Opened 5 March 2020.
It opened on 2020/03/05. => Opened 5 March 2020.
The U.S. left the talks. => US left talks.
The lamp did not light. The lamp did not light again. => Lamp did not light; lamp again did not.
The harbour was reached with no sail. => Harbour reached sailless.
He paid 3000 in 1990 and again in 1990. => Paid 3000 in 1990, again.
Book it for 10 o'clock. => Book for 10:00.
Thousands of birds came. => 1,000s of birds came.
It costs $5-7. => Costs $5 to $7.
Backups run every day. => Backups run daily.
It is open until 18:00. => Open to 18:00.
She cited 10% of cases; the tower of 12°C. => 10% of cases; tower 12 °C.
Rates rose to three point five percent. => Rates rose to 3.5%.
"""
NOT_KEPT = """
A ticket costs four euros and fifty cents. => Ticket €4.05.
The stamp was three pounds and twenty pence. => Stamp: £2.30.
It took two hours and fifty minutes. => Took 2 h 15 min.
Parking is one dollar and five cents. => Parking: $1.50.
The hearing is at ten in the morning. => Hearing: 22:00.
Doors open at eleven o'clock. => Doors open 10:00.
We meet at three in the afternoon. => Meet 3 am.
The train leaves at nine in the evening. => Train leaves 9:00.
Rent is due on the first of July. => Rent due July 2.
The vote is on the twenty-first of March. => Vote: 22 March.
They left on the tenth of May 1940. => Left 1940-10-05.
The log is trimmed once a week. => Log trimmed daily.
Take it once a day. => Take twice daily.
Backups run once a month. => Backups run 3 times a month.
The report comes once per year. => Report: monthly.
The limit is 50 requests per second. => Limit: 50 req/min.
Take three tablets a day. => Take 3 tablets/week.
It writes 20 pages per hour. => Writes 20 pages/min.
We get 400 visitors per week. => 400 visitors daily.
The pump does 12 strokes per minute. => Pump: 12 strokes/s.
Pressure was 142/88 mmHg, later 124/80 mmHg. => Pressure was 124/88 mmHg, later 124/80 mmHg.
Pressure was 142/88 mmHg, later 124/80 mmHg. => Pressure was 142/88 mmHg, later 124/88 mmHg.
The score was 12/20, then 15/30. => Score 12/20, then 15/20.
He scored 7/10 and she 9/12. => He scored 7/12, she 9/12.
The crew was unable to restart it. => The crew was able to restart it.
The pump isn't suitable for seawater. => The pump is suitable for seawater.
We checked four files and none mentions it. => We checked four files and one mentions it.
You shall not smoke here. You shall not park here. => You shall smoke here. You shall not park here.
It must not be opened. It must not be heated. => It must be opened. It must not be heated.
It isn't compatible with old chargers. We will not charge you. => It is compatible with old chargers. We will not charge you.
Northwind agreed to buy the arm of Contoso. Contoso keeps the shops. => Northwind agreed to buy the arm of Fabrikam. Contoso keeps the shops.
The keys went to Denby on Monday. Denby lost them in Arden. => The keys went to Corley on Monday. Denby lost them in Arden.
Nordic Air cancelled flights, while Baltic Air flew. => Nordic Air cancelled flights; Adriatic Air flew.
Ada Quill spoke first, and then Tom Quill answered. => Ada Quill spoke first, and then Ben Quill answered.
The ferry to Ostrava leaves before the bus from Ostrava. => The ferry to Kladno leaves before the bus from Ostrava.
Hopfield was acquired by Castlegate. => Hopfield acquired Castlegate.
On Sunday Brimley beat Arden. => On Sunday Brimley was beaten by Arden.
Quill was succeeded by Marsh. => Quill succeeded Marsh.
Denby hired Corley. => Denby was hired by Corley.
We met on Queen Street at noon. => Met on Queen Square at noon.
The Warsaw Stock Exchange (WSE) fell. => Riga Stock Exchange (WSE) fell.
Hepatitis A is common here. => Hepatitis B common here.
You must never be allowed to open it. => You must be allowed to open it.
The pump did not start, and did not start again. => Pump did not start, and started again.
We met in Baker Street at noon. => Met in Baker Square at noon.
"""  # noqa: E501


def pairs(lines: str) -> list[list[str]]:
    return [line.split(" => ") for line in lines.strip().splitlines()]


def not_kept(original: str, other: str) -> list[str]:
    return [fact.text for fact in check_facts(original, other).facts if fact.status != "kept"]


@pytest.mark.parametrize(("original", "rewritten"), pairs(KEPT))
def test_said_in_other_words(original: str, rewritten: str) -> None:
    assert not_kept(original, rewritten) == []


@pytest.mark.parametrize(("original", "mutated"), pairs(NOT_KEPT))
def test_said_something_else(original: str, mutated: str) -> None:
    assert not_kept(original, mutated) != []


@pytest.mark.parametrize("half", ["dev", "heldout"])
@pytest.mark.parametrize(
    ("name", "key", "caught"), [("mutations", "mutated", True), ("rewritings", "rewritten", False)]
)
def test_both_rates_on_each_half(half: str, name: str, key: str, caught: bool) -> None:
    path = REPO / "tests" / "data" / f"fact_{name}.jsonl"
    rows = [row for line in path.read_text(encoding="utf-8").splitlines() if (row := json.loads(line))["half"] == half]
    wrong = [row["id"] for row in rows if bool(not_kept(row["original"], row[key])) != (name == "mutations")]
    assert len(rows) == 150
    assert len(wrong) <= 0.02 * len(rows), wrong
