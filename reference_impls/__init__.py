"""Reference implementations of resource-efficient foundation model techniques.

One technique is one module with one face per family; each is tested against an oracle. The package needs torch and
numpy and does nothing at import. Families appear as folders once they hold a tested implementation.
"""

__version__ = "0.1.0"
