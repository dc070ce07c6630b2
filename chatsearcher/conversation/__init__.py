"""A conversation that finds pictures: its state and its moves, without any user interface.

```
conversation = Conversation(assistant, gallery, index)
answer = conversation.say("a red cat on the beach")    # words, or numbered candidates
conversation.pick(2)                                   # the picture becomes the assistant's answer
answer = conversation.say("the same, but at night")    # answered in the light of that picture
```

Rules, each held by a test:

- A picked picture is appended to the history as the assistant's answer, so that different picks
  lead to different continuations (ChatSearch, section 4.4).
- Who types on without a pick has accepted the first candidate: it stands as the assistant's answer.
- Rejected candidates stay out of every later search of this conversation; so do the pictures that
  already stand in it (the reference of an edit is never its own answer).
- When the best score is below the threshold, the answer says that nothing fits; ``more`` shows the
  candidates nevertheless.
- Everything is a value: ``undo`` puts back the state before the last move, whatever the move was.
"""

from chatsearcher.conversation.core import NOTHING_FITS, NOTHING_LEFT, Conversation
from chatsearcher.conversation.state import Answer, Candidate, Round, State

__all__ = [
    "NOTHING_FITS",
    "NOTHING_LEFT",
    "Answer",
    "Candidate",
    "Conversation",
    "Round",
    "State",
]
