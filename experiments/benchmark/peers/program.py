"""The memory of a program that JAX has compiled."""

from typing import Any

import jax


def program_bytes(jitted: Any, *arguments: Any, resident: Any = ()) -> int:
    """The bytes of arguments, results and what is between, each counted once, without those of ``resident``."""
    told = jitted.lower(*arguments).compile().memory_analysis()
    used = told.argument_size_in_bytes + told.output_size_in_bytes + told.temp_size_in_bytes
    return int(used - told.alias_size_in_bytes - sum(array.nbytes for array in jax.tree.leaves(resident)))
