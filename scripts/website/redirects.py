"""Pages at addresses that are gone: each leads on at once, with a link for those whom nothing leads."""

from html import escape
from pathlib import Path

from scripts.catalogue.addresses import redirects

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This page has moved</title>
<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="0; url={path}">
<link rel="canonical" href="{url}">
</head>
<body>
<p>This page is now at <a href="{path}">{shown}</a>.</p>
</body>
</html>
"""


def redirect_files(root: Path, site_url: str) -> dict[str, str]:
    """A page for every old address: path from the site's root -> HTML."""
    return {f"{old}index.html": _page(old, new, site_url) for old, new in redirects(root).items()}


def _page(old: str, new: str, site_url: str) -> str:
    path = "../" * old.count("/") + new
    return _PAGE.format(path=escape(path), url=escape(site_url + new), shown=escape(new))
