"""The laws of refca: property-based tests that any backend has to pass.

    pytest --pyargs refca_spec --refca-backend mypkg.mymodule

`laws/` has one file for each chapter of `spec/`; the constraint (C3) of the chapter `step` is held by the
laws `test_step_c3_…`. A law of backends takes the fixtures `backend` and `dtype` of `plugin.py`.
"""

from pathlib import Path

SPECIFICATION = "0.1.0"  # the version of the specification: `spec/governance.md`
PACKAGE = Path(__file__).parent
FOLDER = PACKAGE / "chapters" if (PACKAGE / "chapters").exists() else PACKAGE.parent / "chapters"
