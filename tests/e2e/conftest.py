"""Fixtures that several modules share. A stub lives for a module, and is clean before each test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stub"))

from stub_client import start_stubs  # noqa: E402


# What takes longest, longest first (some 50 s to 20 s): or the last worker of xdist sits alone over one of them.
LONGEST = ("test_monitoring", "test_quickstart", "test_dashboard", "test_names", "test_checks", "test_watchdog", "test_hold",
           "test_cluster_config", "test_cluster_bad_input", "test_cluster_restarts", "test_slots", "test_cluster_hostile",
           "test_given_back", "test_gray", "test_faults", "test_dify_migrate_hostile", "test_vip", "test_asking_on")


def pytest_collection_modifyitems(items):
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.module.__name__, len(place)))   # the others as they were


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
        stub.fresh()
    return all_stubs


@pytest.fixture
def stub(stubs):
    return stubs[0]
