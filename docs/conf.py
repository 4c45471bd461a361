"""How Sphinx builds the documentation."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "structmode"
author = "The structmode authors"
copyright = f"2026, {author}"
release = version = version_of("structmode")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "docstrings",
    "lifecycle",
    "names",
    "parity",
    "survey",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["structmode.css"]

# A name in single backticks in a docstring is a link, and a broken one fails the build: see names.py.
default_role = "name"
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as in the source: a function's repr says less than its name
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # "Attributes:" tells of fields that autodoc may list too

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Links to other projects need their inventories from the network. Without them, names of other
# projects stay text, and names of structmode are still checked: the verdict is the same anywhere.
OTHER_PROJECTS = {
    "anyio": "https://anyio.readthedocs.io/en/stable/",
    "python": "https://docs.python.org/3/",
    "trio": "https://trio.readthedocs.io/en/stable/",
}
# Type variables and private bases are shown, and lead nowhere.
nitpick_ignore_regex = [(r"py:(class|obj)", r"(.+\.)?([A-Z]|_\w+|\w+TX|T_co|EventT|Waitable)")]
if os.environ.get("STRUCTMODE_DOCS_LINKS"):
    intersphinx_mapping = {name: (url, None) for name, url in OTHER_PROJECTS.items()}
else:
    nitpick_ignore_regex += [
        (r".*", r"(?!structmode\b).+\..+"),
        (r".*", r"[A-Z]\w*(Error|Exception|Warning|Group)"),
    ]
