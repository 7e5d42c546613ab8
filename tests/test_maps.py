"""Maps: the original comes back byte for byte, or the map is refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from hypothesis import example, given
from hypothesis import strategies as st

from compressor_cli import compress
from compressor_cli.core import map_difference, maps
from compressor_cli.core.map_align import align
from compressor_cli.core.map_coder import PART, Reader, Writer
from compressor_cli.core.map_difference import _pieces, _Walk, read_difference, write_difference
from compressor_cli.core.maps import LARGEST, VERSION, apply_map, make_map
from compressor_cli.errors import BudgetTooSmallError, UsageError

TEXT = (
    "On Tuesday the committee met for the third time, and Helena Marsh said that the bridge at Oakham would not be "
    "finished before the end of 1931, because the company had run out of money twice.\n\nShe asked for £12,500 more; "
    "it was refused. The engineers, who had not been told, went on with the work as if nothing had happened.\n"
)
SHORT = (
    "Tuesday committee met third time Helena Marsh bridge Oakham not finished 1931, company run out money twice.\n\n"
)
SHORT += "£12,500 refused. engineers not told, went on as if nothing.\n"
MAP = make_map(TEXT.encode(), SHORT.encode())
ZSTD_MAP = make_map(bytes(range(256)) * 3, bytes(range(256)))
HEAD = 42


def back(original: bytes, compressed: bytes) -> bytes:
    """The map of the two, once the original came back by it."""
    map_ = make_map(original, compressed)
    assert apply_map(compressed, map_) == original
    assert make_map(original, compressed) == map_
    return map_


# --- round trips


@given(original=st.binary(max_size=400), compressed=st.binary(max_size=200))
@example(b"", b"")
@example(b"", b"words that are gone")
@example(b"\xff\xfe\x00", b"\xff")
@example("é — ü".encode(), b"\xe9")
def test_any_two_byte_strings(original: bytes, compressed: bytes) -> None:
    back(original, compressed)


@given(original=st.text(max_size=300), compressed=st.text(max_size=100))
@example("ǅ İSTANBUL ﬁ ẞ ١٢٣ 中文。字 𝐀 I'm a a A aA", "istanbul")
def test_any_two_texts(original: str, compressed: str) -> None:
    back(original.encode("utf-8", "surrogatepass"), compressed.encode("utf-8", "surrogatepass"))


WORDS = st.sampled_from(
    "the The THE a of bridge Bridge McKay x1 1931 don’t — ** ```\n , . ( \n\n \t über 桥 no".split(" ")
)


@given(words=st.lists(st.tuples(WORDS, st.booleans(), st.sampled_from([" ", "", ", ", "\n", "  "])), max_size=120))
def test_a_text_with_words_dropped_and_spaces_joined(words: list[tuple[str, bool, str]]) -> None:
    original = "".join(word + after for word, _, after in words)
    compressed = " ".join(word for word, kept, _ in words if kept)
    back(original.encode(), compressed.encode())


@pytest.mark.parametrize(
    ("original", "compressed"),
    [
        (b"\0" * 70_000, b"\0" * 100),
        (b"a " * 20_000, b"a " * 10_000),
        (b"a b c " * 5_000, b"c b a " * 2_500),
        (b"x" * 70_000 + b" y", b"y"),
        (random.Random(0).randbytes(20_000), random.Random(1).randbytes(10_000)),
    ],
    ids=["zeros", "one word", "turned", "one long word", "noise"],
)
def test_what_is_no_text_comes_back_and_is_packed(original: bytes, compressed: bytes) -> None:
    assert len(back(original, compressed)) < len(original) + 100


def test_a_long_text_is_walked_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever block a word is in, it is found again among the compressed ones."""
    rng = random.Random(3)
    words = [rng.choice(TEXT.split()) for _ in range(3000)]
    kept = [rng.random() < 0.5 for _ in words]
    short = " ".join(word for word, keep in zip(words, kept, strict=True) if keep)
    whole = len(back(" ".join(words).encode(), short.encode()))
    monkeypatch.setattr("compressor_cli.core.map_difference._BLOCK", 200)
    in_blocks = len(back(" ".join(words).encode(), short.encode()))
    assert in_blocks < 1.1 * whole


def test_memory_that_is_full_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor_cli.core.map_models.MEMORY", 300)
    words = [f"{name}{n % 90}" for n in range(400) for name in ("bridge", "lake", "price")]
    text = ", ".join(words)
    back(text.encode(), " ".join(words[::2]).encode())


def test_the_same_text_needs_no_more_than_a_header() -> None:
    assert len(back(TEXT.encode(), TEXT.encode())) == HEAD


def test_a_map_of_prose_is_much_smaller_than_what_was_left_out() -> None:
    assert len(MAP) - HEAD < 0.4 * (len(TEXT) - len(SHORT))


WRITTEN = (
    "8973636d0102693f58d9e19553113b75291306ce731b6eefacd15f01bfb088dd4a11da24fcd90000014517b55393658c2ca3b16c2fe5"
    "9f2ca2ce5b217174e9d1e1f03451286addee3dd7f7c20669169d9460d7cad7c7c8e5d75bd9635606319e4fbf5dae"
)
WRITTEN_ZSTD = (
    "8973636d010140aff2e9d2d8922e47afd4648e696749f3a25aa93aa2fbba28d79260535bbd6a0000030028b52ffd00004d0000080001"
    "00fc06aa2504"
)
WRITTEN_LATIN1 = (
    "8973636d010368bca10eea2ba33f6f15a6ab0c7df2a418d3eb2b7c3f6800bb03fd2df9cfdd130000000b7ffd5ed82e8c68b05c2d87ca"
    "df6669e253"
)


def test_maps_that_version_1_wrote_are_still_read() -> None:
    """Where this fails, the maps that people keep can no longer be read: the change needs a new version."""
    assert apply_map(SHORT.encode(), bytes.fromhex(WRITTEN)) == TEXT.encode()
    assert apply_map(bytes(range(256)), bytes.fromhex(WRITTEN_ZSTD)) == bytes(range(256)) * 3
    assert apply_map(b"un", bytes.fromhex(WRITTEN_LATIN1)) == b"\xe9t\xe9 un deux"
    assert MAP.hex() == WRITTEN  # the same on every machine
    assert [bytes.fromhex(map_)[5] for map_ in (WRITTEN, WRITTEN_ZSTD, WRITTEN_LATIN1)] == [2, 1, 3]


# --- what is refused


@pytest.mark.parametrize(
    ("map_", "compressed"), [(MAP, SHORT.encode()), (ZSTD_MAP, bytes(range(256)))], ids=["words", "zstd"]
)
def test_a_changed_or_cut_map_is_refused_or_harmless(map_: bytes, compressed: bytes) -> None:
    original = apply_map(compressed, map_)
    damaged = [map_[:at] for at in range(len(map_))]
    for at in range(len(map_)):
        damaged += [map_[:at] + bytes([map_[at] ^ flip]) + map_[at + 1 :] for flip in (1, 0x80, 0xFF)]
    refused = 0
    for bad in damaged:
        try:
            assert apply_map(compressed, bad) == original
        except UsageError as error:
            assert error.hint
            refused += 1
    assert refused > 0.98 * len(damaged)


@given(payload=st.binary(max_size=300), method=st.integers(0, 3), size=st.integers(0, LARGEST))
def test_noise_behind_a_good_header_is_refused(payload: bytes, method: int, size: int) -> None:
    head = maps._HEAD.pack(b"\x89scm", VERSION, method, maps._hash(SHORT.encode()), bytes(16), size)
    with pytest.raises(UsageError, match="the map is damaged"):
        apply_map(SHORT.encode(), head + payload)


def test_a_map_of_another_text() -> None:
    with pytest.raises(UsageError, match="belongs to another text") as caught:
        apply_map(SHORT.encode() + b"\n", MAP)
    assert caught.value.hint and "newline" in caught.value.hint


@pytest.mark.parametrize("other", [b"", b"a text", SHORT.encode(), b"\x28\xb5\x2f\xfd", b"\x89SCM" + MAP[4:]])
def test_what_is_no_map(other: bytes) -> None:
    with pytest.raises(UsageError, match="not a map") as caught:
        apply_map(SHORT.encode(), other)
    assert caught.value.hint


def test_a_map_of_a_later_version() -> None:
    with pytest.raises(UsageError, match="version 2 of the format, this scc reads version 1"):
        apply_map(SHORT.encode(), MAP[:4] + b"\x02" + b"whatever follows")


def test_a_text_above_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "LARGEST", 100)
    with pytest.raises(UsageError, match="takes at most 100"):
        make_map(b"a" * 101, b"a")


def bomb(size: int) -> bytes:
    """A map whose frame unpacks to 64 MB, of which its header admits `size`."""
    import zstandard

    frame = zstandard.ZstdCompressor(level=3).compress(bytes(64_000_000))
    return maps._HEAD.pack(b"\x89scm", VERSION, 1, maps._hash(b""), bytes(16), size) + frame


def wide() -> bytes:
    """A frame that asks its reader for a window of 2 GB."""
    return (
        maps._HEAD.pack(b"\x89scm", VERSION, 1, maps._hash(b""), bytes(16), 9) + b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"
    )


@pytest.mark.parametrize("map_", [bomb(0), bomb(1000), bomb(LARGEST + 1), bomb(2**32 - 1), wide()])
def test_a_hostile_map_takes_no_memory(map_: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(UsageError, match="the map is damaged"):
        apply_map(b"", map_)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


# --- parts


@given(st.lists(st.booleans(), max_size=60), st.lists(st.sampled_from("abcd"), max_size=60))
def test_an_alignment_is_increasing_and_finds_a_subsequence_whole(kept: list[bool], long: list[str]) -> None:
    short = [word for word, keep in zip(long, kept, strict=False) if keep]
    match = align(short, long)
    found = [i for i in match if i >= 0]
    assert all(short[i] == word for i, word in zip(match, long, strict=True) if i >= 0)
    if len(short) * len(long) <= 1024:
        assert found == list(range(len(short)))
    assert found == sorted(set(found))


def test_an_alignment_prefers_runs() -> None:
    assert align("b the c".split(), "the b the x the c".split()) == [-1, 0, -1, -1, 1, 2]
    assert align("x the y".split(), "x the z the y the".split()) in ([0, 1, -1, -1, 2, -1], [0, -1, -1, 1, 2, -1])


OPERATION = st.one_of(
    st.tuples(st.just("bit"), st.tuples(st.integers(1, 300), st.integers(1, 300), st.booleans())),
    st.tuples(
        st.just("number"), st.integers(1, 1 << 24).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))
    ),
    st.tuples(st.just("slot"), st.integers(0, 3 * PART)),
    st.tuples(st.just("pick"), st.sampled_from([None, "a", "b", "c"])),
)


@given(operations=st.lists(OPERATION, max_size=200))
def test_the_reader_reads_what_the_writer_wrote(operations: list[tuple[str, Any]]) -> None:
    counts = [1 + n % 7 for n in range(3 * PART)]
    sums = [sum(counts[at : at + PART]) for at in range(0, len(counts), PART)]

    def run(coder: Writer | Reader, writes: bool) -> list[object]:
        results: list[object] = []
        for name, value in operations:
            if name == "bit":
                zeros, ones, bit = value
                results.append(coder.bit(zeros, ones, bit if writes else None))
            elif name == "number":
                count, number = value
                results.append(coder.number(count, number if writes else None))
            elif name == "slot":
                results.append(coder.slot(counts, sums, 5, value if writes else None))
            else:
                node = {"a": 1, "b": 60}
                results.append(coder.pick(node, 61, 3, 2, value if writes else None))
        return results

    writer = Writer()
    written = run(writer, True)
    assert run(Reader(writer.finish()), False) == written


def test_a_difference_is_given_up_when_it_is_too_long() -> None:
    whole = write_difference(TEXT, SHORT, most=len(TEXT))
    assert whole is not None
    assert read_difference(whole, SHORT, len(TEXT)) == TEXT
    assert write_difference(TEXT, SHORT, most=len(whole)) == whole
    assert write_difference(TEXT, SHORT, most=len(whole) - 1) is None


def test_noise_is_given_up_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = random.Random(2).randbytes(9000).decode("latin-1")
    steps = 0

    class Counted(_Walk):
        def step(self, *given: Any) -> tuple[str, str]:
            nonlocal steps
            steps += 1
            return super().step(*given)

    monkeypatch.setattr(map_difference, "_Walk", Counted)
    monkeypatch.setattr(map_difference, "_LONGEST", 3000)
    assert write_difference(noise, "", most=len(noise)) is None
    assert 0 < steps < len(list(_pieces(noise))) / 2


# --- what compress() writes


def _prose(rng: random.Random) -> str:
    words = "the a of committee price Marsh not 1,274 lake whether said that may, only; (again) “plan” 3.5 km".split()
    sentences = (" ".join(rng.choices(words, k=rng.randint(3, 20))).capitalize() for _ in range(rng.randint(1, 12)))
    return "".join(
        f"{sentence}{rng.choice('.?!')}{rng.choice([' ', '  ', chr(10), chr(10) * 2])}" for sentence in sentences
    )


def _markdown(rng: random.Random) -> str:
    blocks = [
        "# {}\n",
        "- {}\n",
        "  * **{}**\n",
        "> {}\n",
        "{}\n\n",
        "```\n{}\n```\n",
        "| a | {} |\n|---|---|\n",
        "Ann: {}\n",
    ]
    return "".join(rng.choice(blocks).format(_prose(rng).partition("\n")[0]) for _ in range(rng.randint(1, 8)))


def _code(rng: random.Random) -> str:
    lines = [
        "def price(lake, *, km=3):",
        "    # not the last one",
        "    return lake[1:] or {'a': km}",
        '    """Of a lake."""',
    ]
    lines += [
        "",
        "class Lake:  # of water",
        "\tpass",
        "for (int i = 0; i < n; i++) {",
        "}",
        "SELECT a FROM b -- all",
        "// no",
    ]
    return rng.choice(["\n", "\r\n"]).join(rng.choices(lines, k=rng.randint(1, 25)))


def _json(rng: random.Random) -> str:
    rows = [
        {"id": n, "name": rng.choice("äbc"), "x": rng.random(), "tags": [None, True]} for n in range(rng.randint(1, 9))
    ]
    return json.dumps(
        rows if rng.random() < 0.7 else {"rows": rows}, indent=rng.choice([None, 1, 2, 4]), ensure_ascii=False
    )


def _unicode(rng: random.Random) -> str:
    ranges = [(32, 126), (0xA0, 0x17F), (0x400, 0x4FF), (0x2000, 0x206F), (0x4E00, 0x4EFF), (0x1F600, 0x1F64F)]
    return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 300)))


def _noise(rng: random.Random) -> str:
    return rng.randbytes(rng.randint(1, 300)).decode("latin-1")


KINDS = (_prose, _markdown, _code, _json, _unicode, _noise)


def compressed_and_expanded(seed: int) -> bool:
    """Whether there was anything to expand: some texts are nothing but spaces."""
    rng = random.Random(seed)
    text = KINDS[seed % len(KINDS)](rng)
    if not text.strip():
        return False
    rate = rng.choice([None, rng.uniform(0.05, 1)])
    try:
        receipt = compress(text, rate=rate)
    except BudgetTooSmallError as error:
        receipt = compress(text, max_tokens=error.tokens_needed)
    back(text.encode(), receipt.compressed.encode())
    return True


def test_what_compress_writes_is_expanded() -> None:
    assert sum(compressed_and_expanded(seed) for seed in range(60)) >= 58


def test_the_benchmark_prints_a_group_for_each_kind_of_text(work: Path) -> None:
    prose = _prose(random.Random(0)) * 9
    (work / "qmsum.jsonl").write_text(json.dumps({"text": prose}) + "\n", encoding="utf-8")
    article = {"paragraphs": [{"context": prose}, {"context": TEXT * 5}]}
    (work / "xquad.json").write_text(json.dumps({"data": [article]}), encoding="utf-8")
    (work / "text.md").write_text("# Notes\n\n" + prose, encoding="utf-8")
    message = {"role": "user", "content": TEXT * 7}
    (work / "rows.jsonl").write_text(json.dumps({"messages": [message]}) + "\n", encoding="utf-8")
    files = [
        "--qmsum",
        "qmsum.jsonl",
        "--xquad",
        "xquad.json",
        "--rows",
        "rows.jsonl",
        "--json",
        "out.json",
        "--texts",
        "text.md",
    ]
    command = [sys.executable, str(REPO / "benchmarks" / "maps.py"), *files, "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    groups = {row["group"] for row in json.loads((work / "out.json").read_text(encoding="utf-8"))["outcomes"]}
    assert groups == {"files", "qmsum", "xquad", "rows, prose"}
    assert all(group in done.stdout for group in groups)
    assert "at rate 0.5: mean 0." in done.stdout


@pytest.mark.slow
def test_ten_thousand_texts_are_compressed_and_expanded() -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert sum(pool.map(compressed_and_expanded, range(10_000), chunksize=100)) >= 9_900
