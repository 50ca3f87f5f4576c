"""The kernel: nouns with their SQL, and ports. It knows no web framework and no image library."""

__version__ = "0.1.0"
