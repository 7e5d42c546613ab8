"""`compress_chat`: long contents get shorter within the budget, and nothing else of a chat changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compressor_cli import Receipt, compress
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.chat import ChatResult, compress_chat
from compressor_cli.engines.chat_budget import SHORT
from compressor_cli.engines.chat_read import Kept, message_end
from compressor_cli.errors import BudgetTooSmallError, UsageError

count = token_counter().count
Compressor = Callable[[str, int | None], Receipt]

PROSE = (
    "The council of Brimley met on Tuesday, 3 March, to talk about the old bridge. Ada Quill, who has kept its records "
    "since 1994, said that it must not carry lorries of more than 7.5 tonnes. Nobody disagreed. The repair will cost "
    "about £48,000, and it cannot begin before the swallows have left in September.\n\nThen they went to the inn."
)
CODE = "".join(
    f"def size_{n}(path):\n    # as the old clerk of the town measured it\n    return os.stat(path).st_size * {n}\n\n\n"
    for n in range(8)
)
ROWS = json.dumps(
    [{"id": n, "name": f"bridge {n}", "open": n % 2 == 0, "tonnes": n * 1.50} for n in range(20)], indent=2
)
LOG = "".join(f"2026-11-21T10:{n:02d}:01Z WARN disk /dev/sda1 is full, nothing is written\n" for n in range(40))


def receipt(text: str, compressed: str, engine: str) -> Receipt:
    before, after = count(text), count(compressed)
    return Receipt(
        compressed=compressed,
        engine=engine,
        domain="prose",
        why="",
        tokenizer="o200k_base",
        exact=True,
        tokens_in=before,
        tokens_out=after,
        ratio=after / before,
        savings=1 - after / before,
        rate=0.5,
        level=None,
        minified_tokens=None,
        blocks=(),
        fidelity=1.0,
        fidelity_by_kind={},
        facts=(),
        seconds=0.0,
        warnings=("2 words went",),
    )


def every_second(text: str, most: int | None) -> Receipt:
    """Drops every second word of each line, then words from the end; code and JSON take what they take."""
    rigid = text.lstrip().startswith(("def ", "{", "["))
    least = text.replace("  ", "") if rigid else text.split()[0]
    made = least if rigid else "\n".join(" ".join(line.split()[::2]) for line in text.split("\n"))
    if most is not None and count(least) > most:
        raise BudgetTooSmallError(f"{count(least)} are needed", count(least))
    while most is not None and count(made) > most:
        made = made[: made.rstrip().rindex(" ")] if " " in made.strip() else least
    return receipt(text, made if count(made) < count(text) else text, "rigid" if rigid else "second")


def real(text: str, most: int | None) -> Receipt:
    return compress(text, max_tokens=most)


def run(
    chat: Any, budget: int | None = None, keep_last: int = 2, compressor: Compressor = every_second
) -> tuple[ChatResult, Any]:
    text = chat if isinstance(chat, str) else json.dumps(chat, indent=1)
    result = compress_chat(text, budget=budget, kept=Kept(last=keep_last), count=count, compress_text=compressor)
    return result, json.loads(result.text)


# --- an agent's run, as each provider has it


def openai_run(steps: int = 3) -> dict[str, Any]:
    results = [CODE, ROWS, LOG, PROSE]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": f"You repair bridges. {PROSE}"},
        {"role": "developer", "content": [{"type": "text", "text": PROSE}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"Find the size. {PROSE}"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBO" * 99}},
            ],
        },
    ]
    for n in range(steps):
        arguments = json.dumps({"path": "a.py", "note": PROSE})
        call = {"id": f"call_{n}", "type": "function", "function": {"name": "read", "arguments": arguments}}
        messages += [
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{n}", "content": results[n % 4]},
        ]
    messages.append({"role": "assistant", "content": PROSE, "name": "bo"})
    messages.append({"role": "user", "content": f"And now? {PROSE}"})
    tool = {"type": "function", "function": {"name": "read", "description": PROSE, "parameters": {"type": "object"}}}
    return {"model": "gpt-4o", "temperature": 0.70, "tools": [tool], "messages": messages}


def anthropic_run(steps: int = 3) -> dict[str, Any]:
    results: list[Any] = [
        CODE,
        [{"type": "text", "text": ROWS}, {"type": "image", "source": {"type": "base64", "data": "iVBO" * 99}}],
        LOG,
        PROSE,
    ]
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": PROSE}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE" * 99}}
    messages: list[dict[str, Any]] = [
        {
            "role": "user",
            "content": [document, pdf, {"type": "text", "text": PROSE, "cache_control": {"type": "ephemeral"}}],
        }
    ]
    for n in range(steps):
        messages += [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": PROSE, "signature": "Eu0B\\/+=="},
                    {"type": "redacted_thinking", "data": "Abc" * 99},
                    {"type": "text", "text": PROSE},
                    {
                        "type": "tool_use",
                        "id": f"toolu_{n}",
                        "name": "read",
                        "input": {"text": PROSE, "content": PROSE, "n": 1e3},
                    },
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": results[n % 4]}],
            },
        ]
    messages.append({"role": "user", "content": "And now?"})
    system = [{"type": "text", "text": PROSE, "cache_control": {"type": "ephemeral"}}]
    return {"model": "claude", "max_tokens": 1000, "system": system, "messages": messages, "metadata": {"user_id": "7"}}


def responses_run() -> dict[str, Any]:
    return {
        "model": "gpt-5",
        "instructions": PROSE,
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": PROSE}, {"type": "input_image", "image_url": PROSE}],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA" * 99},
            {"type": "function_call", "call_id": "c1", "name": "read", "arguments": json.dumps({"note": PROSE})},
            {"type": "function_call_output", "call_id": "c1", "output": PROSE},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": PROSE, "annotations": []}],
            },
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": PROSE}]},
            {"role": "user", "content": PROSE},
        ],
    }


def shortened(result: ChatResult) -> list[str]:
    return [receipt.path for receipt in result.receipts if receipt.tokens_out < receipt.tokens_in]


def test_an_openai_run() -> None:
    result, chat = run(openai_run())
    assert shortened(result) == [
        f"messages[{n}].content{part}" for n, part in ((2, "[0].text"), (4, ""), (6, ""), (8, ""))
    ]
    assert result.messages == 11
    assert result.compressed == 4
    assert chat["messages"][4]["content"] == every_second(CODE, None).compressed
    check(json.dumps(openai_run()), result)


def test_an_anthropic_run() -> None:
    result, chat = run(anthropic_run())
    assert shortened(result) == [
        "messages[0].content[0].source.data",
        "messages[0].content[2].text",
        "messages[1].content[2].text",
        "messages[2].content[0].content",
        "messages[3].content[2].text",
        "messages[4].content[0].content[0].text",
    ]
    assert chat["messages"][0]["content"][2]["cache_control"] == {"type": "ephemeral"}
    check(json.dumps(anthropic_run()), result)


def test_the_items_of_responses() -> None:
    result, _ = run(responses_run(), keep_last=1)
    assert shortened(result) == [
        "input[0].content[0].text",
        "input[3].output",
        "input[4].content[0].text",
        "input[5].output[0].text",
    ]
    check(json.dumps(responses_run()), result)


def test_a_bare_list_of_messages() -> None:
    result, chat = run([{"role": "user", "content": PROSE}, {"role": "assistant", "content": PROSE}], keep_last=0)
    assert shortened(result) == ["[0].content", "[1].content"]
    assert chat[0]["content"] == every_second(PROSE, None).compressed


@pytest.mark.parametrize("keep_last", range(6))
@pytest.mark.parametrize("make", [openai_run, anthropic_run])
def test_the_last_turns_stay(make: Callable[[], dict[str, Any]], keep_last: int) -> None:
    """A turn begins where the user says something, and with each answer to tool results."""
    before = make()
    _, after = run(before, keep_last=keep_last)
    begins = {"openai": [2, 5, 7, 9, 10], "anthropic": [0, 3, 5, 7]}[make.__name__.removesuffix("_run")]
    first = begins[-keep_last] if 0 < keep_last <= len(begins) else begins[0] if keep_last else len(before["messages"])
    assert after["messages"][first:] == before["messages"][first:]
    assert (after["messages"] != before["messages"]) == (keep_last < len(begins))
    if 0 < keep_last < len(begins):
        assert after["messages"][:first] != before["messages"][:first]


def test_a_turn_may_hold_results_and_a_word_of_the_user() -> None:
    both = [{"type": "tool_result", "tool_use_id": "t", "content": PROSE}, {"type": "text", "text": PROSE}]
    chat = [
        {"role": "user", "content": PROSE},
        {"role": "user", "content": both},
        {"role": "assistant", "content": PROSE},
    ]
    assert shortened(run(chat, keep_last=1)[0]) == ["[0].content"]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": PROSE},
        {"role": "developer", "content": [{"type": "text", "text": PROSE}]},
        {"role": "assistant", "content": None, "refusal": PROSE, "name": PROSE},
        {"role": "assistant", "content": PROSE, "annotations": [{"start_index": 4, "end_index": 9}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": PROSE}},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": PROSE}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": PROSE}}]},
        {
            "role": "user",
            "content": [
                {"type": "document", "source": {"type": "text", "data": PROSE}, "citations": {"enabled": True}}
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": PROSE, "citations": [{"start_char_index": 3}]}]},
        {"role": "assistant", "content": [{"type": "server_tool_use", "text": PROSE, "input": {}}]},
        {"role": "user", "content": [{"type": "not known yet", "text": PROSE, "content": PROSE}, {"text": PROSE}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        {"role": "user", "content": "  \n" * 99},
        {"role": "user", "content": []},
    ],
)
def test_these_stay(message: dict[str, Any]) -> None:
    chat = {"messages": [message, {"role": "user", "content": "Well?"}]}
    result, after = run(chat, keep_last=0)
    assert after == chat
    assert (result.compressed, result.receipts) == (0, ())
    assert result.warnings[0].startswith("no long content outside of system messages")


def test_short_contents_are_left_alone_unless_the_budget_needs_them() -> None:
    short = "Bring the old ladder to the bridge, please, before the rain begins."
    assert count(short) < SHORT
    chat = [{"role": "user", "content": short}, {"role": "assistant", "content": PROSE}] * 6
    result, after = run(chat, keep_last=0)
    assert {message["content"] for message in after[::2]} == {short}
    assert result.compressed == len(result.receipts) == 6
    fixed = count(json.dumps([{**message, "content": ""} for message in chat], separators=(",", ":")))
    result, after = run(chat, fixed + 12 * 4, keep_last=0)
    assert all(len(message["content"]) < len(short) for message in after)


def test_what_is_written_differently_means_the_same() -> None:
    text = (
        '{"b": 1.50, "a": [1e3, -0, 12345678901234567890.10], "u": "caf\\u00e9 \\/ \\ud83d\\ude00 \\ud800 \\u0000", '
        f'"messages" : [ {{"role":"user", "n":0.10, "content":{json.dumps(PROSE)}}} ], "z": [ {{ }}, null,true ]}}\r\n'
    )
    result, _ = run(text, keep_last=0)
    start = '{"b":1.50,"a":[1e3,-0,12345678901234567890.10],"u":"café / 😀 \\ud800 \\u0000","messages":'
    assert result.text.startswith(start + '[{"role":"user","n":0.10,"content":"The of')
    assert result.text.endswith('],"z":[{},null,true]}\n')


def test_numbers_in_contents_are_text() -> None:
    chat = [{"role": "user", "content": [{"type": "text", "text": "7 " * 90}]}, {"role": "user", "content": "12"}]
    _, after = run(chat, keep_last=0)
    assert after[0]["content"][0]["text"] == "7 " * 44 + "7"
    assert after[1]["content"] == "12"


def test_warnings_say_where() -> None:
    result, _ = run(openai_run())
    assert result.warnings == ("messages[2].content[0].text: 2 words went (and 3 more like it)",)
    assert {receipt.warnings for receipt in result.receipts} == {("2 words went",)}


def test_what_is_within_the_budget_stays() -> None:
    text = json.dumps(openai_run(), indent=1)
    result, _ = run(text, count(text))
    assert (result.text, result.compressed, result.warnings) == (text, 0, ("already within the budget",))
    minified = json.dumps(openai_run(), separators=(",", ":"), ensure_ascii=False)
    result, after = run(text, count(minified))
    assert (result.text, result.compressed) == (minified, 0)
    assert after == openai_run()


def test_nothing_to_gain() -> None:
    text = '{"messages":[{"role":"user","content":"Good morning"}]}'
    result, _ = run(text)
    assert result.text is text
    assert result.warnings[-1] == "nothing to gain: left as it is"


# --- what is no chat


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        ("{", "the chat is no JSON: Expecting property name"),
        ("", "the chat is no JSON"),
        ("7", "the chat: a list of messages is needed, this is a number"),
        ("{}", "the chat has no messages"),
        ("[]", "the chat has no messages"),
        ('{"messages": []}', "the chat has no messages"),
        ('{"messages": {}}', "messages: a list of messages is needed, this is an object"),
        ('{"input": "Hello"}', "the chat has no messages"),
        ('{"messages": [], "messages": []}', "the chat is ambiguous: an object has a key twice"),
        ("[" * 100_000, "the chat is nested too deeply|the chat is no JSON"),
        ({"messages": [3]}, r"messages\[0\]: a message is an object, this is a number"),
        ([{"role": "user"}, {"content": "Yes"}], r"\[1\].role: a message needs one, this is missing"),
        ({"messages": [{"type": "function_call"}]}, r"messages\[0\].role: a message needs one, this is missing"),
        ({"messages": [{"role": 3, "content": ""}]}, r"messages\[0\].role: a message needs one, this is a number"),
        ({"messages": [{"role": "", "content": ""}]}, r"messages\[0\].role: a message needs one, this is empty"),
        (
            {"messages": [{"role": "user", "content": "Yes"}, {"role": "user", "content": 3}]},
            r"messages\[1\].content: text, a list of blocks or null is needed, this is a number",
        ),
        ({"messages": [{"role": "system", "content": True}]}, r"messages\[0\].content: .* this is a boolean"),
        (
            {"messages": [{"role": "user", "content": ["Yes"]}]},
            r"messages\[0\].content\[0\]: a block is an object, this is text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            r"messages\[0\].content\[0\].text: text is needed",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 1}]}]},
            r"messages\[0\].content\[0\].content: text, a list of blocks or null is needed, this is a number",
        ),
    ],
)
def test_what_is_no_chat_is_named(chat: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(chat)


def test_less_than_no_turn() -> None:
    with pytest.raises(UsageError, match=r"--keep-last -1"):
        compress(json.dumps(openai_run()), chat=True, keep_last=-1)


# --- any chat, any budget

texts = st.one_of(
    st.integers(0, 60).map(lambda n: PROSE[: 5 * n]),
    st.integers(1, 6).map(lambda n: CODE[: 60 * n]),
    st.integers(1, 30).map(lambda n: LOG[: 40 * n]),
    st.integers(1, 20).map(lambda n: "\n".join(['a "b"\\c\td'] * n)),
    st.just(ROWS),
    st.text(max_size=40),
)
blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(lambda text: {"type": "tool_result", "tool_use_id": "t", "content": text}, st.one_of(texts, st.none())),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, texts),
    st.builds(lambda text: {"type": "tool_use", "id": "t", "input": {"text": text}}, texts),
)
roles = st.sampled_from(["system", "user", "user", "assistant", "assistant", "tool", "tool"])
contents = st.one_of(st.none(), texts, texts, st.lists(blocks, max_size=4))
message = st.builds(lambda role, content: {"role": role, "content": content}, roles, contents)
messages = st.lists(message, min_size=1, max_size=12)
chats = st.one_of(messages, messages.map(lambda found: {"model": "m", "top_p": 0.10, "messages": found}))


def check(before: str, result: ChatResult) -> None:
    """Nothing differs but the contents that the receipts say, and these got shorter."""
    places = Counter(differing(json.loads(before), json.loads(result.text), ""))
    assert set(places) == set(shortened(result))
    assert len(places) == result.compressed
    assert count(result.text) <= count(before)


def differing(a: Any, b: Any, path: str) -> Iterator[str]:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            yield from differing(a[key], b[key], f"{path}.{key}" if path else key)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for n, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differing(x, y, f"{path}[{n}]")
    elif a != b:
        assert isinstance(a, str)
        yield path


@settings(max_examples=100)
@given(chat=chats, keep_last=st.integers(0, 3))
def test_nothing_but_contents_changes(chat: Any, keep_last: int) -> None:
    text = json.dumps(chat)
    result, _ = run(text, keep_last=keep_last)
    check(text, result)
    assert run(text, keep_last=keep_last)[0] == result


@settings(max_examples=200)
@given(chat=chats, share=st.floats(0.05, 1.0), keep_last=st.integers(0, 2))
def test_a_budget_is_never_exceeded(chat: Any, share: float, keep_last: int) -> None:
    text = json.dumps(chat)
    budget = max(int(share * count(text)), 1)
    calls: Counter[str] = Counter()

    def counted(content: str, most: int | None) -> Receipt:
        calls[content] += 1
        return every_second(content, most)

    try:
        result, _ = run(text, budget, keep_last, counted)
    except BudgetTooSmallError as exc:
        assert exc.tokens_needed > budget
        assert str(exc.tokens_needed) in str(exc)
        result, _ = run(text, exc.tokens_needed, keep_last)
        assert count(result.text) <= exc.tokens_needed
        check(text, result)
        with pytest.raises(BudgetTooSmallError):
            run(text, min(budget, exc.tokens_needed - 1), keep_last)
        return
    assert count(result.text) <= budget
    check(text, result)
    same = Counter(str(content) for content in strings(chat))  # a text that stands twice is asked for twice
    assert all(number <= 6 * same[content] for content, number in calls.items())


def strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from strings(part)


@settings(max_examples=30)
@given(st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_chat_or_an_error(text: str) -> None:
    for chat in (text, f'{{"messages": [{text}]}}', f'[{{"role": "user", "content": [{text}]}}]'):
        try:
            run(chat)
        except UsageError:
            continue


# --- sharing out


def conversation(texts: list[str]) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_the_budget_is_used() -> None:
    chat = conversation([PROSE * 3, LOG, PROSE, PROSE * 2, "Yes.", PROSE])
    whole = count(json.dumps(chat, separators=(",", ":"), ensure_ascii=False))
    for share in (0.3, 0.35, 0.4, 0.45):
        result, _ = run(chat, int(share * whole), keep_last=0)
        assert count(result.text) >= 0.93 * int(share * whole)


def test_newer_turns_get_more() -> None:
    texts = [f"Letter {n}. " + PROSE for n in range(40)]
    result, _ = run(conversation(texts), int(0.4 * count(json.dumps(conversation(texts)))), keep_last=0)
    rates = [receipt.tokens_out / receipt.tokens_in for receipt in result.receipts]
    first, last = sum(rates[:8]) / 8, sum(rates[-8:]) / 8
    assert 1.3 * first < last < 2.2 * first


def test_what_cannot_shrink_takes_what_it_needs_from_the_others() -> None:
    chat = conversation([CODE, PROSE * 4, ROWS, PROSE * 4])
    budget = int(0.6 * count(json.dumps(chat)))
    result, after = run(chat, budget, keep_last=0)
    assert after[0]["content"] == every_second(CODE, None).compressed
    assert after[2]["content"] == every_second(ROWS, None).compressed
    prose = [receipt for receipt in result.receipts if receipt.engine == "second"]
    assert len(prose) == 2
    assert all(receipt.tokens_out < 0.5 * receipt.tokens_in for receipt in prose)


def test_a_budget_that_cannot_be_met_says_what_stays() -> None:
    with pytest.raises(BudgetTooSmallError, match="the chat takes at least") as caught:
        run(anthropic_run(), 100)
    assert caught.value.exit_code == 100
    assert "less than --keep-last 2 would leave fewer" in str(caught.value.hint)
    assert run(anthropic_run(), caught.value.tokens_needed)[0].compressed > 0


# --- with the real engines


@pytest.mark.parametrize("make", [openai_run, anthropic_run])
def test_the_real_engines_by_default(make: Callable[[int], dict[str, Any]]) -> None:
    chat = make(6)
    result, after = run(chat, compressor=real)
    check(json.dumps(chat), result)
    engines = {receipt.engine for receipt in result.receipts}
    assert {"prose", "code", "json"} <= engines
    assert count(result.text) < 0.9 * count(json.dumps(chat, separators=(",", ":"), ensure_ascii=False))
    assert "def size_7(path):" in result.text
    assert after["messages"][-2:] == chat["messages"][-2:]


@pytest.mark.parametrize("make", [openai_run, anthropic_run])
def test_the_real_engines_within_a_budget(make: Callable[[int], dict[str, Any]]) -> None:
    chat = make(4)
    whole = count(json.dumps(chat, separators=(",", ":"), ensure_ascii=False))
    met = 0
    for share in (0.75, 0.1):
        budget = int(share * whole)
        try:
            result, _ = run(chat, budget, compressor=real)
            met += 1
        except BudgetTooSmallError as exc:
            budget = exc.tokens_needed
            assert budget > share * whole
            result, _ = run(chat, budget, compressor=real)
        assert count(result.text) <= budget
        check(json.dumps(chat), result)
    assert met


@settings(max_examples=8)
@given(chat=chats, share=st.floats(0.3, 0.9))
def test_any_chat_with_the_real_engines(chat: Any, share: float) -> None:
    text = json.dumps(chat)
    assume(count(text) > 60)
    budget = int(share * count(text))
    try:
        result, _ = run(text, budget, 0, real)
    except BudgetTooSmallError as exc:
        budget = exc.tokens_needed
        result, _ = run(text, budget, 0, real)
    assert count(result.text) <= budget
    check(text, result)


# --- what `compress` says of a chat

SAID = 'He said "no\nmore than 12 tonnes" in caf\u00e9 \U0001f600 7, and it must not be opened before 3 March 2020. '


def said(ensure_ascii: bool) -> str:
    chat = {"model": "7 of 9", "messages": [{"role": "system", "content": "Never open 5 bridges."}]}
    chat["messages"] += [
        {"role": ("user", "assistant")[n % 2], "content": SAID * 4 + f"{n + 20} men"} for n in range(8)
    ]  # type: ignore[operator]
    return json.dumps(chat, ensure_ascii=ensure_ascii, indent=1)


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_facts_are_those_of_the_contents_at_their_places_in_the_json(ensure_ascii: bool) -> None:
    text = said(ensure_ascii)
    receipt = compress(text, chat=True)
    assert receipt.engine == "chat"
    assert [fact.start for fact in receipt.facts] == sorted(fact.start for fact in receipt.facts)
    for fact in receipt.facts:
        assert json.loads(f'"{text[fact.start : fact.end]}"') == fact.text
    found = Counter(fact.text for fact in receipt.facts)
    assert found["7"] == 32 and found["3 March 2020"] == 32
    assert found['"no\nmore than 12 tonnes"'] == 0  # a quotation ends with its line
    assert sum("Never open" in told for told in found) == 1
    assert not any("7 of 9" in told or "role" in told or "u00e9" in told or told.startswith("nmore") for told in found)


def test_facts_of_a_chat_are_lost_where_its_contents_lose_them() -> None:
    receipt = compress(said(True), chat=True, protect="none", rate=0.4)
    lost = [fact for fact in receipt.facts if fact.status == "lost"]
    assert lost and receipt.fidelity < 1
    newest = said(True).rindex('"content"')
    assert not any(fact.start > newest for fact in lost)
    assert compress(said(True), chat=True, keep_last=9).fidelity == 1


def test_the_reason_of_a_content_is_that_of_any_text() -> None:
    chat = json.dumps([{"role": "user", "content": text} for text in (PROSE * 2, CODE, ROWS, PROSE)])
    blocks = compress(chat, chat=True, keep_last=1).blocks
    assert [block.why for block in blocks] == [compress(text).why for text in (PROSE * 2, CODE, ROWS)]


def test_the_first_turns_stay() -> None:
    chat = openai_run()
    for first, begins in enumerate([2, 5, 7, 9, 10]):
        after = json.loads(compress(json.dumps(chat), chat=True, keep_last=0, keep_first=first).compressed)
        assert after["messages"][:begins] == chat["messages"][:begins]
        assert after["messages"] != chat["messages"]
    receipt = compress(json.dumps(chat), chat=True, keep_first=5)
    assert json.loads(receipt.compressed) == chat
    assert "no long content outside of system messages and of what --keep-first 5 and --keep-last 2 keeps" in (
        receipt.warnings
    )


@pytest.mark.parametrize("make", [openai_run, anthropic_run, responses_run])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_prefix_of_the_chat_stays_to_the_byte(make: Callable[[], Any], indent: int | None, mark: str) -> None:
    chat = make()
    text = mark + json.dumps({"seed": 1.50, "big": int("9" * 50), **chat}, indent=indent)
    key = "input" if "input" in chat else "messages"
    whole = count(json.dumps(chat))
    for prefix in (1, whole // 4, whole // 2):
        receipt = compress(text, chat=True, keep_last=0, stable_prefix=prefix)
        covered = 0
        while sum(count(said) for message in chat[key][:covered] for said in strings(message)) < prefix:
            covered += 1
        assert receipt.compressed.startswith(text[: message_end(text, key, covered)])
        assert json.loads(receipt.compressed.removeprefix("\ufeff"))["big"] == int("9" * 50)
        assert receipt.tokens_out < receipt.tokens_in or prefix > 1


@settings(max_examples=60)
@given(chat=chats, prefix=st.integers(0, 400), first=st.integers(0, 3), indent=st.sampled_from([None, 1]))
def test_any_chat_with_a_prefix(chat: Any, prefix: int, first: int, indent: int | None) -> None:
    text = json.dumps(chat, indent=indent)
    kept = Kept(first=first, prefix=prefix)
    result = compress_chat(text, budget=None, kept=kept, count=count, compress_text=every_second)
    check(text, result)
    messages = chat if isinstance(chat, list) else chat["messages"]
    after = json.loads(result.text)
    tokens = 0
    for before, now in zip(messages, after if isinstance(after, list) else after["messages"], strict=True):
        if tokens >= prefix:
            break
        assert now == before
        tokens += sum(map(count, strings(before)))


def test_contents_that_stand_in_another_order() -> None:
    chat = {"messages": [{"role": "user", "output": CODE, "content": PROSE}]}
    result, after = run(chat, keep_last=0)
    assert after["messages"][0]["output"] == every_second(CODE, None).compressed
    assert after["messages"][0]["content"] == every_second(PROSE, None).compressed
    check(json.dumps(chat), result)
