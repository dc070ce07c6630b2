"""Train nano's language model on its tower's words: ``python train/words.py``.

Also ``deepspeed train/words.py``. ``--recipe``, ``--resume``, and dotted overrides such as
``--optimiser.steps 500``; ``--help`` lists all.
"""

from chatsearcher.training.main import words

if __name__ == "__main__":
    words()
