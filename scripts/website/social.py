"""The picture that other sites show beside a link: the site's mark on its paper, drawn without an image library.

Rectangles alone, so that a palette, some rows of bytes and zlib make the whole PNG.
"""

import zlib
from struct import pack

SOCIAL_HREF = "assets/social.png"
WIDTH, HEIGHT = 1200, 630
"""In pixels, the proportion that previews are cut to."""

PAPER, TEAL, RUST, RULE = range(4)
PALETTE = (0xFDFCF9, 0x0A5C64, 0xA93F26, 0xE3DFD5)

_UNIT = 21
"""Pixels of one unit of the mark in site/theme/partials/header.html, whose box is 24 units wide."""

_LEFT, _TOP = (WIDTH - 22 * _UNIT) // 2 - 2 * _UNIT, (HEIGHT - 20 * _UNIT) // 2 - 2 * _UNIT
MARK = ((2, 5, 13, 3, TEAL), (2, 10.5, 9, 3, TEAL), (2, 16, 5, 3, TEAL), (19, 2, 2, 20, RUST))
"""x, y, width, height in units, and colour: three bars that shrink beside a limit."""


def social_image() -> bytes:
    """The picture as a PNG."""
    rows = [bytearray(WIDTH) for _ in range(HEIGHT)]
    _fill(rows, 0, HEIGHT - 24, WIDTH, 24, RULE)
    for x, y, width, height, colour in MARK:
        _fill(rows, _LEFT + round(x * _UNIT), _TOP + round(y * _UNIT), width * _UNIT, height * _UNIT, colour)
    data = b"".join(b"\0" + row for row in rows)  # each row names its filter; 0 is none
    header = pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)  # 8 bits a pixel, by palette
    palette = b"".join(colour.to_bytes(3, "big") for colour in PALETTE)
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _fill(rows: list[bytearray], x: int, y: int, width: int, height: int, colour: int) -> None:
    for row in rows[y : y + height]:
        row[x : x + width] = bytes([colour]) * width


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))
