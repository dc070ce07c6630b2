"""ChatSearcher: finding pictures by conversation.

A dialogue goes in, a vector comes out, a gallery answers.
"""

from typing import TYPE_CHECKING, Any

from chatsearcher import auto_classes

if TYPE_CHECKING:
    from chatsearcher.model.assembly import ChatSearcher

__version__ = "0.1.0"
__all__ = ["ChatSearcher"]

auto_classes.register_when_wanted()


def __getattr__(name: str) -> Any:
    # ``import chatsearcher`` stays light: torch comes with the first use.
    if name == "ChatSearcher":
        from chatsearcher.model.assembly import ChatSearcher

        return ChatSearcher
    raise AttributeError(f"module 'chatsearcher' has no attribute {name!r}")
