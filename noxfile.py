"""The tests on every Python that funcnn supports: ``nox``; an argument such as ``-s tests-3.13`` chooses one."""

import nox


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """All of them, in an environment of its own."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)
