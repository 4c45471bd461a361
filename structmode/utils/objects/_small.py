"""One class to derive from, one to wrap things with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ("KeywordReduce", "Unordered")

_T = TypeVar("_T")


class Unordered(Generic[_T]):
    """Holds something that shall not be compared, beside something that shall: the job beside its time in a heap.

    Any two have the same rank: neither is less than the other. Each equals itself only.

    Differs from mode, where each of two is less than the other, so that a sort may change their order.

    Args:
        value: What it holds.
    """

    def __init__(self, value: _T) -> None:
        #: What it holds.
        self.value = value

    def __lt__(self, other: object) -> bool:
        return False if isinstance(other, Unordered) else NotImplemented

    def __le__(self, other: object) -> bool:
        return True if isinstance(other, Unordered) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return False if isinstance(other, Unordered) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return True if isinstance(other, Unordered) else NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.value!r}>"


class KeywordReduce:
    """Makes objects picklable by the keywords of their constructor.

    ``__reduce__``, which ``pickle`` asks for, can give positional arguments only. A class derived from this one has
    ``__reduce_keywords__`` instead, which returns the keywords:

        class Point(KeywordReduce):
            def __init__(self, *, x: int, y: int = 0) -> None:
                self.x, self.y = x, y

            def __reduce_keywords__(self) -> dict[str, int]:
                return {"x": self.x, "y": self.y}
    """

    def __reduce_keywords__(self) -> Mapping[str, Any]:
        """Return the keywords that the constructor is called with when the object is restored."""
        raise NotImplementedError(
            f"{type(self).__qualname__} is a KeywordReduce without __reduce_keywords__: "
            "define it to return the keywords of the constructor as a dict"
        )

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _restore_from_keywords, (type(self), dict(self.__reduce_keywords__()))


def _restore_from_keywords(cls: Callable[..., _T], keywords: Mapping[str, Any]) -> _T:
    return cls(**keywords)
