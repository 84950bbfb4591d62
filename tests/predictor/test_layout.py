"""A layout is read as given, completed where one size is open, or refused with its numbers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import InvalidLayout, PythiaError
from predictor.layout import Layout, parse_layout

sizes = st.integers(1, 16)


@given(tp=sizes, pp=sizes, cp=sizes, dp=sizes)
def test_a_layout_survives_its_own_json(tp: int, pp: int, cp: int, dp: int) -> None:
    layout = Layout(
        gpu_count=tp * pp * cp * dp, tensor_parallel=tp, pipeline_parallel=pp, context_parallel=cp, data_parallel=dp
    )
    assert parse_layout(layout.to_json()) == layout


@given(tp=sizes, pp=sizes, dp=sizes)
def test_data_parallelism_takes_what_the_other_sizes_leave(tp: int, pp: int, dp: int) -> None:
    read = parse_layout({"gpu_count": tp * pp * dp, "tensor_parallel": tp, "pipeline_parallel": pp})
    assert isinstance(read, Layout)
    assert read.data_parallel == dp


def test_a_count_alone_leaves_the_split_open() -> None:
    assert parse_layout({"gpu_count": 4}) == 4
    assert parse_layout({"gpu_count": 1}) == Layout()
    assert parse_layout({}) == Layout()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"gpu_count": 8, "tensor_parallel": 3, "data_parallel": 2}, "is 6, not gpu_count 8"),
        ({"gpu_count": 0}, "gpu_count is 0"),
        ({"gpu_count": 2.5}, "whole number"),
        ({"gpu_count": True}, "whole number"),
        ({"gpu_count": float("nan")}, "whole number"),
        ({"gpus": 4}, "no field 'gpus'"),
        ({"gpu_count": 2, "sharding": "zero9"}, "one of none, zero1"),
        ({"gpu_count": 4, "expert_parallel": 3}, "does not divide"),
        ({"gpu_count": 10**9}, "from 1 to"),
        ({"gpu_count": 2, "data_parallel_attention": "yes"}, "true or false"),
    ],
)
def test_a_wrong_layout_is_refused_with_its_numbers(raw: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidLayout, match=said):
        parse_layout(raw)


@given(
    st.dictionaries(
        st.sampled_from(
            ["gpu_count", "tensor_parallel", "sharding", "expert_parallel", "data_parallel_attention", "x"]
        ),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_no_input_escapes_as_anything_but_a_clear_error(raw: dict[str, object]) -> None:
    with suppress(PythiaError):
        parse_layout(raw)
