"""The benchmarks lie beside the package, and are not part of it: their directory's parent must be on the path."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # pragma: no branch - an editable install puts it there
    sys.path.append(str(ROOT))  # pragma: no cover - only without an editable install
