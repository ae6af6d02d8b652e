"""``python -m funcnn.runs compare RUN...`` sets runs of any experiments side by side."""

import sys

from funcnn.errors import InputError

if __name__ == "__main__":
    if sys.argv[1:2] != ["compare"]:
        hint = "the other verbs are those of an experiment: python wave.py train"
        sys.exit(f"error: {InputError('funcnn.runs', 'the verb compare', ' '.join(sys.argv[1:2]) or 'none', hint)}")
    try:
        from funcnn.runs.compare import Comparison, compare
        from funcnn.runs.endings import guarded
    except KeyboardInterrupt:  # they take seconds
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(guarded(compare, Comparison, "python -m funcnn.runs compare", sys.argv[2:]))
