"""A script a tool: a network and a batch of noise, one training step, and the time at its end."""
