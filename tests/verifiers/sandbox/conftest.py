import os

import pytest

from verifiers.sandbox import Sandbox, SandboxUnavailable


@pytest.fixture(scope="session")
def sandbox():
    """The best that this machine gives; without any, the tests of programs are skipped."""
    try:
        with Sandbox(workers=2) as made:
            yield made
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def as_root():
    if os.geteuid() != 0:
        pytest.skip("needs root")
