"""Shapes and dtypes in the annotations of `advbg` are checked by beartype over the whole suite."""

from jaxtyping import install_import_hook

install_import_hook("advbg", "beartype.beartype")

import torch  # noqa: E402

# On tensors this small a second thread costs more than it brings.
torch.set_num_threads(1)
