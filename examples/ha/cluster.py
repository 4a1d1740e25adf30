"""A Ceph cluster on this machine's loopback, for tests: one monitor, one OSD, both as plain processes
of this user in one folder. Debian 12's packages are the group "ceph" of .ci/packages.txt.

    with Cluster(folder) as cluster:
        cluster.rbd("create", "rbd/disk", "--size", "64M")
        cluster.conf                       # for conf= of a store

What is started is ended by its process id. Nothing on the machine is changed.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import uuid

PATIENCE = 120
PROGRAMS = ("ceph-mon", "ceph-osd", "ceph", "rbd", "rados")

# Small and quick: one copy of everything, a journal that is not synced in batches, no cephx.
CONF = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
keyring = {folder}/keyring
run dir = {folder}
pid file = {folder}/$type.$id.pid
admin socket =
log file = {folder}/$type.$id.log
crash dir = {folder}
debug default = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default read lease ratio = 0.05
osd crush chooseleaf type = 0
[client]
log file =
[mon]
mon data = {folder}/mon
mon initial members = a
mon cluster log file = {folder}/cluster.log
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail crit = 0
mon osd adjust heartbeat grace = false
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
mon probe timeout = 1
mon election timeout = 1
mon memory target = 536870912
auth allow insecure global id reclaim = false
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = 4294967296
bluestore block create = true
bluestore cache size = 67108864
bluestore cache autotune = false
bluestore fsck on mkfs = false
osd op num shards = 1
osd op num threads per shard = 2
osd class load list = *
osd class default list = *
"""


def missing():
    """The programs that are not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """A cluster with the pool "rbd"."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.conf = self.folder / "ceph.conf"
        self.processes = {}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        for name in ("mon", "osd"):
            (self.folder / name).mkdir(parents=True)
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        port = free_port()
        self.conf.write_text(CONF.format(fsid=fsid, port=port, folder=self.folder))
        self._run("ceph-authtool", "--create-keyring", self.folder / "keyring", "--gen-key",
                  "-n", "mon.", "--cap", "mon", "allow *")
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a",
                  f"[v2:127.0.0.1:{port}]", "--enable-all-features", self.folder / "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", self.folder / "monmap",
                  "--keyring", self.folder / "keyring")
        self._begin("mon", "ceph-mon", "-i", "a")
        # It needs no monitor where it is told who it is.
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "--no-mon-config")
        self.ceph("osd", "new", osd)
        self.start_osd()
        self.ceph("osd", "pool", "create", "rbd", "8", "8", "--autoscale-mode=off")
        self.ceph("osd", "pool", "application", "enable", "rbd", "rbd")

    def environment(self):
        return {**os.environ, "CEPH_CONF": str(self.conf), "CEPH_ARGS": ""}

    def _run(self, *command):
        done = subprocess.run([str(word) for word in command], env=self.environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE, check=False)
        if done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done.stdout

    def _begin(self, name, *command):
        with open(self.folder / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen([*command, "-f"], env=self.environment(),
                                                    stdout=log, stderr=subprocess.STDOUT)

    def ceph(self, *command):
        return self._run("ceph", "--connect-timeout", str(PATIENCE), *command)

    def rbd(self, *command):
        return self._run("rbd", *command)

    def rados(self, *command):
        return self._run("rados", *command)

    def start_osd(self):
        self._begin("osd", "ceph-osd", "-i", "0")

    def kill_osd(self):
        """As if its machine had lost power."""
        self.processes["osd"].kill()
        self.processes.pop("osd").wait()

    def watchers(self, image):
        """Addresses of the clients that have it open, as 127.0.0.1:0/1234567."""
        lines = self.rbd("status", image).splitlines()
        return [line.split("watcher=")[1].split()[0] for line in lines if "watcher=" in line]

    def fence(self, client):
        """The cluster takes nothing from the client any more."""
        self.ceph("osd", "blocklist", "add", client)

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        for process in self.processes.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
