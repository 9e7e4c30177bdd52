"""From a body's bytes as they were sent to JSON text in UTF-8: compression, byte order marks, character sets.

Pure functions over bytes. What the JSON means belongs to `decode.py`; called wherever an answer is read.
"""

import json
import zlib
from collections.abc import Mapping
from email.message import Message
from typing import Final

from velib_dagster.feed.values import Mends

LARGEST_BYTES: Final = 64 * 2**20
"""A body longer than this, unpacked, is cut: an answer of Vélib' has 0.6 MB."""

_GZIP: Final = b"\x1f\x8b"
_UTF_8_MARK: Final = b"\xef\xbb\xbf"
_LAYERS: Final = 3
_UNPACKERS: Final = {"gzip", "x-gzip", "deflate"}


def undone(body: bytes, content_encoding: str | None) -> tuple[bytes, bool]:
    """The body with its Content-Encoding undone, and whether it was whole; one that isn't encoded stays as it is."""
    whole = True
    for name in reversed((content_encoding or "").lower().split(",")):
        if name.strip() not in _UNPACKERS or not body:
            continue
        if _is_packed(body):
            body, whole = _unpacked(body, zlib.MAX_WBITS | 32)
        elif name.strip() == "deflate" and body.lstrip()[:1] not in {b"{", b"["}:
            raw, whole = _unpacked(body, -zlib.MAX_WBITS)  # as some servers do, without zlib's header
            body = raw or body
    return body, whole


def json_text(body: bytes, headers: Mapping[str, str], mends: Mends) -> tuple[bytes, bool]:
    """The body as UTF-8 text without a byte order mark, and whether it was whole.

    Compressed bytes are known by how they begin, whatever the headers say. The declared character set counts only where
    the bytes are no UTF-8, which JSON is by its standard; bytes that fit neither become the replacement character.
    """
    whole = True
    for _ in range(_LAYERS):
        if not whole or not _is_packed(body):
            break
        body, whole = _unpacked(body, zlib.MAX_WBITS | 32)
        mends["answer_compressed_unsaid"] += 1
    if body.startswith(_UTF_8_MARK):
        body = body.removeprefix(_UTF_8_MARK)
    encoding: str = json.detect_encoding(body[:4]) if len(body) > 1 else "utf-8"
    if encoding.startswith("utf-8"):
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            encoding = _declared(headers) or "utf-8"
            mends["answer_not_utf_8"] += 1
        else:
            return body, whole
    else:
        mends["answer_not_utf_8"] += 1
    text = body.decode(encoding, errors="replace").encode("utf-8", errors="replace")
    return text if text.strip() else body, whole


def _is_packed(body: bytes) -> bool:
    """Whether the bytes begin as gzip or zlib do; no JSON text begins so."""
    zlib_header = len(body) > 1 and body[0] == 0x78 and (body[0] * 256 + body[1]) % 31 == 0
    return body.startswith(_GZIP) or zlib_header


def _unpacked(body: bytes, bits: int) -> tuple[bytes, bool]:
    """What can be unpacked, at most `LARGEST_BYTES`, and whether that is all; several members follow each other."""
    found = bytearray()
    left = body
    while left:
        unpacker = zlib.decompressobj(bits)
        try:
            found += unpacker.decompress(left, LARGEST_BYTES - len(found))
        except zlib.error:
            # what follows a whole member and is none itself is padding; before that it is damage
            return bytes(found), left is not body
        if not unpacker.eof or len(found) >= LARGEST_BYTES:
            return bytes(found), unpacker.eof
        left = unpacker.unused_data.lstrip(b"\0")
    return bytes(found), True


def _declared(headers: Mapping[str, str]) -> str | None:
    """The character set that the Content-Type names, None where it names none that Python knows."""
    message = Message()
    message["content-type"] = headers.get("content-type", "")
    name = message.get_content_charset()
    try:
        b"[]".decode(name or "")
    except (LookupError, UnicodeError, ValueError):
        return None
    return name
