"""A map gives the original back from the compressed text: the difference between the two, and a hash of each.

The file, with numbers in big-endian order:

    4 bytes   89 73 63 6d
    1         version of the format
    1         method: 0 both texts are the same, 1 zstd, 2 words of UTF-8, 3 words of Latin-1
    16        begin of the SHA-256 of the compressed text
    16        begin of the SHA-256 of the original
    4         bytes of the original
    the rest  what the method needs

Half a hash is enough against mistakes; against malice none would do, since who changes a map can change its hashes.
Zstd has the compressed text as its dictionary, and takes any bytes; words (`map_difference`) are smaller for most
texts. The smaller is taken.
"""

from __future__ import annotations

import hashlib
import io
import struct
from typing import TYPE_CHECKING

from compressor_cli.core.map_difference import read_difference, write_difference
from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    from zstandard import ZstdCompressionDict

VERSION = 1
LARGEST = 1 << 28  # bytes of an original: a map that says more is not believed

_MAGIC = b"\x89scm"
_HEAD = struct.Struct(">4sBB16s16sI")
_SAME, _ZSTD, _UTF8, _LATIN1 = range(4)
_CODECS = {_UTF8: "utf-8", _LATIN1: "latin-1"}
_LEVEL = 19
_WINDOW = 1 << 23  # what the level uses at most; a frame that asks for more memory was not written here
_CHUNK = 1 << 16


def make_map(original: bytes, compressed: bytes) -> bytes:
    """Same bytes, same map. Any two byte strings will do; the more of one is in the other, the smaller the map.

    Raises UsageError for an original above `LARGEST` bytes.
    """
    if len(original) > LARGEST:
        raise UsageError(
            f"the text has {len(original):,} bytes, a map takes at most {LARGEST:,}", hint="compress it in parts"
        )
    method, payload = _difference(original, compressed)
    return _HEAD.pack(_MAGIC, VERSION, method, _hash(compressed), _hash(original), len(original)) + payload


def apply_map(compressed: bytes, map_: bytes) -> bytes:
    """The original, exactly.

    Raises UsageError for what is no map, is damaged, was written by a later version or for another text.
    """
    if map_[: len(_MAGIC)] != _MAGIC[: len(map_)] or not map_:
        raise UsageError("this is not a map", hint="scc compress --map FILE writes one")
    if len(map_) > len(_MAGIC) and map_[len(_MAGIC)] > VERSION:
        raise UsageError(
            f"the map has version {map_[len(_MAGIC)]} of the format, this scc reads version {VERSION}",
            hint="a newer compressor-cli reads it",
        )
    if len(map_) < _HEAD.size:
        raise _damaged("it ends too early")
    _, version, method, compressed_hash, original_hash, size = _HEAD.unpack_from(map_)
    if version != VERSION or method > _LATIN1:
        raise _damaged("its header says nothing known")
    if compressed_hash != _hash(compressed):
        raise UsageError(
            "the map belongs to another text",
            hint="it needs the compressed text as it was written, byte for byte, with or without a newline at its end",
        )
    if size > LARGEST:
        raise _damaged(f"it claims {size:,} bytes")
    try:
        original = _restore(compressed, method, map_[_HEAD.size :], size)
    except ValueError as exc:
        raise _damaged(str(exc)) from None
    if len(original) != size or original_hash != _hash(original):
        raise _damaged("its text has another hash")
    return original


def _damaged(why: str) -> UsageError:
    return UsageError(f"the map is damaged: {why}", hint="take another copy of it, or make it again from the original")


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _difference(original: bytes, compressed: bytes) -> tuple[int, bytes]:
    if original == compressed:
        return _SAME, b""
    packed = _pack(original, compressed)
    for method, codec in _CODECS.items():
        try:
            text, short = original.decode(codec), compressed.decode(codec)
        except UnicodeDecodeError:
            continue
        words = write_difference(text, short, most=len(packed) - 1)
        return (_ZSTD, packed) if words is None else (method, words)
    raise AssertionError("every byte is a character of Latin-1")


def _restore(compressed: bytes, method: int, payload: bytes, size: int) -> bytes:
    """Raises ValueError for what cannot be read; never makes much more than `size` bytes."""
    if method == _SAME:
        return compressed
    if method == _ZSTD:
        return _unpack(payload, compressed, size)
    codec = _CODECS[method]
    return read_difference(payload, compressed.decode(codec), limit=size).encode(codec)


def _dictionary(compressed: bytes) -> ZstdCompressionDict | None:
    import zstandard

    raw = zstandard.DICT_TYPE_RAWCONTENT
    return zstandard.ZstdCompressionDict(compressed, dict_type=raw) if compressed else None


def _pack(original: bytes, compressed: bytes) -> bytes:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=len(original),
        dict_size=len(compressed),
        write_checksum=False,  # the header has hashes, and the size
        write_content_size=False,
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_dictionary(compressed))
    return compressor.compress(original)


def _unpack(payload: bytes, compressed: bytes, size: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(compressed), max_window_size=_WINDOW)
    original = io.BytesIO()
    try:
        with decompressor.stream_reader(payload) as reader:
            while original.tell() <= size and (chunk := reader.read(_CHUNK)):
                original.write(chunk)
    except zstandard.ZstdError as exc:
        raise ValueError(str(exc)) from None
    return original.getvalue()
