"""The benchmark: funcnn beside its peers, on the same work, in turn.

    workloads     the work, and the inputs and outputs of a peer
    peers         the tools: each a row of a table, and a file that does the work as an expert of that tool would
    child         measures one peer on one workload, in a process of its own
    first_steps   a script for each tool, from its start to the end of one training step
    contest       all peers on all workloads, round after round
    installed     the size of an installed tool
    tables        the results as text
    pictures      the results drawn

A peer joins by its row in :mod:`experiments.benchmark.peers`.
"""
