"""JAX: the same pure step, compiled, on one device or many.

Importing this module makes every record of funcnn, users' own too, one of JAX's trees: ``jax.jit``, ``jax.grad`` and
``jax.vmap`` take params as they are, and so does Optax. It takes the extra ``jax``.

    step   = fn.train_step(model, loss, optimizer)       the step, as on NumPy
    step   = compiled(step)                              one dispatch per step
    run    = epoch(step, batch_size)                     one dispatch per epoch, and one for a smaller last batch
    run    = scanned(step)                               the same for your own rows
    many   = over_seeds(train)                           many seeds in one program
    step   = sharded(step, mesh)                         each device has its part of the batch, on one host or several

>>> import funcnn as fn, jax, numpy as np
>>> params, _ = fn.dense(3).init(fn.Key(0), (2,))
>>> jax.jit(lambda params, x: fn.predict(fn.dense(3), params, x))(params, np.ones((4, 2), np.float32)).shape
(4, 3)
"""

from funcnn.errors import imported

imported("funcnn.jax takes the extra `jax`: pip install 'funcnn[jax]'", "jax")

from funcnn.jax.keys import *  # noqa: E402  # once JAX is there
from funcnn.jax.placing import *  # noqa: E402
from funcnn.jax.programs import *  # noqa: E402
