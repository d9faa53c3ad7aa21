"""What the stand-in's tests share: a connection to the module's stub, which begins each test clean."""

import pytest
from raw_client import Raw


@pytest.fixture(autouse=True)
def clean(stub):
    yield
    stub.fresh()


@pytest.fixture
def raw(stub):
    with Raw.to(stub) as it:
        yield it
