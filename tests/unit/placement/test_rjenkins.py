"""Ceph's hash over many names: against Ceph's own answers and against the published algorithm."""

import json
from pathlib import Path

import ceph_reference
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.placement.model import rjenkins
from appliance.placement.model.rjenkins import hash_names, stable_mod

GOLDEN_PGS = json.loads(Path(__file__).with_name("golden_pgs.json").read_text())
GOLDEN_HASHES = json.loads(Path(__file__).with_name("golden_hashes.json").read_text())

# Surrogates cannot be written in UTF-8, all else may stand in a key.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize("pg_num", GOLDEN_PGS["pgs"])
def test_groups_are_those_of_cephs_own_tool(pg_num: str) -> None:
    assert stable_mod(hash_names(GOLDEN_PGS["names"]), int(pg_num)).tolist() == GOLDEN_PGS["pgs"][pg_num]


def test_hashes_are_those_of_a_running_cluster() -> None:
    assert hash_names(list(GOLDEN_HASHES["hashes"])).tolist() == [int(h, 16) for h in GOLDEN_HASHES["hashes"].values()]


@given(names=st.lists(texts, max_size=40), prefix=texts)
@example(names=["ä"], prefix="x" * 11)  # a character on both sides of a block's end
@example(names=["", "a"], prefix="é" * 30)
@example(names=["a"], prefix="x" * 11 + "é" * 7)  # no whole block of this prefix ends between characters but the last
def test_any_names_hash_as_published(names: list[str], prefix: str) -> None:
    expected = [ceph_reference.str_hash_rjenkins((prefix + name).encode()) for name in names]
    assert hash_names(names, prefix).tolist() == expected


@pytest.mark.parametrize("length", range(40))
def test_every_length_hashes_as_published(length: int) -> None:
    name = "".join(chr(33 + place) for place in range(length))
    assert hash_names([name]).tolist() == [ceph_reference.str_hash_rjenkins(name.encode())]


def test_batches_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"c/{number}" for number in range(1000)]
    whole = hash_names(names, "marker_")
    monkeypatch.setattr(rjenkins, "BATCH", 7)
    assert np.array_equal(hash_names(names, "marker_"), whole)


def test_very_long_names_beside_short_ones() -> None:
    names = ["a", "b" * 40_000, "", "c" * 13]
    assert hash_names(names).tolist() == [ceph_reference.str_hash_rjenkins(name.encode()) for name in names]


def test_no_names_give_no_hashes() -> None:
    assert hash_names([], "prefix").shape == (0,)


def test_a_lone_surrogate_is_named() -> None:
    with pytest.raises(ValueError, match="udc80"):
        hash_names(["fine", "bad\udc80"])


@given(hashes=st.lists(st.integers(0, 2**32 - 1), min_size=1), pg_num=st.integers(1, 2**20))
def test_any_hash_and_pg_num_give_the_published_group(hashes: list[int], pg_num: int) -> None:
    expected = [ceph_reference.stable_mod(one, pg_num) for one in hashes]
    assert stable_mod(np.array(hashes, dtype=np.uint32), pg_num).tolist() == expected


def test_a_pool_without_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        stable_mod(np.zeros(1, dtype=np.uint32), 0)
