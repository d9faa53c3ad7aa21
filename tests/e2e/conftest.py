"""Fixtures that several modules share. A stub lives for a module, and is clean before each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stub"))

from stub_client import start_stubs  # noqa: E402


@pytest.fixture(scope="module")
def all_stubs():
    """dify1, dify2, dify3; each also serves a second application."""
    stubs = start_stubs("dify1", "dify2", "dify3", tokens=["app-one", "app-two"])
    yield stubs
    for stub in stubs:
        stub.stop()


@pytest.fixture
def stubs(all_stubs):
    for stub in all_stubs:
        stub.clear()
        stub.forget()
    return all_stubs


@pytest.fixture
def stub(stubs):
    return stubs[0]
