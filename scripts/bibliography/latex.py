"""LaTeX text to Unicode and back, as far as bibliographies use it."""

import re
import string

from pylatexenc.latex2text import LatexNodes2Text

_DECODER = LatexNodes2Text(math_mode="text", keep_comments=True, strict_latex_spaces=False)
_MARKS = string.punctuation
_ESCAPED = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_NAMED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_CODES = str.maketrans(_ESCAPED | _NAMED)
_SPECIAL = re.compile(r"[\\~^&%$#_{}`]|--|''")
_JOINING = re.compile(r"([-'`])(?=\1)|[?!](?=`)")
_INNER_CAPITAL = re.compile(r".[A-Z]")


def to_text(latex: str) -> str:
    """Accents, braces, dashes and simple mathematics as Unicode; runs of white space become one blank.

    >>> to_text(r"{GPTQ} for {\\"U}ber-large $k$-bit \\& 50\\% models")
    'GPTQ for Über-large k-bit & 50% models'
    """
    if not re.search(r"[\\{}$~%`']|--", latex):
        return " ".join(latex.split())
    # A bare % starts a comment in LaTeX and would swallow the rest; in a bibliography it means per cent.
    guarded = re.sub(r"(?<!\\)%", r"\\%", latex)
    # \textasciicircum comes back as the accent U+02C6.
    return " ".join(str(_DECODER.latex_to_text(guarded)).replace("\u02c6", "^").split())


def from_text(text: str) -> str:
    """Escape what LaTeX would take for a command; other characters stay Unicode."""
    if not _SPECIAL.search(text):  # nearly always
        return text
    # Two hyphens, quotes or a mark before a grave would join into one sign.
    return _JOINING.sub(r"\g<0>{}", text.translate(_CODES))


def protect(title: str) -> str:
    """Escape a title and brace the words whose capitals a bibliography style must keep: GPTQ, LLaMA, iPhone."""
    return " ".join(_protected(word) for word in title.split(" "))


def _protected(word: str) -> str:
    """A word in braces, without the punctuation at its ends, where a letter after its first is a capital."""
    if word.isalnum():
        return f"{{{word}}}" if _INNER_CAPITAL.search(word) else word
    core = word.strip(_MARKS)
    start, _, end = word.partition(core) if core else (word, "", "")
    braced = f"{{{from_text(core)}}}" if _INNER_CAPITAL.search(core) else from_text(core)
    return from_text(start) + braced + from_text(end)
