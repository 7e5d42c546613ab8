"""Ask an OpenAI model about a long document, or go on with a long chat, and send either compressed.

    $ python examples/openai_context.py "Why are labels not kept in stock?" configs/samples/transcript.txt
    ...
    999 -> 504 tokens, 49.5% saved, 117 of 120 facts kept
    lost: ...
    gpt-5.4-mini counts ... tokens in, ... out
    $ python examples/openai_context.py --chat "Now write the tests." messages.json

The answer goes to stdout, the rest to stderr. The SDK takes OPENAI_API_KEY and OPENAI_BASE_URL, and retries by itself.
With --chat the file is an agent's {"messages": [...]}; its system message and last two turns stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import NoReturn

from compressor_cli import compress
from compressor_cli.core.text_input import read_text
from compressor_cli.errors import SccError

SYSTEM = "Answer from the document. Words and sentences of it are left out; say so where the answer is not in it."


def fail(error: object, exit_code: int = 1) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(exit_code)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Ask an OpenAI model, and send the long context compressed.")
    parser.add_argument("question")
    parser.add_argument("context", type=Path, help="a text file; - is stdin")
    parser.add_argument("--chat", action="store_true", help='the file is {"messages": [...]}, the chat so far')
    parser.add_argument("--rate", type=float, help="keep at most this share, whatever is lost; default: about half")
    parser.add_argument("--model", default="gpt-5.4-mini", help="default %(default)s")
    args = parser.parse_args(argv)
    try:
        import openai
    except ModuleNotFoundError as exc:
        fail(f"{exc}: pip install 'compressor-cli[providers]'", 2)
    try:
        client = openai.OpenAI()
    except openai.OpenAIError as exc:
        fail(exc, 2)  # there is no key, and it says which variable to set
    try:
        with client:
            text, chat, question = read_text(args.context), args.chat, args.question
            receipt = compress(text, query=question, rate=args.rate, allow_loss=bool(args.rate), chat=chat)
            prompt = question if chat else f"<document>\n{receipt.compressed}\n</document>\n\n{question}"
            before = json.loads(receipt.compressed)["messages"] if chat else [{"role": "system", "content": SYSTEM}]
            messages = [*before, {"role": "user", "content": prompt}]
            completion = client.chat.completions.create(model=args.model, messages=messages)
    except SccError as exc:
        fail(exc, exc.exit_code)
    except openai.OpenAIError as exc:
        fail(exc)
    choice, usage = completion.choices[0], completion.usage
    print(choice.message.content or choice.message.refusal or "")
    counted = f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out" if usage else "no tokens"
    lost = [repr(fact.text) for fact in receipt.facts if fact.status != "kept"]
    saved = f"{receipt.tokens_in} -> {receipt.tokens_out} tokens, {receipt.savings:.1%} saved"
    print(f"{saved}, {len(receipt.facts) - len(lost)} of {len(receipt.facts)} facts kept", file=sys.stderr)
    for told in ([f"lost: {', '.join(lost)}"] if lost else []) + [f"note: {text}" for text in receipt.warnings]:
        print(told, file=sys.stderr)
    print(f"{completion.model} counts {counted}", file=sys.stderr)
    if choice.finish_reason != "stop":
        print(f"the answer is not whole: {choice.finish_reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
