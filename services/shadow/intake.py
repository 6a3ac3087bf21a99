"""What is taken: a submitted sample as the store has it, or why it has no vote."""

from __future__ import annotations

from collections.abc import Callable

from homeward.shadow.v1 import shadow_pb2

from services.common.errors import DomainError, Reason, invalid_request
from services.common.sampling import ID_BYTES
from services.common.words import Target
from services.shadow import translate
from services.shadow.adapters.language import Language
from services.shadow.adapters.store import Sample, Store
from services.shadow.core.experiment import Experiment
from services.shadow.core.funnel import BEFORE_START, INELIGIBLE


class Intake:
    """Puts samples into the store. May be called from any thread."""

    def __init__(self, store: Store, language: Language, clock: Callable[[], int]) -> None:
        """`clock` gives microseconds since the epoch."""
        self._store = store
        self._language = language
        self._clock = clock

    def take(self, request: shadow_pb2.SubmitSampleRequest, reversed: bool) -> None:
        """Makes a sample durable; one that is known changes nothing.

        Args:
            request: the sample.
            reversed: whether it is one of after the cutover. An answer from home always is.

        Raises:
            DomainError: QUEUE_FULL, EXPERIMENT_NOT_FOUND, INVALID_REQUEST, STORAGE_UNAVAILABLE.
        """
        _check(request)
        experiment = self._experiment_of(request)
        language = ""
        if "language" in experiment.strata:
            language = self._language.of(translate.user_text(request.chat))
        home = request.sovereign_failed or translate.target_of(request) is Target.SOVEREIGN
        sample = Sample(
            sample_id=request.sample_id,
            experiment_id=request.experiment_id,
            epoch=request.epoch,
            workload=experiment.workload,
            request_unix_us=translate.unix_us(request.request_time),
            cluster=translate.cluster_of(request, experiment),
            stratum=translate.stratum_of(request, experiment, language),
            payload=request.SerializeToString(),
            reversed=reversed or home,
        )
        if sample.request_unix_us < experiment.start_unix_us:
            self._store.pass_over(sample, INELIGIBLE, BEFORE_START, self._clock())
        else:
            self._store.take(sample, self._clock())

    def _experiment_of(self, request: shadow_pb2.SubmitSampleRequest) -> Experiment:
        experiment = self._store.experiment(request.experiment_id, request.epoch)
        if experiment is None:
            name = request.experiment_id.hex()
            raise DomainError(
                Reason.EXPERIMENT_NOT_FOUND,
                f"epoch {request.epoch} of experiment {name!r} is not registered",
                experiment_id=name,
            )
        if request.workload != experiment.workload:
            raise invalid_request("workload", repr(experiment.workload), repr(request.workload))
        return experiment


def _check(request: shadow_pb2.SubmitSampleRequest) -> None:
    for field in ("sample_id", "experiment_id"):
        size = len(getattr(request, field))
        if size != ID_BYTES:
            raise invalid_request(field, f"{ID_BYTES} bytes", f"{size} bytes")
    if not request.HasField("request_time"):
        raise invalid_request("request_time", "a time", "nothing")
    if not request.HasField("chat"):
        raise invalid_request("chat", "a question", "nothing")
    if request.target and request.target not in {target.value for target in Target}:
        raise invalid_request("target", "a target that this version knows", request.target)
