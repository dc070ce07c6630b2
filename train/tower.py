"""Train the tower that a recipe starts from: ``python train/tower.py [--recipe nano-tower]``.

Also ``deepspeed train/tower.py``. ``--resume``, and dotted overrides such as
``--optimiser.steps 500``; ``--help`` lists all.
"""

from chatsearcher.training.main import tower

if __name__ == "__main__":
    tower()
