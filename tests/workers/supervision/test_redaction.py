"""Values are hidden however output is cut, and what is no value comes through whole."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from workers.supervision.redaction import MASK, Redactor

values = st.lists(st.text(alphabet="abé", min_size=1, max_size=9), max_size=4)
pieces = st.lists(st.text(alphabet="abé\n", max_size=12), max_size=12)


@given(values=values, pieces=pieces, cuts=st.lists(st.integers(1, 5), min_size=1))
def test_output_is_the_same_however_it_is_cut(values: list[str], pieces: list[str], cuts: list[int]) -> None:
    whole = "".join(pieces).encode()
    redactor = Redactor(values)
    shown, rest, turn = b"", whole, 0
    while rest:
        cut = cuts[turn % len(cuts)]
        shown, rest, turn = shown + redactor.feed(rest[:cut]), rest[cut:], turn + 1
    shown += redactor.flush()
    hidden = sorted((value.encode() for value in values if len(value.encode()) >= 4), key=len, reverse=True)
    expected = re.sub(b"|".join(map(re.escape, hidden)), MASK, whole) if hidden else whole
    assert shown == expected


def test_only_what_may_become_a_value_is_held_back() -> None:
    redactor = Redactor(["hunter22"])
    assert redactor.feed(b"password: hun") == b"password: "
    assert redactor.feed(b"gry\n") == b"hungry\n"
    assert redactor.feed(b"hunter22!\n") == MASK + b"!\n"


def test_each_line_of_a_long_value_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----\n"
    shown = Redactor([key]).feed(b"  | MIIEvQIBADANBg\n")
    assert shown == b"  | " + MASK + b"\n"


def test_large_values_and_much_output_take_no_time_to_speak_of() -> None:
    value = "a" * 32_000 + "b"
    redactor = Redactor([value, value[::-1]])
    shown = redactor.feed(b"x" * 10_000) + redactor.feed(value.encode()) + redactor.feed(b"y" * 10_000)
    assert shown + redactor.flush() == b"x" * 10_000 + MASK + b"y" * 10_000
