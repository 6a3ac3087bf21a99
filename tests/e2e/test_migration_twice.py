"""A second run on the state of the first. The last of the files that share the tour: it ends it."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.conftest import TOUR_S, Run

pytestmark = pytest.mark.timeout(TOUR_S + 120)
VOICE, BANK = "voice-domain", "bank-intent"


def test_the_next_run_begins_a_new_epoch_and_can_be_stopped_in_the_middle(toured: Run) -> None:
    assert toured.stop() == 0
    toured.start(HOMEWARD_LOCAL__MIGRATION="true", HOMEWARD_LOCAL__TOUR="true")
    toured.wait_for(f"{VOICE}: registered, epoch 2")
    toured.wait_for(f"{BANK}: registered, epoch 2")
    toured.wait_for("window 1 closed")
    assert toured.stop(signal.SIGINT) == 0
    assert "Traceback" not in toured.output
