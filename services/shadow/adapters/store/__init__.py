"""Everything that shadow must not forget, in one SQLite file."""

from __future__ import annotations

from pathlib import Path

from services.shadow.adapters.store.examples import Examples
from services.shadow.adapters.store.experiments import Experiments
from services.shadow.adapters.store.rows import Count, Example, Finished, KeptExample, Sample
from services.shadow.adapters.store.samples import Samples
from services.shadow.adapters.store.traffic import Traffic

__all__ = ["Count", "Example", "Finished", "KeptExample", "Sample", "Store"]


class Store(Examples, Experiments, Samples, Traffic):
    """The file. One process has it at a time; its methods may be called from any thread."""

    def __init__(self, file: Path, max_samples: int) -> None:
        """Opens or makes the file, and goes on with what is in it.

        Args:
            file: its folder is made if it is not there.
            max_samples: that may wait; one more is refused with QUEUE_FULL.

        Raises:
            SettingsError: it can't be opened, is damaged, or is another version's.
        """
        super().__init__(file)
        self.max_samples = max_samples
