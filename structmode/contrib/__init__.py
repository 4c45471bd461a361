"""Optional layers between structmode and other programs; each needs packages of its own, and none knows another.

Nothing is imported here: take the module that is wanted, as in ``from structmode.contrib import asgi``.
"""

__all__ = ()
