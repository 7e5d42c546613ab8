"""Ask Claude about a long document, and send the document compressed.

    $ python examples/claude_context.py "Why are labels not kept in stock?" configs/samples/transcript.txt
    ...
    about 999 -> 504 tokens, 49.5% saved, 117 of 120 facts kept
    lost: ...
    claude-haiku-5-5 counts ... tokens in, ... out

The answer goes to stdout, the rest to stderr. The SDK takes ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL, and retries by
itself. Without `query` the document is the same for every question, so that a prompt cache hits.
"""

from __future__ import annotations

import argparse
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
    parser = argparse.ArgumentParser(description="Ask Claude about a long document, and send it compressed.")
    parser.add_argument("question")
    parser.add_argument("document", type=Path, help="a text file; - is stdin")
    parser.add_argument("--rate", type=float, help="keep at most this share, whatever is lost; default: about half")
    parser.add_argument("--model", default="claude-haiku-5-5", help="default %(default)s")
    args = parser.parse_args(argv)
    try:
        import anthropic
    except ModuleNotFoundError as exc:
        fail(f"{exc}: pip install 'compressor-cli[providers]'", 2)
    try:
        with anthropic.Anthropic() as claude:
            if not (claude.api_key or claude.auth_token or claude.credentials):
                fail("there is no key: set ANTHROPIC_API_KEY", 2)
            text, question = read_text(args.document), args.question
            receipt = compress(text, query=question, rate=args.rate, allow_loss=bool(args.rate), tokenizer="claude")
            prompt = f"<document>\n{receipt.compressed}\n</document>\n\n{question}"
            message = claude.messages.create(
                model=args.model, max_tokens=4096, system=SYSTEM, messages=[{"role": "user", "content": prompt}]
            )
    except SccError as exc:
        fail(exc, exc.exit_code)
    except anthropic.AnthropicError as exc:
        fail(exc)
    print("".join(block.text for block in message.content if block.type == "text"))
    counted = f"{message.usage.input_tokens} tokens in, {message.usage.output_tokens} out"
    lost = [repr(fact.text) for fact in receipt.facts if fact.status != "kept"]
    saved = f"about {receipt.tokens_in} -> {receipt.tokens_out} tokens, {receipt.savings:.1%} saved"
    print(f"{saved}, {len(receipt.facts) - len(lost)} of {len(receipt.facts)} facts kept", file=sys.stderr)
    for told in ([f"lost: {', '.join(lost)}"] if lost else []) + [f"note: {text}" for text in receipt.warnings]:
        print(told, file=sys.stderr)
    print(f"{message.model} counts {counted}", file=sys.stderr)
    if message.stop_reason != "end_turn":
        print(f"the answer is not whole: {message.stop_reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
