"""Rows that say the same have keys of their own, and the same ones in every import."""

from __future__ import annotations

import hashlib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from playbook.inventory.columns import KEY
from playbook.inventory.repeats import Repeats


def keys(*names: int) -> pa.Array:
    return pa.array([hashlib.blake2b(bytes([n]), digest_size=16).digest() for n in names], KEY)


def numbered(names: list[int], sizes: list[int], max_remembered: int = 1000) -> list[bytes]:
    repeats, found, at = Repeats(max_remembered), [], 0
    for size in [*sizes, len(names)]:
        found += repeats.numbered(keys(*names[at : at + size])).to_pylist()
        at += size
    return found


@given(st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 9), max_size=8))
def test_each_repeat_has_a_key_of_its_own_however_the_file_is_cut(names: list[int], sizes: list[int]) -> None:
    found = numbered(names, sizes)
    assert len(set(found)) == len(names)
    assert found == numbered(names, [len(names)])
    first = {name: names.index(name) for name in names}
    assert all(found[at] == keys(name)[0].as_py() for name, at in first.items())


@given(st.permutations([1, 1, 1, 2, 2, 3]))
def test_the_order_of_a_file_changes_no_key(names: list[int]) -> None:
    assert set(numbered(names, [2, 2])) == set(numbered([1, 1, 1, 2, 2, 3], []))


def test_a_slice_of_an_array_has_its_own_keys() -> None:
    whole = keys(1, 2, 2, 3)
    assert Repeats().numbered(whole.slice(2, 2)).to_pylist() == whole.slice(2, 2).to_pylist()


def test_what_is_remembered_is_bounded_and_the_youngest_stays() -> None:
    repeats = Repeats(max_remembered=400)
    for start in range(0, 20_000, 50):
        block = pa.array([n.to_bytes(16, "little") for n in range(start, start + 50)], KEY)
        assert repeats.numbered(block).to_pylist() == block.to_pylist()
        assert sum(map(len, repeats._runs)) <= 400 + 50
    assert repeats.numbered(block).to_pylist() != block.to_pylist()
