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
    "/usr/lib/systemd/system/keepalived.service.d/difyring.conf", "/usr/share/difyring/sysctl.d/60-difyring.conf",
    "/usr/share/bash-completion/completions/difyring", "/usr/share/zsh/vendor-completions/_difyring",
    "/usr/share/difyring/difyring.schema.json", "/usr/share/man/man5/difyring.yaml.5.gz",
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


# ---- the machine that it is installed on

# In a root of its own over this one's: nothing of it is left. $1 the former package, $2 the new one.
UPGRADE = """
set -e
mount -t overlay overlay -o lowerdir=/,upperdir="$3/upper",workdir="$3/work" "$3/root"
mount -t tmpfs tmpfs "$3/root/run"
cp "$1" "$3/root/former.deb"; cp "$2" "$3/root/new.deb"
exec chroot "$3/root" sh -ec '
    dpkg -i --force-depends /former.deb >/dev/null 2>&1
    [ -e /usr/lib/sysctl.d/60-difyring.conf ]
    echo "# mine" >>/etc/default/difyring
    printf "%s\\n" "$1" >/etc/difyring/difyring.yaml
    dpkg -i --force-depends --force-confold /new.deb >/dev/null 2>&1
    difyring version | head -1
    tail -1 /etc/default/difyring
    head -1 /etc/difyring/difyring.yaml
    ls /usr/lib/sysctl.d/60-difyring.conf /etc/sysctl.d/60-difyring.conf 2>/dev/null || true
    dpkg --purge --force-depends difyring >/dev/null 2>&1
    ls -d /etc/difyring /etc/sysctl.d/60-difyring.conf /var/lib/difyring 2>/dev/null || true
    ' sh "$4"
"""


@pytest.fixture(scope="module")
def former(unpacked, tmp_path_factory):
    """A package as it was before: its kernel settings in force on every machine."""
    folder = tmp_path_factory.mktemp("former")
    shutil.copytree(unpacked, folder / "tree", symlinks=True)
    tree = folder / "tree"
    (tree / "usr/lib/sysctl.d").mkdir()
    shutil.move(tree / "usr/share/difyring/sysctl.d/60-difyring.conf", tree / "usr/lib/sysctl.d/60-difyring.conf")
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: .*$", "Version: 0.0.1", control.read_text(), flags=re.M))
    run(["dpkg-deb", "-b", "--root-owner-group", str(tree), str(folder / "former.deb")])
    return folder / "former.deb"


def upgrade(former, package, folder, first_line):
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False).returncode != 0:
        pytest.skip("no file systems can be mounted here")
    try:
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        shutil.copy(former, folder / "former.deb")
        shutil.copy(package, folder / "new.deb")
        said = subprocess.run(["unshare", "-m", "sh", "-c", UPGRADE, "sh", f"{folder}/former.deb", f"{folder}/new.deb",
                               str(folder), first_line], capture_output=True, text=True, check=False)
    finally:
        run(["umount", "-l", str(folder)])
    if "mount:" in said.stderr:
        pytest.skip(f"no overlay here: {said.stderr}")
    assert said.returncode == 0, said
    return said.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="dpkg wants root")
@pytest.mark.parametrize("first_line, kernel", [("vip: {}", ["/etc/sysctl.d/60-difyring.conf"]), ("listen: []", [])])
def test_an_upgrade_keeps_what_is_the_operators(former, package, tmp_path, first_line, kernel):
    version, default, configuration, *rest = upgrade(former, package, tmp_path, first_line)
    assert version.startswith("difyring ") and default == "# mine" and configuration == first_line
    assert rest == kernel   # without a virtual IP nothing of the kernel's is changed; and a purge leaves nothing


COMPLETION = """
source "$1"; shift
COMP_WORDS=(difyring "$@"); COMP_CWORD=$#
_difyring
echo "${COMPREPLY[@]}"
"""


def completed(*words):
    path = os.path.join(ROOT, "deploy", "completion", "difyring.bash")
    return run(["bash", "-c", COMPLETION, "bash", path, *words]).split()


def test_bash_completes_commands_options_and_words():
    assert completed("stat") == ["status"] and {"run", "explain", "--version"} <= set(completed(""))
    assert completed("status", "--w") == ["--watch"] and completed("config", "sh") == ["show"]
    assert set(completed("drain", "--")) >= {"--now", "--hold", "--host", "--node", "--url", "--config", "--ca"}
    assert completed("drain", "--hold", "") == [] and completed("nonsense", "-") == []
    assert f"{ROOT}/README.md" in completed("run", "-c", f"{ROOT}/READ")
    assert completed("help", "vrrp") == ["vrrp-config"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_reads_its_own():
    run(["zsh", "-n", os.path.join(ROOT, "deploy", "completion", "_difyring")])


def test_the_manual_pages_have_no_fault():
    for page in ("difyring.8", "difyring.yaml.5"):
        said = subprocess.run(["man", "-l", "--warnings", os.path.join(ROOT, "deploy", "man", page)],
                              capture_output=True, text=True, check=True, env={**os.environ, "MANWIDTH": "100"})
        assert said.stderr == "" and len(said.stdout) > 1000, said.stderr
