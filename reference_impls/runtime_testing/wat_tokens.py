"""Words, names and numbers of the text format."""

import re
import struct
from dataclasses import dataclass, field

Tree = str | list["Tree"]
_TOKEN = re.compile(r';;[^\n]*|\(;.*?;\)|[()]|"(?:[^"\\]|\\.)*"|[^\s()";]+', re.DOTALL)


class WatError(ValueError):
    """Text that is not of this format."""


@dataclass
class Names:
    """Names of one index space, in order."""

    found: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def add(self, name: str | None) -> int:
        """-> the index of what has this name, or none"""
        if name is not None:
            self.found[name] = self.count
        self.count += 1
        return self.count - 1

    def index(self, word: Tree) -> int:
        """A number, or a name that starts with $."""
        if not isinstance(word, str):
            raise WatError(f"expected an index, got {word}")
        if word.startswith("$"):
            if word not in self.found:
                raise WatError(f"unknown name {word}")
            return self.found[word]
        return int(word, 0)


def trees(text: str) -> list[Tree]:
    """Text to nested lists of words."""
    stack: list[list[Tree]] = [[]]
    for word in _TOKEN.findall(text):
        if word.startswith((";;", "(;")):
            continue
        if word == "(":
            stack.append([])
        elif word == ")":
            closed = stack.pop()
            if not stack:
                raise WatError("a ) too many")
            stack[-1].append(closed)
        else:
            stack[-1].append(word)
    if len(stack) != 1:
        raise WatError("a ) is missing")
    return stack[0]


def string(token: Tree) -> bytes:
    """A literal in quotation marks to its bytes."""
    if not isinstance(token, str) or not token.startswith('"'):
        raise WatError(f"expected a string, got {token}")
    escapes = {"n": b"\n", "t": b"\t", '"': b'"', "\\": b"\\"}
    parts = re.findall(rb"\\([0-9a-fA-F]{2}|[nt\"\\])|([^\\])", token[1:-1].encode(), re.DOTALL)
    return b"".join(
        plain or (escapes[escaped.decode()] if escaped.decode() in escapes else bytes([int(escaped, 16)]))
        for escaped, plain in parts
    )


def constant(tree: Tree) -> int:
    """(i32.const 5) to its raw bits."""
    if not isinstance(tree, list):
        raise WatError(f"expected a constant, got {tree}")
    return constant_bits(str(tree[0])[:3], str(tree[1]))


def constant_bits(type_: str, word: str) -> int:
    """A literal to the raw bits of its type. Floats: decimal, hexadecimal, inf, nan, nan:0x…"""
    bits = int(type_[1:])
    if type_[0] == "i":
        return int(word.replace("_", ""), 0) % (1 << bits)
    sign, plain = (1, word[1:]) if word[0] == "-" else (0, word.lstrip("+"))
    fraction = {32: 23, 64: 52}[bits]
    if plain.startswith("nan"):
        payload = int(plain[4:], 0) if ":" in plain else 1 << (fraction - 1)
        return sign << (bits - 1) | ((1 << (bits - 1 - fraction)) - 1) << fraction | payload
    value = float.fromhex(plain) if plain.startswith("0x") else float(plain)
    packed = struct.pack("<f" if bits == 32 else "<d", -value if sign else value)
    return int.from_bytes(packed, "little")


def vector_bits(words: list[Tree]) -> int:
    """Shape and lanes of a v128.const, taken from the front of the words, to its raw bits."""
    shape = str(words.pop(0))
    type_, lanes = shape.split("x")
    bits = int(type_[1:])
    values = [
        constant_bits(type_, str(words.pop(0))) if bits >= 32 else int(str(words.pop(0)), 0) for _ in range(int(lanes))
    ]
    return sum(value % (1 << bits) << (bits * place) for place, value in enumerate(values))
