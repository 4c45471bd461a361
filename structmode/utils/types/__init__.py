"""Abstract types of the data structures in `structmode.utils`."""

__all__: tuple[str, ...] = ()
