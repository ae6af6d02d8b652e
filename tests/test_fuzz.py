"""Fuzzing in short: some inputs for everything that reads bytes, and all that was ever found."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from funcnn import InputError
from tests.fuzz.mutations import of_json
from tests.fuzz.session import Session, by_chance
from tests.fuzz.targets import targets
from tests.fuzz.trial import BYTES, Target, tried

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """All targets, by name."""
    return {target.name: target for target in targets(tmp_path_factory.mktemp("fuzz"))}


def test_valid_inputs_are_taken(known):
    for target in known.values():
        for content in target.seeds:
            target.read(content)


def test_a_few_inputs_of_each_kind(known, tmp_path, capsys):
    session = Session([*known.values()], tmp_path, seconds=math.inf)
    by_chance(session, seed=0, most=600)
    assert session.report() == 0, capsys.readouterr().out
    assert session.counts.keys() == known.keys()


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_was_found_once_is_mended(known, path):
    name, _, _ = path.name.rpartition("-")
    assert tried(known[name], path.read_bytes()) is None


def planted(fault):
    """A reader of ``{"size": [3]}`` whose check ``fault`` takes the place of."""

    def read(content):
        try:
            values = json.loads(content)
        except (ValueError, RecursionError):
            raise InputError("planted", "JSON", content) from None
        fault(values)

    return Target("planted", (b'{"size": [3]}',), of_json, read)


def careless(values):
    return values["size"][0] + 1


def endless(values):
    while values != {"size": [3]}:
        pass


def boundless(values):
    return np.ones((BYTES if values != {"size": [3]} else 1) // 4)


FAULTS = [(careless, "planted: KeyError at test_fuzz.py"), (endless, "TooLongError"), (boundless, "more memory than")]


@pytest.mark.parametrize(("fault", "told"), FAULTS)
def test_a_reader_with_a_fault_is_caught(tmp_path, capsys, monkeypatch, fault, told):
    monkeypatch.setattr("tests.fuzz.trial.SECONDS", 0.2)
    session = Session([planted(fault)], tmp_path / "found", seconds=math.inf)
    by_chance(session, seed=0, most=40 if fault is careless else 3)
    assert session.report() == 1
    assert told in capsys.readouterr().out
    target = session.targets[0]
    assert tried(target, target.seeds[0]) is None
    assert all(tried(target, path.read_bytes()) for path in (tmp_path / "found").iterdir())
