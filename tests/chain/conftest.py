"""The run that the chain's tests share."""

from pathlib import Path

import pytest
from miniature import finish


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The run folder of a miniature that nobody disturbed."""
    runs = tmp_path_factory.mktemp("undisturbed")
    finish(runs)
    return runs / "quickstart"
