"""LaTeX text in and out, by a table worked by hand."""

import pytest
from hypothesis import given

from scripts.bibliography.latex import from_text, protect, to_text
from tests.builders import LINES

TABLE = [
    (r"{\"U}ber", "Über"), (r"\"{u}ber", "über"), (r"Fran\c{c}ois", "François"), (r"Fran{\c c}ois", "François"),
    (r"\'Alvarez", "Álvarez"), (r"G{\'o}mez", "Gómez"), (r"Erd{\H o}s", "Erdős"), (r"{\L}ukasz", "Łukasz"),
    (r"S{\o}ren", "Søren"), (r"Stra{\ss}e", "Straße"), (r"\v{S}koda", "Škoda"), (r"na{\"\i}ve", "naïve"),
    (r"{\AA}ngstr{\"o}m", "Ångström"), (r"Tom{\'a}{\v s}", "Tomáš"),
    ("{GPTQ} for {LLM}s", "GPTQ for LLMs"), ("{{Twice} braced}", "Twice braced"), ("{}", ""),
    (r"$k$-bit", "k-bit"), (r"$O(n \log n)$", "O(n log n)"), (r"$\alpha$-divergence", "α-divergence"),
    (r"$10\times$ faster", "10× faster"), (r"50\% less", "50% less"), ("50% less of all", "50% less of all"),
    ("2--4 bit", "2–4 bit"), ("fast---and small", "fast—and small"), ("post-training", "post-training"),
    (r"R\&D", "R&D"), (r"a\_b", "a_b"), (r"\#1", "#1"), (r"C\$", "C$"), ("A~B", "A B"),
    ("``quoted''", "“quoted”"), ("Don't", "Don't"), (r"\textit{in} \emph{situ}", "in situ"),
    ("two\n   lines", "two lines"), ("  blank  ", "blank"), ("", ""), ("plain", "plain"), ("漢字 é", "漢字 é"),
    (r"\textasciitilde{}x", "~x"), (r"\textbackslash{}n", r"\n"),
]  # fmt: skip


@pytest.mark.parametrize(("latex", "text"), TABLE)
def test_latex_becomes_the_text_a_reader_sees(latex, text):
    assert to_text(latex) == text


@pytest.mark.parametrize(
    ("title", "latex"),
    [
        ("GPTQ: Accurate Quantization", "{GPTQ}: Accurate Quantization"),
        ("LLaMA and iPhone", "{LLaMA} and {iPhone}"),
        ("Plain words here", "Plain words here"),
        ("50% of R&D", r"50\% of {R\&D}"),
        ("a_b #1 {x}", r"a\_b \#1 \{x\}"),
    ],
)
def test_capitals_inside_words_are_protected(title, latex):
    assert protect(title) == latex


@given(LINES)
def test_escaped_text_reads_back(text):
    assert to_text(from_text(text)) == to_text(protect(text)) == " ".join(text.split())
