"""What means something else in mode than in structmode: each module here has the path of one of mode's."""

from __future__ import annotations

__all__: tuple[str, ...] = ()
