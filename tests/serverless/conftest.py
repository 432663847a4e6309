"""One thread, since the tensors are tiny and the machine is shared."""

from tests.models.conftest import one_thread  # noqa: F401
