"""What is kept stays within its weight, and what was used longest ago goes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.services.kept import Kept


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Kept[str] = Kept(2)
    kept.put("a", "A")
    kept.put("b", "B")
    assert kept.get("a") == "A"
    kept.put("c", "C")
    assert [kept.get(key) for key in "abc"] == ["A", None, "C"]


def test_the_newest_is_kept_whatever_it_weighs() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("small", "s", 1)
    kept.put("large", "l", 100)
    assert (kept.get("small"), kept.get("large")) == (None, "l")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 6), st.sampled_from(["put", "drop", "get"]))))
def test_the_weight_is_never_passed_whatever_is_done(steps: list[tuple[str, int, str]]) -> None:
    kept: Kept[int] = Kept(10)
    last: dict[str, int] = {}
    for key, weight, what in steps:
        if what == "put":
            kept.put(key, weight, weight)
            last[key] = weight
        elif what == "drop":
            kept.drop(key)
            last.pop(key, None)
        else:
            assert kept.get(key) in (None, last.get(key))
    held = [found for key in "abcdef" if (found := kept.get(key)) is not None]
    assert sum(held) <= 10
    assert len(held) == len(kept)
