"""The archive of a commit is the same bytes whoever makes it, and never of a state that was not committed."""

import hashlib
import subprocess
import tarfile

import pytest

from scripts.contributing import archive as module
from scripts.contributing.archive import LIBRARIES, ArchiveError, archive

FILES = {
    "mkdocs.yml": "site_url: https://example.org/\nrepo_url: https://example.org/repo\n",
    "entries/2024/a-a.yaml": "title: Ä\n",
    ".gitignore": "/public/\n/node_modules/\n",
}


def git(root, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    when = {"GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z", "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z", "HOME": str(root)}
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True, env=when)


def made(root):
    """A checkout whose build writes a page and whose libraries hold a program."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in LIBRARIES:
        (root / "node_modules" / name).mkdir(parents=True)
    program = root / "node_modules" / "@pagefind" / "pagefind"
    program.write_text("#!")
    program.chmod(0o755)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "one")
    return root


@pytest.fixture(autouse=True)
def _build(monkeypatch):
    def build(root, **_):
        (root / "public" / "papers").mkdir(parents=True, exist_ok=True)
        (root / "public" / "index.html").write_text("home")
        (root / "public" / "papers" / "x.html").write_text("paper")

    monkeypatch.setattr(module, "build", build)


def test_two_checkouts_of_one_commit_give_the_same_bytes(tmp_path):
    digests = {archive(made(tmp_path / name), tmp_path / f"{name}.tgz") for name in ("a", "b")}
    assert len(digests) == 1
    assert digests == {hashlib.sha256((tmp_path / "a.tgz").read_bytes()).hexdigest()}


def test_it_holds_site_source_and_libraries_with_their_checksums(tmp_path):
    archive(made(tmp_path / "a"), tmp_path / "a.tgz")
    with tarfile.open(tmp_path / "a.tgz") as tar:
        tar.extractall(tmp_path / "out", filter="data")
        [program] = [item for item in tar if item.name.endswith("@pagefind/pagefind")]
        assert program.mode == 0o755
        assert {(item.uid, item.gid, item.uname) for item in tar} == {(0, 0, "")}
    [top] = (tmp_path / "out").iterdir()
    assert (top / "site/papers/x.html").read_text() == "paper"
    assert (top / "source/entries/2024/a-a.yaml").read_text() == "title: Ä\n"
    done = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=top, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = {line.split("  ")[1] for line in (top / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()} - {"SHA256SUMS"}


def test_what_is_not_committed_is_not_archived(tmp_path):
    root = made(tmp_path / "a")
    (root / "entries/2024/a-a.yaml").write_text("title: changed\n")
    with pytest.raises(ArchiveError, match="commit first"):
        archive(root, tmp_path / "a.tgz")
    assert not (tmp_path / "a.tgz").exists()


def test_an_interruption_leaves_no_half_archive(tmp_path, monkeypatch):
    root = made(tmp_path / "a")

    def broken(*_):
        yield "README.txt", b"x"
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_files", broken)
    with pytest.raises(KeyboardInterrupt):
        archive(root, tmp_path / "a.tgz")
    assert [*tmp_path.glob("*.tgz*")] == []
