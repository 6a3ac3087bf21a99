"""The policy's `Sampling` between protos and the plain words of services.common.sampling."""

from __future__ import annotations

from homeward.common.v1 import policy_pb2

from services.common.sampling import Sampling


def sampling_from_proto(row: policy_pb2.WorkloadPolicy) -> Sampling | None:
    """How a row's requests are sampled; None if they are not.

    Raises:
        ValueError: a field breaks its constraint.
    """
    if not row.HasField("sampling"):
        return None
    item = row.sampling
    return Sampling(item.experiment_id, item.epoch, item.rate_ppm, item.salt, item.reversed)


def sampling_to_proto(sampling: Sampling | None) -> policy_pb2.Sampling | None:
    """The message, or None for none."""
    if sampling is None:
        return None
    return policy_pb2.Sampling(
        experiment_id=sampling.experiment_id,
        epoch=sampling.epoch,
        rate_ppm=sampling.rate_ppm,
        salt=sampling.salt,
        reversed=sampling.reversed,
    )
