"""A tiny Qwen3 with random weights, and its tokenizer, in the layout of the hub: for transformers and mlx-lm alike.

The templates are those of Qwen3 (2025) without what no test needs. `THINKING` is that of Qwen3-8B: it writes an empty
think block into the last answer, and drops blocks from earlier ones. `PLAIN` is that of Qwen3-4B-Instruct-2507.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Tokens of their own in Qwen3's vocabulary, yet text that a message may hold.
MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")

# How Qwen cuts text before it looks for tokens: newlines in a row are one piece, whatever follows.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_SYSTEM = r"""
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}
  {{- '<|im_start|>system\n' + (system + '\n\n' if system else '') + '# Tools\n<tools>' }}
  {%- for tool in tools %}{{- '\n' + tool | tojson }}{%- endfor %}
  {{- '\n</tools><|im_end|>\n' }}
{%- elif system %}
  {{- '<|im_start|>system\n' + system + '<|im_end|>\n' }}
{%- endif %}
"""
_LAST_QUERY = r"""
{%- set ns = namespace(last_query=messages|length - 1, found=false) %}
{%- for message in messages[::-1] %}
  {%- if not ns.found and message.role == 'user' %}
    {%- set ns.found = true %}
    {%- set ns.last_query = messages|length - 1 - loop.index0 %}
  {%- endif %}
{%- endfor %}
"""
_ANSWER_WITH_THOUGHT = r"""
    {%- set thought = '' %}
    {%- if '</think>' in content %}
      {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
      {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {%- if loop.index0 > ns.last_query and (loop.last or thought) %}
      {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
    {%- else %}{{- content }}{%- endif %}
"""
_MESSAGES = r"""
{%- for message in messages %}
  {%- set content = message.content %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant\n' }}
    ANSWER
    {%- for call in message.tool_calls or [] %}
      {{- '\n' if content or not loop.first else '' }}
      {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
      {%- set arguments = call.function.arguments %}
      {{- (arguments if arguments is string else arguments | tojson) + '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- elif message.role == 'tool' %}
    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\n<tool_response>\n' + content + '\n</tool_response>' }}
    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
"""
_NO_THINKING = r"""
  {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
"""
THINKING = _SYSTEM + _LAST_QUERY + _MESSAGES.replace("ANSWER", _ANSWER_WITH_THOUGHT) + _NO_THINKING + "{%- endif %}"
PLAIN = _SYSTEM + _MESSAGES.replace("ANSWER", "{{- content }}") + "{%- endif %}"

_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Compress: label: value | a -> b, c @ 2024 x\n\n\n",
    "\n\n",
) * 20


def make_tokenizer(
    folder: Path,
    texts: Iterable[str] = _TEXTS,
    *,
    template: str | None = PLAIN,
    marks: Iterable[str] = MARKS,
    vocabulary: int = 2048,
) -> Path:
    """A byte-level BPE, so that any text comes back from its tokens. Returns `folder`."""
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(_PIECES), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=alphabet, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator([*texts, *_TEXTS], trainer)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "model_max_length": 4096, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config | ({"chat_template": template} if template else {}))
    )
    return folder


def make_model(folder: Path, texts: Iterable[str] = _TEXTS, *, template: str = PLAIN, seed: int = 0) -> Path:
    """Weights of a scale that learns within a hundred steps; what transformers draws is for wider models."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(make_tokenizer(folder, texts, template=template))
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64, hidden_size=64, intermediate_size=192, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim == 2:
                weights.normal_(std=0.25 if "embed" in name else weights.shape[1] ** -0.5)
    model.save_pretrained(folder)
    return folder
