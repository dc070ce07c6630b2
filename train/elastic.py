"""Make the newest checkpoint of a run readable by any number of ranks.

    python train/elastic.py runs/vicuna-7b/stage1

Then start the run again on more or fewer GPUs with ``--resume``.
"""

from chatsearcher.training.main import elastic

if __name__ == "__main__":
    elastic()
