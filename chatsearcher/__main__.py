"""``python -m chatsearcher``."""

import sys

from chatsearcher.cli import main

sys.exit(main())
