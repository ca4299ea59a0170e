"""Make the GPU check's dry run with what `pip install 'edgeapl[rtx]'` brings, and no more.

    python -m tests.bare_check OUT

Run by `.ci/run` in an environment of its own: a machine with a GPU may have nothing but these.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.gpu import check

FROM_ELSEWHERE = {
    "onnxruntime.cuda",
    "onnxruntime.frame",
    "time.against_torch",
    "time.against_trtexec",
    "sanitizer",
}
"""What a dry run without torch cannot show."""


def main() -> None:
    """Raise unless just the records that a dry run cannot show are failures."""
    assert find_spec("pytest") is None, "an environment for tests shows nothing here"
    out = Path(sys.argv[1])
    check.main(["--json", str(out), "--dry-run"])
    records = json.loads(out.read_text(encoding="utf-8"))["records"]
    failed = {record["name"] for record in records if not record["passed"]}
    assert failed == FROM_ELSEWHERE, f"failed: {failed ^ FROM_ELSEWHERE}"


if __name__ == "__main__":
    main()
