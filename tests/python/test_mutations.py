# SPDX-License-Identifier: MIT
"""The mutations of tests/mutate name places that the sources have; ./build.sh mutate runs them."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AREAS = sorted((ROOT / "tests/mutate").glob("*.json"))


@pytest.mark.parametrize("area", AREAS, ids=lambda path: path.stem)
def test_each_is_in_one_place(area):
    wrong = {}
    for mutation in json.loads(area.read_text()):
        found = (ROOT / mutation["file"]).read_text().count(mutation["from"])
        if found != 1:
            wrong[mutation["what"]] = f"{found} times in {mutation['file']}"
    assert AREAS
    assert not wrong
