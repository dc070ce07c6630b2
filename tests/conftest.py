"""What every test relies on."""

from __future__ import annotations

import signal

# A runner without a terminal may have started us with Ctrl-C ignored; the tests of it need it.
signal.signal(signal.SIGINT, signal.default_int_handler)
