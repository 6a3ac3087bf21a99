"""What a request looks like when its user's content is left out, and whose it is by that.

Pure. `shape` takes the fixed parts out of a request, `table` finds the workload that has them; `normalise`
and `sketch` make prompts alike that differ only in what changes from release to release.
"""

from services.common.fingerprint.shape import (
    DIGEST_BYTES,
    Shape,
    fingerprint,
    shape_of,
    shape_of_system_prompt,
    shapes_of_examples,
)
from services.common.fingerprint.table import AmbiguousError, Hit, ShapeTable

__all__ = [
    "DIGEST_BYTES",
    "AmbiguousError",
    "Hit",
    "Shape",
    "ShapeTable",
    "fingerprint",
    "shape_of",
    "shape_of_system_prompt",
    "shapes_of_examples",
]
