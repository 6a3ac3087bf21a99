import uuid

from hypothesis import given
from hypothesis import strategies as st

from services.common.ids import uuid7, uuid_text

instants = st.integers(0, 2**48 * 1_000_000 - 1)
randoms = st.binary(min_size=10, max_size=10)


@given(instants, randoms)
def test_an_id_is_a_uuid_of_version_7_with_its_millisecond_in_front(unix_ns: int, random: bytes) -> None:
    value = uuid.UUID(bytes=uuid7(unix_ns, random))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == unix_ns // 1_000_000


@given(instants, instants, randoms, randoms)
def test_ids_of_different_milliseconds_sort_by_time(
    one: int, other: int, random_one: bytes, random_other: bytes
) -> None:
    if one // 1_000_000 != other // 1_000_000:
        assert (uuid7(one, random_one) < uuid7(other, random_other)) == (one < other)


def test_ids_of_one_instant_differ() -> None:
    assert len({uuid7(1) for _ in range(1000)}) == 1000


@given(st.binary(min_size=16, max_size=16))
def test_the_text_is_the_usual_form(value: bytes) -> None:
    assert uuid_text(value) == str(uuid.UUID(bytes=value))
