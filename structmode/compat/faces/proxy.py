"""`mode.proxy`, with what programs reach for beyond its manual."""

from __future__ import annotations

from typing import Any

from structmode.proxy import ServiceProxy as PublicServiceProxy

__all__ = ("ServiceProxy",)


class ServiceProxy(PublicServiceProxy):
    """Stands for another service, whose private names can be reached through it as well."""

    abstract = False

    def __getattr__(self, name: str) -> Any:
        if name == "_service" or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._service, name)
