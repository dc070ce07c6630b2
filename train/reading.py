"""Teach nano's new connector to say what it sees: ``python train/reading.py``.

Also ``deepspeed train/reading.py``. ``--recipe``, ``--resume``, and dotted overrides such as
``--optimiser.steps 500``; ``--help`` lists all.
"""

from chatsearcher.training.main import reading

if __name__ == "__main__":
    reading()
