"""What is said to who asks for a backend that there is not."""

from __future__ import annotations

import pytest

from structmode._engine import run_arguments


def test_the_whole_text() -> None:
    """It repeats what was asked for, and lists what there is."""
    with pytest.raises(ValueError, match="curio") as caught:
        run_arguments("curio")
    assert str(caught.value) == (
        "there is no backend 'curio'; it is one of 'asyncio', 'asyncio+uvloop', 'trio'"
    )
