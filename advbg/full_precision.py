"""float32 for what the companions make, whatever torch's default dtype has been set to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch

_Method = TypeVar("_Method", bound=Callable[..., Any])


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let new tensors have this dtype where nothing else is said; also a decorator."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


in_full_precision = default_dtype(torch.float32)


def around_the_model(method: _Method) -> _Method:
    """Run a method `(self, model, call, ...)` in float32, but `call` in the default dtype of whoever calls the method.

    Lightning's `bf16-true` sets it for its module's sake, which may make tensors of its own.
    """

    @wraps(method)
    def run(self: Any, model: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call = default_dtype(torch.get_default_dtype())(call)
        with default_dtype(torch.float32):
            return method(self, model, call, *args, **kwargs)

    return run  # pyright: ignore[reportReturnType]
