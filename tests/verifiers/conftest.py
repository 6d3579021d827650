import pytest

from verifiers import code
from verifiers.sandbox import Sandbox, SandboxUnavailable


@pytest.fixture(scope="module")
def shared_sandbox():
    """What verifiers run programs in; where nothing isolates them, the tests are skipped."""
    try:
        with Sandbox(workers=4) as made:
            code.use(made)
            yield made
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    finally:
        code.use(None)
