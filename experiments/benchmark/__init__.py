"""The benchmark: funcnn beside its peers, on the same work, in turn.

    workloads     what is run: a network, a batch size, an optimizer, a number of samples
    peers         who runs it: a row of a table, and a file that does the work as an expert of that tool would
    task          what a peer is given, and what it gives back
    child         measures one peer on one workload, in a process of its own
    first_step    a script a tool, from its start to the end of one training step
    contest       all peers on all workloads, round after round
    installed     which versions there are, and what a tool takes on the disk
    tables        the results as text
    pictures      the results drawn

A peer joins by its row in :mod:`experiments.benchmark.peers`.
"""
