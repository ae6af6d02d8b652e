"""What the peers on JAX have in common: where samples are, and what a compiled program takes."""

from typing import Any

import jax


def place(array: Any) -> Any:
    """On the device, once it is there."""
    return jax.device_put(array).block_until_ready()


def program_bytes(jitted: Any, *arguments: Any, resident: Any = ()) -> int:
    """The bytes of arguments, results and what is between, each counted once, without those of ``resident``."""
    told = jitted.lower(*arguments).compile().memory_analysis()
    used = told.argument_size_in_bytes + told.output_size_in_bytes + told.temp_size_in_bytes
    return int(used - told.alias_size_in_bytes - sum(array.nbytes for array in jax.tree.leaves(resident)))
