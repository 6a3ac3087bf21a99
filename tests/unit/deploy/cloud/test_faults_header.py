"""What the header asks for."""

import pytest

from deploy.local.cloud.errors import ApiError
from deploy.local.cloud.faults import NONE, FaultPlan, Faults


def test_directives_are_read() -> None:
    header = "status=503, retry-after=1.5,slow-first=2,silence=0.1,cut=3,error-event=4"
    header += ",refuse,html,garbage,cut-body"
    assert FaultPlan().read(header) == Faults(503, "1.5", True, True, True, True, 2, 0.1, 3, 4)
    assert FaultPlan().read("") == NONE


def test_a_fault_may_be_met_only_so_often() -> None:
    plan = FaultPlan()
    met = [plan.read("status=503;times=2;id=a").status for _ in range(3)]
    assert met == [503, 503, None]
    assert plan.read("status=503;times=2;id=b").status == 503
    plan.clear()
    assert plan.read("status=503;times=2;id=a").status == 503


@pytest.mark.parametrize("header", ["stutus=1", "status=200", "status", "cut=-1", "html=1", "cut=1;when=x"])
def test_what_cannot_be_read_is_refused(header: str) -> None:
    with pytest.raises(ApiError, match="can't be read"):
        FaultPlan().read(header)
