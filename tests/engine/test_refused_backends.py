"""What is said to who asks for a backend that there is not."""

from __future__ import annotations

from typing import Any

import pytest

from structmode._engine import run_arguments


@pytest.mark.parametrize("backend", [None, 5])
def test_what_is_no_name(backend: Any) -> None:
    """It is refused, with an example of one."""
    with pytest.raises(TypeError, match=rf"backend is a name, such as 'trio', not {backend}"):
        run_arguments(backend)


def test_the_whole_text() -> None:
    """It repeats what was asked for, and lists what there is."""
    with pytest.raises(ValueError, match="curio") as caught:
        run_arguments("curio")
    assert str(caught.value) == (
        "there is no backend 'curio'; it is one of 'asyncio', 'asyncio+uvloop', 'trio'"
    )
