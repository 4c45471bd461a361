"""Make `mode` mean structmode in every Python process that has this directory on its path."""

import structmode

structmode.install_as_mode()
