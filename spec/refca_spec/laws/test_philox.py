"""The laws of `spec/chapters/philox.md`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.philox import philox
from refca_spec import formulas
from refca_spec.compare import assert_same
from refca_spec.strategies import law
from refca_spec.vectors import read

WORD = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("vector", read("philox"), ids=lambda vector: vector["counter"][0])
def test_philox_c1_published_vectors(vector: dict[str, list[str]]) -> None:
    counter, key, ref = ([int(word, 16) for word in vector[name]] for name in ("counter", "key", "words"))
    got = np.stack(philox(tuple(counter), (key[0], key[1])))
    assert_same(got, np.array(ref, np.uint32), "The four words", vector)


@law
@given(counter=st.tuples(WORD, WORD, WORD, WORD), key=st.tuples(WORD, WORD))
def test_philox_c2_the_array_code_is_ten_rounds_in_integers(
    counter: tuple[int, int, int, int], key: tuple[int, int]
) -> None:
    ref = np.array(formulas.philox(counter, key), np.uint32)
    assert_same(np.stack(philox(counter, key)), ref, "The four words", (counter, key))


@law
@given(rows=st.lists(WORD, min_size=1, max_size=4), columns=st.lists(WORD, min_size=1, max_size=4))
def test_philox_c3_counters_broadcast(rows: list[int], columns: list[int]) -> None:
    got = np.stack(philox((np.array(rows)[:, None], np.array(columns), 3, 4), (5, 6)), -1)
    ref = [[formulas.philox((row, column, 3, 4), (5, 6)) for column in columns] for row in rows]
    assert_same(got, np.array(ref, np.uint32), "The words of each counter", (rows, columns))
