"""The benchmark: funcnn beside its peers, on the same work, in turn.

    workloads     what is run, and what a peer is given and gives back
    peers         who runs it: a row of a table, and a file that does the work as an expert of that tool would
    child         measures one peer on one workload, in a process of its own
    first_steps   a script a tool, from its start to the end of one training step
    contest       all peers on all workloads, round after round
    installed     which versions there are, and what a tool takes on the disk
    tables        the results as text
    pictures      the results drawn

A peer joins by its row in :mod:`experiments.benchmark.peers`.
"""
