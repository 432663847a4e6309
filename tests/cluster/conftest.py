"""What the tests of this family share."""

from tests.models.conftest import one_thread  # noqa: F401
