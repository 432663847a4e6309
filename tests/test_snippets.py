"""Every Python block that a page shows runs as it stands: a snippet that a reader copies must not fail."""

import ast
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("techniques/**/*.md"), *ROOT.glob("site/pages/**/*.md")]
)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})\s*(\S*)")


@dataclass(frozen=True)
class Snippet:
    """A fenced block of Python."""

    file: str
    line: int  # of its first line of code, from 1
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def find_snippets(text: str, file: str) -> list[Snippet]:
    """The blocks fenced as `python`, in order. Raises ValueError for a fence that is never closed."""
    found: list[Snippet] = []
    opened: tuple[str, str, int] | None = None  # fence, language, line of the fence
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened = fence[1], fence[2], number
        elif fence and fence[1].startswith(opened[0]) and not fence[2]:
            if opened[1] == "python":
                found.append(Snippet(file, opened[2] + 1, "\n".join(lines[opened[2] : number - 1])))
            opened = None
    if opened:
        raise ValueError(f"{file}:{opened[2]}: the block is never closed")
    return found


def run_snippet(snippet: Snippet) -> dict[str, Any]:
    """Run it in a namespace of its own, with tracebacks that name the page and its line. -> that namespace"""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    code = compile("\n" * (snippet.line - 1) + snippet.code, str(ROOT / snippet.file), "exec")
    exec(code, namespace)  # our own pages: running them is the test
    return namespace


def missing_modules(code: str) -> list[str]:
    """Packages that the code imports and that are not installed here; this project's own always count as installed."""
    tree = ast.parse(code)
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    tops = {name.split(".")[0] for name in names} - {"reference_impls", "scripts"}
    return sorted(top for top in tops if find_spec(top) is None)


SNIPPETS = [
    snippet for page in PAGES for snippet in find_snippets(page.read_text("utf-8"), str(page.relative_to(ROOT)))
]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_a_snippet_of_a_page_runs(snippet: Snippet) -> None:
    torch = pytest.importorskip("torch")
    if missing := missing_modules(snippet.code):
        pytest.skip(f"not installed: {', '.join(missing)}")
    if "load_smollm2" in snippet.code and not _has_smollm2():
        pytest.skip("the weights of SmolLM2-135M are not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            run_snippet(snippet)
    finally:
        torch.set_num_threads(threads)


def _has_smollm2() -> bool:
    from reference_impls.models import smollm2

    path = smollm2.smollm2_path()
    return path is not None and path.is_file()


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_a_snippet_is_short_and_stands_alone(snippet: Snippet) -> None:
    lines = [line for line in snippet.code.split("\n") if line.strip()]
    assert len(lines) <= 16, f"{snippet} has {len(lines)} lines: what it needs belongs into the library"
    assert max(map(len, lines)) <= 120
    assert not re.search(r"\bopen\(|\burlopen|requests|subprocess|\bos\.", snippet.code), "reads or starts something"


def test_every_page_with_a_family_of_implementations_shows_how_to_call_one() -> None:
    folder = ROOT / "techniques/algorithms/model-compression/quantization"
    shown = {snippet.file for snippet in SNIPPETS}
    assert {str(page.relative_to(ROOT)) for page in folder.glob("*.md")} <= shown


def test_every_method_of_the_quantization_family_has_a_snippet() -> None:
    quantization = pytest.importorskip("reference_impls.quantization")
    code = "\n".join(snippet.code for snippet in SNIPPETS)
    assert [name for name in quantization.methods() if not re.search(rf"\b{name}\b", code)] == []


def test_blocks_are_found_with_their_lines_and_other_languages_are_left() -> None:
    text = "Text\n\n```python\na = 1\nb = 2\n```\n\n```text\nno = \n```\n~~~python\nc = 3\n~~~\n"
    assert find_snippets(text, "p.md") == [Snippet("p.md", 4, "a = 1\nb = 2"), Snippet("p.md", 12, "c = 3")]


def test_a_longer_fence_holds_a_shorter_one() -> None:
    assert find_snippets("````md\n```python\nx\n```\n````\n", "p.md") == []


def test_a_block_without_end_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"p\.md:2"):
        find_snippets("\n```python\na = 1\n", "p.md")


def test_a_failure_names_the_page_and_its_line() -> None:
    with pytest.raises(ZeroDivisionError) as failure:
        run_snippet(Snippet("techniques/p.md", 40, "a = 1\nb = a / 0"))
    last = failure.traceback[-1]
    assert (Path(last.path).name, last.lineno + 1) == ("p.md", 41)


def test_namespaces_are_not_shared() -> None:
    assert run_snippet(Snippet("p.md", 1, "a = 1"))["a"] == 1
    with pytest.raises(NameError):
        run_snippet(Snippet("p.md", 1, "a + 1"))


def test_missing_packages_are_told_from_installed_ones() -> None:
    code = "import json\nfrom no_such_package.part import x\nfrom reference_impls.quantization import rtn"
    assert missing_modules(code) == ["no_such_package"]
