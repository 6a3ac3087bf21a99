from dataclasses import fields

from homeward.common.v1 import leg_pb2

from services.router.core.leg import Leg


def test_a_leg_has_the_fields_of_the_proto() -> None:
    # The proto has a Timestamp where the core has plain nanoseconds.
    ours = {field.name for field in fields(Leg)} - {"start_unix_ns"}
    assert ours == set(leg_pb2.Leg.DESCRIPTOR.fields_by_name) - {"start_time"}
