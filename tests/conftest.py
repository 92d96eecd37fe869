"""Shapes and dtypes in the annotations of `advbg` are checked by beartype over the whole suite."""

from jaxtyping import install_import_hook

install_import_hook("advbg", "beartype.beartype")
