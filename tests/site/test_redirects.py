"""An address that is gone leads to the page that took its place, without JavaScript."""

from scripts.catalogue.addresses import add_redirect
from scripts.website.redirects import redirect_files


def test_each_old_address_has_a_page_that_leads_on(tmp_path):
    add_redirect(tmp_path, "papers/old-one/", "papers/new-one/")
    add_redirect(tmp_path, "techniques/a/b/", "techniques/c/")
    files = redirect_files(tmp_path, "https://example.org/")
    assert set(files) == {"papers/old-one/index.html", "techniques/a/b/index.html"}
    page = files["techniques/a/b/index.html"]
    assert 'content="0; url=../../../techniques/c/"' in page
    assert '<a href="../../../techniques/c/">' in page
    assert '<link rel="canonical" href="https://example.org/techniques/c/">' in page


def test_without_redirects_there_is_nothing_to_write(tmp_path):
    assert redirect_files(tmp_path, "https://example.org/") == {}
