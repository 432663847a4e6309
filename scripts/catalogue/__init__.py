"""What the data files mean and how they are read: vocabulary, model, reader, checks."""

import os

# pydantic would look through every installed package for plugins, at each start of each command; none is wanted.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
