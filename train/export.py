"""Make a run a checkpoint for use: whole safetensors shards in bfloat16, and the processor.

    python train/export.py runs/nano/stage2 chatsearcher/checkpoints/nano
    python train/export.py runs/vicuna-7b/stage1 vicuna-at-20000 --step 20000

LoRA adapters are folded in; ``--step`` and ``--checkpoint`` take a run that is still going on,
whatever ZeRO stage wrote it.
Then ``python eval/calibrate.py FOLDER`` measures the score below which nothing fits.
"""

from chatsearcher.training.main import export

if __name__ == "__main__":
    export()
