"""Programs that run inside a child process, one an engine: a request a line in, an answer a line out.

They import nothing of this package but `common`, so that they also run in another Python, where an old engine lives.
"""
