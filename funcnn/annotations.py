"""Shapes and dtypes in annotations: ``Float[Array, "batch in"]`` is an array of floating numbers (batch, in).

The syntax is jaxtyping's. Nothing reads annotations at run time, and jaxtyping takes longer to import than all of
funcnn, so these names stand in for it; the tests put jaxtyping in their place and check every call.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Bool", "Float", "Float32", "Int", "Num", "Shaped", "UInt8"]

if TYPE_CHECKING:
    from typing import (
        Annotated as Bool,
        Annotated as Float,
        Annotated as Float32,
        Annotated as Int,
        Annotated as Num,
        Annotated as Shaped,
        Annotated as UInt8,
    )
else:

    class Shaped:
        """Any array, whatever the brackets say."""

        def __class_getitem__(cls, item: object) -> Any:
            return Any

    Bool = Float = Float32 = Int = Num = UInt8 = Shaped
