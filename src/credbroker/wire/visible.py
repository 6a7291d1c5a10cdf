"""What a key or a session token may consist of: it becomes a header's value, and it came from outside."""

from __future__ import annotations

import re

# No space, no line break, nothing beyond ASCII: it reaches a header unchanged, and cannot begin another one.
VISIBLE = re.compile(r"[!-~]{1,16384}")
