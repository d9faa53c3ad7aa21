#!/usr/bin/python3
"""A dockerd of our own, that touches nothing of the machine and leaves nothing but its cache.

    build_images()                 # with the machine's network
    with Daemon() as daemon:       # in a network of its own
        daemon.compose("up", "-d", "--build")

Called as a program it builds the images and says what is in the way; a Docker that cannot run is no
error (the tests are skipped then and say the same).

It lives in a mount and a process namespace of its own, so all its mounts and containers end with the
one process that we hold, and that ends with us, however we end. Images are kept in build/compose from run to run.

A daemon that builds needs the package archive and has no bridge and no iptables rules, which would be
the machine's. One that runs has a network namespace, too: bridges, rules, published ports and its
ip_forward are in there. No registry is asked for anything: the base image is made with debootstrap.
"""
import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
FOLDER = os.path.join(ROOT, "build", "compose")
BASE_IMAGE = "debian:trixie-slim"
CGROUP = "/difyring-compose"
START_SECONDS = 30  # it takes three
STOP_SECONDS = 20
CACHE_HOURS = 48
# The longest is a first build, which took 50 s on a quiet machine and 400 beside all of tests/run: its containers
# have one share of the CPU together. Below what a part of tests/run may take, so that the command is named.
COMMAND_SECONDS = 800

# What runs as process 1 of the namespaces. A private /run holds all sockets and state of the daemon;
# resolv.conf may be a link into the real one.
INSIDE = """
set -eu
resolvers=$(cat /etc/resolv.conf)
mount -t tmpfs tmpfs /run
place=$(realpath -m /etc/resolv.conf)
case $place in /run/*) mkdir -p "${place%/*}"; echo "$resolvers" >"$place" ;; esac
ip link set lo up
exec dockerd --data-root "$1/data" --exec-root /run/docker --pidfile /run/docker.pid \
    --host "unix://$2/docker.sock" --cgroup-parent "$3" --log-level warn $4
"""
NO_NETWORK = "--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false"


class CannotStart(Exception):
    """Why dockerd does not run on this machine."""


def require_programs():
    needed = ("dockerd", "docker", "docker-compose", "debootstrap", "setpriv", "unshare", "iptables", "ip")
    missing = [name for name in needed if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        raise CannotStart(f"there is no {', '.join(missing)}" if missing else "this is not root")


def run(command, check=True, **more):
    """The output of a command; its failure is an exception that shows both outputs."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                          **{"timeout": COMMAND_SECONDS, **more})
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Daemon:
    def __init__(self, networked=False):
        self.folder, self.networked = FOLDER, networked
        self.scratch, self.process = None, None
        self.env = {}

    def __enter__(self):
        require_programs()
        # What a killed run left would be started again, and its volumes count as mounted for ever.
        for name in ("containers", "volumes", "network"):
            shutil.rmtree(os.path.join(self.folder, "data", name), ignore_errors=True)
        os.makedirs(os.path.join(self.folder, "data"), exist_ok=True)
        # A socket's path has at most 107 bytes, and the tree may stand deep.
        self.scratch = tempfile.mkdtemp(prefix="difyring-compose-")
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{self.scratch}/docker.sock", "COMPOSE_PROJECT_NAME":
                    "difyring", "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0",
                    "DOCKER_CONFIG": self.scratch}  # nobody's logins, nobody's proxies
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        if not self.networked:
            give_weight()
        namespaces = ["--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        if not self.networked:
            namespaces.append("--net")
        log_path = os.path.join(self.folder, "dockerd.log")
        with open(log_path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "sh", "-c", INSIDE, "sh", self.folder, self.scratch, CGROUP,
                 NO_NETWORK if self.networked else ""], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(["docker", "version"], env=self.env, capture_output=True, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(log_path, encoding="utf-8", errors="replace") as log:
                    lines = log.read().strip().splitlines() or ["it said nothing"]
                raise CannotStart(lines[-1])
            time.sleep(0.1)

    def __exit__(self, *_):
        if self.process:
            self._stop()
        if self.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
        remove_cgroups()

    def _stop(self):
        """First politely, so that its cache is whole; the namespaces end with it in any case."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
                for child in file.read().split():
                    os.kill(int(child), signal.SIGTERM)
            self.process.wait(STOP_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()

    def docker(self, *arguments, **more):
        return run(["docker", *arguments], env=self.env, **more)

    def compose(self, *arguments, **more):
        files = ["-f", "docker-compose.yml"] + (["-f", "tests/compose/build.yml"] if self.networked else [])
        return run(["docker-compose", *files, *arguments], env=self.env, cwd=ROOT, **more)

    def popen_compose(self, *arguments):
        return subprocess.Popen(["docker-compose", *arguments], env=self.env, cwd=ROOT, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def make_base_image(self):
        """What a registry would give: Debian 13, as small as it gets."""
        with tempfile.TemporaryDirectory(prefix="difyring-base-", dir=self.folder) as folder:
            settings = apt_network_settings()
            run(["debootstrap", "--variant=minbase", "trixie", folder, debian_archive()],
                env={**os.environ, **proxy_environment(settings)})
            # As in Debian's own images: no waiting for the disk, no translations.
            with open(f"{folder}/etc/dpkg/dpkg.cfg.d/docker-apt-speedup", "w", encoding="ascii") as file:
                file.write("force-unsafe-io\n")
            with open(f"{folder}/etc/apt/apt.conf.d/docker-no-languages", "w", encoding="ascii") as file:
                file.write('Acquire::Languages "none";\n')
            if settings:
                with open(f"{folder}/etc/apt/apt.conf.d/99build-machine", "w", encoding="utf-8") as file:
                    file.write("".join(f'{name} "{value}";\n' for name, value in settings))
            empty = ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/locale")
            excludes = " ".join(f"--exclude=./{path}/*" for path in empty)
            run(["sh", "-c", f'tar -C "$1" {excludes} -c . | docker import - {BASE_IMAGE}', "sh", folder],
                env=self.env)


def build_images():
    with Daemon(networked=True) as daemon:
        if not daemon.docker("images", "--quiet", BASE_IMAGE).strip():
            daemon.make_base_image()
        try:
            daemon.docker("run", "--rm", "--network", "none", BASE_IMAGE, "true")
        except AssertionError as error:
            raise CannotStart(f"no container runs: {error}") from error
        daemon.compose("build")
        # Stages of trees that are gone; what is younger is the cache.
        daemon.docker("image", "prune", "--force", "--filter", f"until={CACHE_HOURS}h")


def debian_archive():
    """The address that this machine's apt uses."""
    lines = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", "Origin: Debian",
                 "Component: main"]).splitlines()
    plain = [line for line in lines if "security" not in line]
    return plain[0] if plain else "http://deb.debian.org/debian"


def apt_network_settings():
    """[(name, value)] of what apt needs here to reach an archive: apt in the images needs it, too."""
    lines = run(["apt-config", "dump", "--format", "%f=%v%n"]).splitlines()
    pairs = [line.split("=", 1) for line in lines if line.lower().startswith(("acquire::http", "acquire::https"))]
    return [(name, value) for name, value in pairs if value]


def proxy_environment(settings):
    return {f"{scheme}_proxy": value for name, value in settings for scheme in ("http", "https")
            if name.lower() == f"acquire::{scheme}::proxy"}


def give_weight():
    """A group has one program's share of the CPU, however many run beside it: a pair that is measured gets twenty.
    (The first line is cgroup v2's, the other v1's.)"""
    for root, name, value in (("/sys/fs/cgroup", "cpu.weight", "2000"), ("/sys/fs/cgroup/cpu", "cpu.shares", "20480")):
        if os.path.exists(f"{root}/cgroup.controllers") or os.path.exists(f"{root}/cpu.shares"):
            with contextlib.suppress(OSError):  # not ours to give: the tests then run as they did
                os.makedirs(root + CGROUP, exist_ok=True)
                with open(f"{root}{CGROUP}/{name}", "w", encoding="ascii") as file:
                    file.write(value)


def remove_cgroups():
    """Containers that were killed with their daemon leave empty ones. (Not below our own cgroup: the name
    begins with a slash. With cgroup v1 there is one tree a controller.)"""
    for top in [f"/sys/fs/cgroup{CGROUP}", *glob.glob(f"/sys/fs/cgroup/*{CGROUP}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # still in use by the kernel: the next run removes it
                os.rmdir(folder)


if __name__ == "__main__":
    try:
        build_images()
    except CannotStart as error:
        print(f"Docker cannot run here: {error}")
