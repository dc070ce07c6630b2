"""ChatSearch dialogues from captioned pictures (docs/chatsearch-data.md).

python data_prep/chatsearch.py all --run runs/chatsearch --source data/coco --model URL#MODEL …
python data_prep/chatsearch.py --help
"""

import sys

from chatsearcher.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["prepare", "chatsearch", *sys.argv[1:]]))
