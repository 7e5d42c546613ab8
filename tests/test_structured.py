"""JSON, JSONL and CSV come back as the same data, numbers as they were written, from fewer tokens."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import toon_format
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.delimited import delimiter_of, rows_of, without_quotes
from compressor_cli.engines.exactjson import dump, minify, parser, spell_out
from compressor_cli.engines.structured import StructuredResult, compress_structured, restore, source_of
from compressor_cli.engines.tables import tabulate, untabulate
from compressor_cli.errors import UsageError

sys.path.insert(0, str(REPO / "benchmarks"))

import structured as benchmark

COUNT = token_counter().count

NUMBERS = (
    "0", "-0", "-0.0", "1.0", "1.50", "0.10", "1e5", "1E5", "1E+05", "1e-05", "12345678901234567890", "-7",
    "1.7976931348623157e309", "0.1000000000000000055511151231257827", "9" * 5000,
)  # fmt: skip
NASTY = (
    "", " ", "-", "- x", "#", "# toon", ":", "a: b", "[3]", "[2]: 1,2", "{}", "true", "null", "12", "1.0", "-0", "1e5",
    "05", "a,b", "a\tb", "a|b", "a\nb", "\r\n", '"', '"x"', "\\", "\\n", " lead", "trail ", "~", "absent", "?",
    "$absent", "$rows", "NaN", "é", "😀", "\u2028", "\x85", "\x00", "\x7f", "\ufeff", "\ud800", "\ue000", "\\ue000",
    "\udbff\udfff", "日本語", "'",
)  # fmt: skip


def data(source: str, text: str) -> Any:
    """What a reader gets: objects as pairs in their order, numbers as they are written."""

    def number(literal: str) -> tuple[str, str]:
        return "number", literal

    def load(line: str) -> Any:
        return json.loads(
            line, parse_int=number, parse_float=number, parse_constant=number, object_pairs_hook=lambda p: ("object", p)
        )

    text = text.removeprefix("\ufeff")
    return load(text) if source == "json" else [load(line) for line in text.split("\n") if line.strip()]


def preferring(sign: str) -> Callable[[str], int]:
    """A count by which the form that begins so is the shortest."""
    return lambda text: 1 if text.startswith(sign) else 2 + (not text.startswith("#"))


def checked(text: str, count: Callable[[str], int] = COUNT) -> StructuredResult:
    result = compress_structured(text, count=count)
    assert result.form == "none" or count(result.text) < count(text)
    assert (result.form == "none") == (result.text == text)
    back = restore(result.text)
    assert back is not None
    assert back[0] == result.source == source_of(text)
    assert data(*back) == data(result.source, text) == data(result.source, result.minified)
    assert back[1].endswith("\n") == result.text.endswith("\n") == result.minified.endswith("\n") == text.endswith("\n")
    assert source_of(result.minified) == result.source
    return result


# --- what is made of which text


def rows(count: int, **odd: object) -> list[dict[str, object]]:
    return [{"id": i, "name": f"name {i}", "kind": "pump", "at": {"x": i, "y": -i}} | odd for i in range(count)]


def test_objects_of_one_shape_become_a_table() -> None:
    result = checked(json.dumps({"total": 3, "items": rows(3)}, indent=2) + "\n", preferring("# table"))
    assert result.text == (
        '# table\n{"total":3,"items":{"$columns":["id","name",{"kind":"pump"},{"at":["x","y"]}],'
        '"$rows":[[0,"name 0",[0,0]],[1,"name 1",[1,-1]],[2,"name 2",[2,-2]]]}}\n'
    )
    assert (result.form, result.source, result.warnings) == ("table", "json", ())
    assert COUNT(result.text) < 0.8 * COUNT(result.minified)


def test_a_flat_array_becomes_toon_that_others_read() -> None:
    pumps = [{"id": f"p-{i}", "bar": i / 10, "on": i > 2} for i in range(9)]
    result = checked(json.dumps({"pumps": pumps}))
    assert result.form == "toon"
    assert result.text.startswith("pumps[9]{id,bar,on}:\n  p-0,0.0,false\n  p-1,0.1,false\n")
    assert toon_format.loads(result.text) == {"pumps": pumps}


def test_optional_keys_arrays_and_odd_rows_are_tabled() -> None:
    items: list[Any] = [{"id": i, "tags": [{"name": "a", "hue": i}] * (i % 3), "size": i} for i in range(30)]
    for item in items[::4]:
        del item["size"]
    items[7] = {"error": "gone"}
    items[8] = None
    result = checked(json.dumps(items))
    assert result.form == "table"
    assert '{"$columns":["id",{"tags":[[{"name":"a"},"hue"]]},"size"],"$absent":"-","$rows":[[0,[],"-"],' in result.text
    assert '{"error":"gone"},null,' in result.text


def test_an_object_of_objects_keeps_its_keys() -> None:
    result = checked(json.dumps({f"host-{i}": {"address": f"10.0.0.{i}", "port": 80, "up": True} for i in range(9)}))
    assert result.text.startswith(
        '# table\n{"$columns":["address",{"port":80},{"up":true}],"$rows":{"host-0":["10.0.0.0"],'
    )


def test_a_form_survives_what_editors_do() -> None:
    text = json.dumps(rows(9))
    for sign in ("# table", "[9]"):
        result = checked(text, preferring(sign))
        assert result.text.startswith(sign)
        for changed in (result.text + "\n\n", "\ufeff" + result.text, result.text.replace("\n", "\r\n") + "\r\n"):
            back = restore(changed)
            assert back is not None
            assert data(*back) == data("json", text)


def test_jsonl_is_told_from_an_array() -> None:
    lines = [json.dumps(row) for row in rows(5)]
    result = checked("\ufeff" + "\r\n\r\n".join(lines) + "\r\n", preferring("# jsonl table"))
    assert result.text.startswith('# jsonl table\n{"$columns":')
    assert result.minified == "".join(minify(line) + "\n" for line in lines)
    toon = checked("\n".join(lines), preferring("# jsonl\n"))
    assert toon.text.startswith("# jsonl\n[5]{id,name,kind,at{x,y}}:\n  0,name 0,pump,0,0\n")
    assert toon_format.loads(toon.text) == rows(5)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_keep_their_text(number: str) -> None:
    items = f'[{{"id": 1, "n": {number}}}, {{"id": {number}, "n": 2}}, {{"id": 3, "n": {number}}}]'
    text = f'{{"rows": {items}, "n": {number}}}'
    for sign in ("# table", "# toon", "rows", '{"', "none"):
        assert number in checked(text, preferring(sign)).text
    assert checked(number).text == number
    assert checked(f" {number} ").text.strip() == number


def test_what_is_not_json_in_the_strict_sense_stays() -> None:
    result = checked('[{"a": NaN, "b": 1}, {"a": -Infinity, "b": 1}, {"a": Infinity, "b": 1}]', preferring("[3]"))
    assert "-Infinity" in result.text
    assert result.form == "table"


def test_duplicate_keys_are_only_minified() -> None:
    result = checked('[{"a": 1, "b": 2}, {"a": 1, "a": 2}, {"a": 1, "b": 2}]', len)
    assert result.text == '[{"a":1,"b":2},{"a":1,"a":2},{"a":1,"b":2}]'
    assert result.warnings == ("an object has a key twice: only minified",)


def test_the_order_of_keys_survives() -> None:
    text = '[{"a": 1, "b": 2}, {"b": 1, "a": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 3}]'
    assert checked(text, preferring("[4]")).form != "toon"  # whose decoder gives every row the order of the first
    assert '"$rows":[[2],{"b":1,"a":2},[2],[3]]' in checked(text, preferring("# table")).text


def test_data_that_looks_like_a_form_of_ours() -> None:
    table = checked(json.dumps(rows(9))).text
    assert checked(table.partition("\n")[2]).form == "none"
    for text in ('{"$columns":["a"],"$rows":[[1]]}', '{"\\u0024columns": ["a"], "$rows": [[1]]}', '["# table"]'):
        checked(text, preferring("#"))


def test_escapes_are_spelled_out_where_the_character_can_be_seen() -> None:
    text = r'"caf\u00e9 \/ \\u00e9 \ud83d\ude00 \ud800 \u0041\u0022\u005c \u2028\u00a0\u0007 \u65e5\u672c\b"'
    assert spell_out(text) == '"café / \\\\u00e9 😀 \\ud800 A\\"\\\\ \\u2028\\u00a0\\u0007 日本\\b"'
    assert checked(text).text == spell_out(text)


def test_a_private_character_in_the_data_is_no_mark() -> None:
    everything = "".join(map(chr, [*range(0xE000, 0xE010), *range(0xF0000, 0xF0010)]))
    assert checked(json.dumps([1.50, everything], ensure_ascii=False)).form == "minified"
    for ascii_only in (True, False):
        text = json.dumps([{"a": f"{chr(0xE000 + i)}1", "b": 1.0} for i in range(9)], ensure_ascii=ascii_only)
        assert checked(text, preferring("# table")).form == "table"
        assert checked(text, preferring("[9]")).form == "toon"


def test_lone_surrogates_stay_two() -> None:
    text = json.dumps(rows(9, odd="\udbff\udfff"), ensure_ascii=False)
    assert checked(text, len).form == "minified"
    checked(json.dumps(rows(3, odd="\udfff")), preferring("# table"))


def test_the_sign_of_an_absent_key_stands_nowhere_else() -> None:
    items = ['{"name":"-","more":"~"}', '{"name":"-"}', '{"name":"x","more":{"c":"~"}}']
    text = array(items * 3, "")
    assert '"$absent":"?"' in checked(text, preferring("# table")).text
    every = json.dumps([{"name": sign, "more": 1} for sign in ("-", "~", "?", "absent", "$absent")] + [{"name": 1}])
    assert checked(every, preferring("# table")).form != "table"


def test_arrays_where_rows_would_stand_are_no_rows() -> None:
    values = '{"b":1,"c":2}', "[3,4]", '{"b":5,"c":6}', '[[7],{"b":1}]'
    text = array([f'{{"some key":{value}}}' for value in values], "")
    assert checked(text, preferring("# table")).text == (
        '# table\n{"$columns":["some key"],"$rows":[[{"b":1,"c":2}],[[3,4]],[{"b":5,"c":6}],[[[7],{"b":1}]]]}'
    )
    text = array(['{"some key":[{"b":1},[2]]}'] * 2 + ['{"some key":[{"b":3}]}'] * 2, "")
    assert '[[{"b":1},[2]]],' in checked(text, preferring("# table")).text
    assert checked('[{"a":1},[2],{"a":3},{"a":4},{"a":5}]', preferring("# table")).form != "table"


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a": [' * 5_000 + "]}" * 5_000, "[" * 100_000])
def test_nested_too_deeply(text: str) -> None:
    result = compress_structured(text, count=COUNT)
    assert (result.text, result.form) == (text, "none")
    assert result.warnings == ("nested too deeply: left as it is",)


def test_nested_deeply() -> None:
    text = '{"a": [1.0, ' * 150 + json.dumps(rows(9)) + "]}" * 150
    assert checked(text).form == "minified"
    deep = '{"a": ' * 300 + "1.0" + "}" * 300
    assert checked(f"[{deep}, {deep}, {deep}]", len).form == "toon"


def test_a_long_text_is_weighed_by_samples() -> None:
    calls: list[int] = []

    def count(text: str) -> int:
        calls.append(len(text))
        return COUNT(text)

    text = json.dumps(rows(7000), indent=2)
    result = compress_structured(text, count=count)
    assert result.form == "table"
    assert sorted(calls)[-3:] == sorted([8000, len(result.text), len(text)])
    back = restore(result.text)
    assert back is not None
    assert json.loads(back[1]) == rows(7000)


# --- which text is what


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{}", "json"),
        ("\ufeff [1]\r\n", "json"),
        ("-1.5", "json"),
        ('"text"', "json"),
        ("9" * 5000, "json"),
        ('{"a":1}\n\n[2]\n', "jsonl"),
        ('{"a":1}\n{"a":', None),
        ("1\n2\n3", None),
        ("{'a': 1}", None),
        ("", None),
        (" \n", None),
        ("id,name,note\n1,Ada,\n2,Bo,x\n", "csv"),
        ("id;name;note\n1;Ada, B.;\n2;Bo;x\n", "csv"),
        ("a|b|c\n1|2|3\n", "csv"),
        ("id,name\n1,Ada\n2,Bo\n", "csv"),
        ("id\tname\n1\tAda, Bo\n2\tBo\n", "tsv"),
        ('id,note,x\n1,"two\nlines, one cell",3\n', "csv"),
        (",a,b\n0,x,y\n1,z,w\n", "csv"),
        ("Nuts, bolts, and screws.\nApples, pears, and plums.\n", None),
        ("Hello,world\nGoodbye,moon\n", None),
        (
            "2026-03-04 10:00:01,123 INFO started\n2026-03-04 10:00:02,001 INFO on\n2026-03-04 10:00:03,7 INFO up\n",
            None,
        ),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", None),
        ("foo(a, b, c)\nfoo(d, e, f)\n", None),
        ("tags[3]: a,b,c\nmore[3]: d,e,f", None),
        ("A line\nof prose, which goes on, and on.\n", None),
    ],
)
def test_source(text: str, source: str | None) -> None:
    assert source_of(text) == source


def test_anything_else_is_refused() -> None:
    with pytest.raises(UsageError, match="neither JSON, JSONL nor CSV"):
        compress_structured("Just a sentence.", count=COUNT)


@pytest.mark.parametrize(
    "text",
    [
        *("hello world", "key: value", "name: Ada\nage: 36", "", "# Shopping\n- milk"),
        *("# toon", "# table", "# table\n", "# table\n{", "# table\n{}", "# jsonl\n", "# jsonl table\n{}"),
        *("items[3]{id,name}:\n  1,Ada", "items[2]{id,name}:\n  1,Ada\n 2,Bo", "items[1]{id,name}:\n  1,Ada,3"),
        *("tags[2]: a,b", "[1]: https://example.org", "# table\n[1,2]", "# toon\n# Cartoons\nare drawn\nby hand"),
        *(
            f"# table\n{body}"
            for body in (
                '{"$columns":["a"],"$rows":[[1,2]]}',
                '{"$columns":[],"$rows":[]}',
                '{"$columns":["a","a"],"$rows":[[1,2]]}',
                '{"$columns":["a"],"$rows":[[1]],"more":1}',
                '{"$columns":["a"],"$rows":3}',
                '{"$columns":[{"a":[]}],"$rows":[[[]]]}',
                '{"$columns":[{"a":{}}],"$rows":[[[]]]}',
                '{"$columns":[1],"$rows":[[1]]}',
            )
        ),
    ],
)
def test_what_only_looks_like_a_form_of_ours(text: str) -> None:
    assert restore(text) is None


# --- CSV


def test_csv_loses_quotes_that_nobody_needs() -> None:
    text = 'id,"name","note"\r\n"007","Ada","a, b"\r\n"2","Bo ","say ""hi"""\r\n3,"",\r\n'
    result = compress_structured(text, count=COUNT)
    assert result.text == result.minified == 'id,name,note\r\n007,Ada,"a, b"\r\n2,"Bo ","say ""hi"""\r\n3,"",\r\n'
    assert restore(result.text) == ("csv", result.text)


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,2,3\n4,5\n6,7,8\n" + "1,2,3\n" * 30,
        "a,a,\n1,2,3\n",
        "a,b,c\n1, 2 ,03\n",
        "\ufeffa,b,c\n1,2,3",
        'a,b,c\n5" pipe,2,3\n',
    ],
)
def test_csv_with_nothing_to_lose_stays(text: str) -> None:
    result = compress_structured(text, count=COUNT)
    assert (result.text, result.form, result.source, result.warnings) == (text, "none", "csv", ())


@pytest.mark.parametrize(
    "text",
    [
        '"[1","2","3]"\n"[4","5","6]"\n',  # would be JSONL
        '"a\tb\tc",d,e\n"a\tb\tc",d,e\n',  # would be TSV
        '"a,b,c";d;e\n"a,b,c";d;e\n',  # would have another delimiter
    ],
)
def test_quotes_stay_where_the_cells_would_be_others(text: str) -> None:
    result = compress_structured(text, count=len)
    assert (result.text, result.minified, result.source) == (text, text, "csv")


@given(
    cells=st.integers(3, 5).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from(NASTY) | st.text(max_size=6), min_size=width, max_size=width),
            min_size=1,
            max_size=6,
        )
    ),
    delimiter=st.sampled_from(",\t;|"),
    end=st.sampled_from(("\n", "\r\n")),
    quoting=st.sampled_from((csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC)),
)
def test_cells_come_back(cells: list[list[str]], delimiter: str, end: str, quoting: Any) -> None:
    cells = [[f"column {i}" for i in range(len(cells[0]))], *cells]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(cells)
    text = file.getvalue()
    bare = without_quotes(text, delimiter)
    assert rows_of(bare, delimiter) == rows_of(text, delimiter)
    if source_of(text) in ("csv", "tsv"):
        result = compress_structured(text, count=COUNT)
        back = restore(result.text)
        assert back == (source_of(text), result.text)
        assert delimiter_of(result.text) == delimiter_of(text)
        assert COUNT(result.text) <= COUNT(text)


# --- any data

strings = st.sampled_from(NASTY) | st.text(max_size=8)
spelled = st.builds(lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only), strings, st.booleans())
numbers = st.sampled_from(NUMBERS[:-1]) | st.from_regex(
    r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
)
scalars = numbers | spelled | st.sampled_from(("true", "false", "null", "NaN", "-Infinity"))
spaces = st.sampled_from(("", "", " ", "\n  "))


def array(items: list[str], space: str) -> str:
    return f"[{space}{f',{space}'.join(items)}{space}]"


def obj(items: list[tuple[str, str]], space: str) -> str:
    return f"{{{space}{f',{space}'.join(f'{key}:{space}{value}' for key, value in items)}{space}}}"


def containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(array, st.lists(inner, max_size=4), spaces) | st.builds(
        obj, st.lists(st.tuples(spelled, inner), max_size=4), spaces
    )


documents = st.recursive(scalars, containers, max_leaves=15)
signs = st.sampled_from(("# table", "# toon", "[", '"', "items", "none"))


@given(text=documents, end=st.sampled_from(("", "\n", " \r\n")), sign=signs)
@settings(max_examples=150)
def test_any_json_comes_back(text: str, end: str, sign: str) -> None:
    assert checked(text + end) == checked(text + end)
    checked(text + end, preferring(sign))


@st.composite
def tables(draw: st.DrawFn, cells: st.SearchStrategy[str] = scalars) -> list[str]:
    """Objects with the same keys, more or less, some of which hold objects or arrays of objects."""
    keys = draw(st.lists(spelled | st.sampled_from(('"id"', '"name"')), min_size=1, max_size=4, unique_by=json.loads))
    optional = draw(st.sets(st.sampled_from(keys)))
    nested = draw(st.dictionaries(st.sampled_from(keys), st.sampled_from(("object", "array")), max_size=2))
    found = []
    for _ in range(draw(st.integers(2, 6))):
        row = [(key, draw(_cell(nested.get(key), cells))) for key in keys if key not in optional or draw(st.booleans())]
        found.append(obj(row, ""))
    return found


def _cell(kind: str | None, cells: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    if kind is None:
        return cells
    inner = st.builds(lambda a, b: obj([('"p"', a), ('"q"', b)], ""), cells, cells) | st.sampled_from(("null", "{}"))
    return inner if kind == "object" else st.builds(lambda items: array(items, ""), st.lists(inner, max_size=3))


@given(table=tables(), odd=st.none() | documents, sign=signs, keyed=st.booleans())
@settings(max_examples=120)
def test_any_table_comes_back(table: list[str], odd: str | None, sign: str, keyed: bool) -> None:
    values = [*table, odd] if odd is not None else table
    inside = obj([(f'"k{i}"', value) for i, value in enumerate(values)], "") if keyed else array(values, "")
    for text in (inside, f'{{"items": {inside}}}'):
        checked(text)
        checked(text, preferring(sign))


@given(
    table=tables(),
    odd=st.sampled_from(("[]", "{}", "[1.0]", '{"a": {"a": []}}')),
    sign=signs,
    end=st.sampled_from(("\n", "\r\n", "\n\n", "\n \n")),
)
@settings(max_examples=60)
def test_any_jsonl_comes_back(table: list[str], odd: str, sign: str, end: str) -> None:
    for text in (end.join([*table, odd]), end.join(table) + end):
        checked(text)
        checked(text, preferring(sign))


@given(table=tables(cells=numbers | spelled | st.sampled_from(("true", "false", "null"))))
def test_our_toon_is_what_others_read(table: list[str]) -> None:
    text = f'{{"items": {array(table, "")}}}'
    result = compress_structured(text, count=preferring("items["))
    if result.form == "toon":
        assert toon_format.loads(result.text, parse_float=str, parse_int=str) == json.loads(
            text, parse_float=str, parse_int=str
        )


@given(table=tables())
@settings(max_examples=80)
def test_tables_alone_come_back(table: list[str]) -> None:
    text = array(table, "")
    tree = parser("\x00")(text) if "\\u0000" not in text and not re.search("[\ud800-\udfff]", text) else []
    assert dump(untabulate(json.loads(json.dumps(tabulate(tree))), "\x00"), "\x00") == dump(tree, "\x00")


@given(
    text=st.text()
    | st.text(alphabet='{}[]",:# \n\ttoabelj$01-')
    | st.binary().map(lambda raw: raw.decode("utf-8", "replace"))
)
@settings(max_examples=400)
def test_no_text_breaks_anything(text: str) -> None:
    source = source_of(text)
    restore(text)
    for sign in ("# table\n", "# toon\n", "# jsonl\n", "# jsonl table\n"):
        restore(sign + text)
    if source is not None:
        assert COUNT(compress_structured(text, count=COUNT).text) <= COUNT(text)


# --- the benchmark


def test_the_benchmark_says_that_all_data_came_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--rows", "30"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[-1] for line in out.splitlines()[-6:]] == ["yes"] * 6
    assert "toon-format" in out


def test_the_benchmark_takes_files(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(rows(20)), encoding="utf-8")
    (tmp_path / "text.md").write_text("Prose.", encoding="utf-8")
    out = tmp_path / "figures.json"
    assert benchmark.main(["--files", str(tmp_path / "rows.json"), str(tmp_path / "text.md"), "--json", str(out)]) == 0
    assert "text.md: neither JSON, JSONL nor CSV" in capsys.readouterr().err
    (figures,) = json.loads(out.read_text(encoding="utf-8"))["figures"]
    assert (figures["name"], figures["form"], figures["equal"]) == ("rows.json", "table", True)
    assert figures["ours"] < figures["minified"] < figures["indented"]
