"""The Debian package of the release build, and what is in it."""

import glob
import os
import re
import shutil
import subprocess
import sys

import pytest

from daemon import ROOT, run

sys.path.insert(0, os.path.join(ROOT, "tests"))

import run_parts  # noqa: E402

BUILD = os.path.join(ROOT, "build", "release")
EXPOSURE_MAX = 2.0  # of 10, by `systemd-analyze security`; below 2 nothing is left but what a proxy needs
ETC = {"/etc/default/difyring", "/etc/logrotate.d/difyring"}
FILES = {
    "/usr/bin/difyring", "/usr/lib/systemd/system/difyring.service",
    "/usr/lib/systemd/system/keepalived.service.d/difyring.conf", "/usr/lib/sysctl.d/60-difyring.conf",
    "/usr/lib/sysusers.d/difyring.conf", "/usr/lib/tmpfiles.d/difyring.conf", "/usr/share/man/man8/difyring.8.gz",
    "/usr/share/doc/difyring/README.md", "/usr/share/doc/difyring/copyright", "/usr/share/doc/difyring/doc/SPEC.md",
    "/usr/share/doc/difyring/deploy/PAIR.md", "/usr/share/doc/difyring/conf/examples/full.yaml", *ETC}


def listed_tests(folder):
    return re.findall(r"Test +#\d+: (\S+)", run(["ctest", "-N", "--test-dir", str(folder)]))


@pytest.mark.parametrize("left", [[], ["-DDIFYRING_SANITIZE=thread", "-DDIFYRING_FUZZ=ON", "-DCMAKE_C_COMPILER=clang"]],
                         ids=["as PAIR.md packs", "with a sanitizer, by hand"])
def test_a_tree_that_was_configured_for_something_else_runs_its_tests_all_the_same(tmp_path, left):
    with open(os.path.join(ROOT, "deploy", "PAIR.md"), encoding="utf-8") as page:
        packing = re.search(r"^cmake --preset release .*DIFYRING_TESTS=OFF.*$", page.read(), re.M)[0].split()
    deps = os.environ.get("DIFYRING_DEPS_DIR")
    run([*packing, *left, "-B", str(tmp_path), *([f"-DDIFYRING_DEPS_DIR={deps}"] if deps else [])], cwd=ROOT)
    assert listed_tests(tmp_path) == []
    run([*run_parts.configure_command("release"), "-B", str(tmp_path)], cwd=ROOT)
    names = listed_tests(tmp_path)
    assert {"unit.ring", "unit.conf"} <= set(names)
    cache = (tmp_path / "CMakeCache.txt").read_text(encoding="utf-8")
    assert re.search(r"^DIFYRING_SANITIZE:\w+=$", cache, re.M) and re.search(r"^DIFYRING_FUZZ:\w+=OFF$", cache, re.M)


@pytest.fixture(scope="module")
def package():
    if not os.path.exists(os.path.join(BUILD, "CMakeCache.txt")):
        pytest.skip("there is no release build")
    for old in glob.glob(os.path.join(BUILD, "package", "*.deb")):
        os.unlink(old)
    run(["cmake", "--build", BUILD, "--target", "package"])
    return glob.glob(os.path.join(BUILD, "package", "*.deb"))[0]


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    run(["dpkg-deb", "-R", package, str(folder)])
    return folder


def test_everything_is_where_debian_looks_for_it(unpacked):
    found = {"/" + os.path.relpath(os.path.join(folder, name), unpacked)
             for folder, _, names in os.walk(unpacked) for name in names}
    assert FILES <= found
    strangers = {path for path in found if not re.match(r"/(DEBIAN|usr/(bin|lib|share)|etc)/", path)}
    assert not strangers


def test_the_operators_files_are_not_overwritten(unpacked):
    assert set((unpacked / "DEBIAN" / "conffiles").read_text().split()) == ETC


def test_the_program_runs_and_asks_for_its_libraries(package, unpacked):
    assert run([str(unpacked / "usr/bin/difyring"), "version"]).startswith("difyring ")
    depends = run(["dpkg-deb", "-f", package, "Depends"])
    for library in ("libc6", "libssl3", "libuv1", "libyaml-0-2"):
        assert library in depends
    assert "llhttp" not in depends  # it is linked in: Debian 12 has none that is safe


def test_installing_means_what_the_package_holds(unpacked, tmp_path):
    run(["cmake", "--install", BUILD, "--prefix", "/usr"], env={**os.environ, "DESTDIR": str(tmp_path)})
    for path in FILES:
        assert (tmp_path / path[1:]).exists(), path
        assert (unpacked / path[1:]).stat().st_mode == (tmp_path / path[1:]).stat().st_mode, path


def test_scripts_of_the_package_are_valid(unpacked):
    for name in ("postinst", "prerm", "postrm"):
        run(["sh", "-n", str(unpacked / "DEBIAN" / name)])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_the_service_may_do_little(unpacked):
    unit = str(unpacked / "usr/lib/systemd/system/difyring.service")
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit], capture_output=True,
                          text=True, check=False)
    exposure = re.search(r"Overall exposure level for .*: ([\d.]+)", said.stdout)
    assert exposure, said
    assert float(exposure.group(1)) <= EXPOSURE_MAX
