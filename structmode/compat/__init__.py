"""For programs written for mode that are not to be edited: `import mode` means structmode from one call on.

    import structmode

    structmode.install_as_mode()

    import mode  # structmode, under mode's names and with mode's own meaning

Each module of mode's is then a real module of its own (``_modules``). What stands in it comes from structmode's module of
the same name; or, where mode and structmode mean different things by one name, from the module of that name in
``structmode.compat.faces``. So mode's meaning belongs to what is reached through mode's names, and to nothing else: services
that are made of ``structmode.Service`` keep structmode's laws, in the same program and in the same tree.
"""

from __future__ import annotations

from structmode.compat._install import install_as_mode

__all__ = ("install_as_mode",)

install_as_mode.__module__ = __name__  # to users, the room where it is written is no place
