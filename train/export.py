"""Make a trained run the checkpoint that ships: bfloat16 weights, the processor, a fingerprint.

    python train/export.py runs/nano/stage2 chatsearcher/checkpoints/nano

Then ``python eval/calibrate.py FOLDER`` measures the score below which nothing fits.
"""

from chatsearcher.training.main import export

if __name__ == "__main__":
    export()
