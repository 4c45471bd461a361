"""Small tools that know nothing of services: times, trees, logging and the like."""

__all__: tuple[str, ...] = ()
