"""The tests: one file a module of funcnn, and the laws that its catalogue obeys."""
