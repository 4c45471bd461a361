"""The program: which services there are, and who uses whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from structmode import Service

from .counter import Counter
from .history import History
from .live import Live
from .site import Site
from .store import Store
from .visitors import Visitors
from .web import Web


class PageViews(Service):
    """The root of the tree.

    Args:
        database: The file to keep the counts in.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
    """

    def __init__(self, database: str, host: str, port: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.store = Store(database)
        self.counter = Counter(self.store)
        self.visitors = Visitors()
        self.history = History(self.store, self.counter)
        self.live = Live(self.counter, self.visitors, self.history)
        self.web = Web(Site(self.counter, self.visitors, self.live), host, port)

    def on_init_dependencies(self) -> Iterable[Service]:
        """Start each service after those that it uses; so it also stops before them."""
        return [self.store, self.counter, self.visitors, self.history, self.live, self.web]
