"""ChatSearcher: finding pictures by conversation.

A dialogue goes in, a vector comes out, a gallery answers.
"""

__version__ = "0.1.0"
