"""Stage 1, alignment.

``deepspeed train/stage1.py`` or ``python train/stage1.py``: without arguments the recipe ``nano``,
also on a machine without a GPU. ``--recipe NAME``, ``--resume``, and dotted overrides such as
``--optimiser.steps 100``; ``--help`` lists all.
"""

from chatsearcher.training.main import stage1

if __name__ == "__main__":
    stage1()
