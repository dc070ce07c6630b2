"""Stage 2, conversational instruction tuning.

``deepspeed train/stage2.py`` or ``python train/stage2.py``: without arguments the recipe ``nano``,
also on a machine without a GPU. ``--recipe NAME``, ``--resume``, and dotted overrides such as
``--optimiser.steps 100``; ``--help`` lists all.
"""

from chatsearcher.training.main import stage2

if __name__ == "__main__":
    stage2()
