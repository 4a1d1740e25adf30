#!/usr/bin/env python3
"""Groups of gateways in front of one Ceph cluster, under the verified load of one host that knows
all of them. tests/ha/run runs it; tests/ha/takeovers makes many takeovers."""
import json
import pathlib
import re
import signal
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples/ha"), str(ROOT / "tests/integration")]
from cluster import Cluster  # noqa: E402
from harness import NQN, PATIENCE, TargetTest, until  # noqa: E402
from json_rpc import Client  # noqa: E402

MIB = 1 << 20
GOAL = 5.0  # seconds without I/O
CLUSTER = None


def setUpModule():
    global CLUSTER  # pylint: disable=global-statement
    folder = tempfile.TemporaryDirectory(prefix="mrpool-ceph-")
    unittest.addModuleCleanup(folder.cleanup)
    CLUSTER = unittest.enterModuleContext(Cluster(pathlib.Path(folder.name) / "cluster"))


class GatewayTest(TargetTest):
    """Two namespaces in two ANA groups, which any gateway may serve."""

    def setUp(self):
        super().setUp()
        self.name_of_test = self.id().rsplit(".", 1)[-1]
        self.images = [f"rbd/{self.name_of_test}.{i}" for i in (1, 2)]
        for image in self.images:
            CLUSTER.rbd("create", image, "--size", "32M")
        self.clients = {}
        self.ranges = {}

    def gateway(self, name, port=0, *options):
        """Starts one; a name keeps its range of controller ids."""
        first = self.ranges.setdefault(name, 1 + 1000 * len(self.ranges))
        socket = self.folder / f"{name}-{time.monotonic_ns()}"
        served = []
        for number, image in enumerate(self.images, 1):
            served += ["--namespace", f"rbd:{image},nsid={number},anagrpid={number}"]
        target = self.target(*served, "--gateway-group",
                             f"rbd:rbd/{self.name_of_test},conf={CLUSTER.conf}", "--gateway-name",
                             name, "--gateway-rejoin", "3s", "--min-cntlid", first, "--max-cntlid",
                             first + 999, "--control", socket, "--seccomp=enforce", *options, port=port)
        until(socket.is_socket, lambda: "no control socket")
        client = Client(socket, PATIENCE)
        self.addCleanup(client.close)
        self.clients[name] = client
        target.name = name
        return target

    def served(self, target):
        known = self.clients[target.name].call("mrpool_gateway_get_group")
        return {each["group"] for each in known["groups"] if each["state"] == "serving"}

    def begin(self, first, *others, nsid=1):
        paths = [word for each in others for word in ("--path", each.address)]
        load = self.start("perf", first, *self.name, *paths, "--nsid", nsid, "--rw", "randrw", "--bs",
                          "4k", "--iodepth", "8", "--verify", "crc32c", "--time_based", "--runtime",
                          "600", "--output-format", "json", "--reconnect-delay", "100ms", "--timeout",
                          "2s", "--eta", "always")
        self.addCleanup(load.kill)
        return load

    def end(self, *loads):
        """Ends them by a signal, with everything verified; the longest time of a command, in s."""
        for load in loads:
            if load.poll() is None:
                load.send_signal(signal.SIGINT)
        longest = 0
        for load in loads:
            out, err = load.communicate(timeout=PATIENCE)
            # 130: interrupted before it was done. What it did is verified all the same.
            self.assertIn(load.returncode, (0, 130), err.decode() + out.decode()[-2000:])
            job = json.loads(out)["jobs"][0]
            self.assertEqual(job["verify_errors"], 0, err.decode())
            self.assertEqual(job["io_errors"], 0, err.decode())
            self.assertGreater(job["verified"], 0)
            longest = max([longest] + [job[way]["lat_ns"]["max"] / 1e9 for way in ("read", "write")])
        return longest

    def report(self, what, pause, goal=GOAL):
        print(f"{what}: the longest pause was {pause:.2f} s", file=sys.stderr, flush=True)
        self.assertLess(pause, goal)

    def balanced(self, *targets):
        """Every group is served, and each gateway has one if there are two of them."""
        def holds():
            each = [self.served(target) for target in targets]
            return sorted(sum(map(list, each), [])) == ["1", "2"] and (
                len(targets) != 2 or all(len(groups) == 1 for groups in each))
        until(holds, lambda: "\n".join(target.output() for target in targets))

    def owner_and_others(self, targets, group="1"):
        owner, = (each for each in targets if group in self.served(each))
        return owner, [each for each in targets if each is not owner]

    def loads(self, targets):
        """A load on each namespace, by all gateways, that runs."""
        loads = [self.begin(*targets, nsid=nsid) for nsid in (1, 2)]
        for load in loads:
            load.stderr.readline()  # the first line of a load that runs; then all paths connect
        # A gateway that ends while a load connects to it ends the load.
        time.sleep(2)
        return loads

    def pause(self, targets, disturb, after=None):
        """Loads both namespaces while `disturb` happens to the owner of one; the longest pause."""
        loads = self.loads(targets)
        owner, others = self.owner_and_others(targets)
        disturb(owner)
        self.balanced(*others)
        time.sleep(0.5)
        if after is not None:
            after(owner)
            self.balanced(*targets)
            time.sleep(0.5)
        longest = self.end(*loads)
        return longest, owner, others


class Gateways(GatewayTest):
    def test_takeovers_of_each_kind(self):
        a = self.gateway("a")
        self.balanced(a)
        b = self.gateway("b")
        self.balanced(a, b)
        pause, owner, others = self.pause((a, b), lambda owner: self.assertEqual(owner.stop(), 0))
        self.report("SIGTERM of an owner", pause, goal=1.0)
        self.assertNotIn("fencing", others[0].output())
        again = self.gateway(owner.name, port=owner.port)
        targets = (again, others[0])
        self.balanced(*targets)

        pause, owner, _ = self.pause(
            targets, lambda owner: owner.process.send_signal(signal.SIGSTOP),
            lambda owner: owner.process.send_signal(signal.SIGCONT))
        self.report("SIGSTOP and SIGCONT of an owner", pause)
        self.assertIn("no longer served by this gateway", owner.output())

        pause, owner, _ = self.pause(targets, lambda owner: owner.kill())
        self.report("kill -9 of an owner", pause)

    def test_rolling_restart_of_three(self):
        targets = [self.gateway(name) for name in "abc"]
        self.balanced(*targets)
        loads = self.loads(targets)
        for i, target in enumerate(targets):
            self.assertEqual(target.stop(), 0, target.output())
            self.balanced(*(each for each in targets if each is not target))
            targets[i] = self.gateway(target.name, port=target.port)
            self.balanced(*targets)
        self.report("a rolling restart of three", self.end(*loads))

    def test_a_reservation_survives(self):
        a = self.gateway("a")
        self.balanced(a)
        self.run_host("read", a, *self.name, "--nsid", "1", "--size", "4096")
        uuid = re.search(r"namespace 1: .*, UUID (\S+)", a.output()).group(1)
        # Another host has exclusive access, as another gateway would have kept it.
        holder = "0a" * 16
        CLUSTER.rados("setomapval", "-p", "rbd", self.name_of_test, f"pr-{uuid}",
                      f"keys 1\nstate 1 3 {holder}\nkey 7 {holder}\n")
        a.kill()
        b = self.gateway("b")
        self.balanced(b)
        _, err = self.run_host("read", b, *self.name, "--nsid", "1", "--size", "4096", expect=1)
        self.assertIn("reservation_conflict", err)
        self.run_host("read", b, *self.name, "--nsid", "2", "--size", "4096")

    def test_two_groups_with_one_image_are_refused(self):
        a = self.gateway("a")
        self.balanced(a)
        a.kill()
        self.images.reverse()
        b = self.gateway("b")
        until(lambda: "write the same anagrpid at all gateways" in b.output(), b.output)
        self.assertEqual(self.served(b), set())

    def test_one_range_of_controller_ids_is_reported(self):
        self.ranges = {"a": 1, "b": 500}
        a = self.gateway("a")
        self.gateway("b")
        until(lambda: "hosts refuse the second one. Give each gateway a range" in a.output(), a.output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
