#!/usr/bin/env python3
"""Two daemons with one file are two paths to one namespace, for mrpool-nvmf perf with --path.

    MRPOOL_BIN=build/dev/bin tests/integration/multipath_test.py [test]...
"""
import json
import pathlib
import signal
import unittest

from harness import NQN, PATIENCE, TargetTest, until
from json_rpc import Client


class Multipath(TargetTest):
    def setUp(self):
        super().setUp()
        self.disk = self.file("disk", 4 << 20)
        self.clients = {}

    def daemon(self, name, *options, first=1, port=0, **more):
        """A gateway with the file, and a range of 1000 controller ids from `first` on."""
        socket = self.folder / f"{name}-{len(self.clients)}"
        target = self.target("--namespace", f"file:{self.disk},shared", "--min-cntlid", first,
                             "--max-cntlid", first + 999, "--control", socket, *options,
                             port=port, **more)
        until(lambda: pathlib.Path(socket).is_socket(), lambda: "no control socket")
        client = Client(socket, PATIENCE)
        self.addCleanup(client.close)
        self.clients[target.address] = client
        return target

    def two(self, *options):
        return self.daemon("a"), self.daemon("b", *options, first=1001)

    def done(self, target):
        """Commands that have completed there."""
        group, = self.clients[target.address].call("nvmf_get_stats")["poll_groups"]
        return group["completed_nvme_io"]

    def goes_on(self, target):
        before = self.done(target)

        def more():
            if self.perf.poll() is not None:
                self.fail(f"the load has ended: {self.perf.communicate()[1].decode()}")
            return self.done(target) > before + 50
        until(more, lambda: f"no commands come to {target.address}")

    def state(self, target, state):
        self.clients[target.address].call("nvmf_subsystem_listener_set_ana_state", nqn=NQN,
                                          ana_state=state)

    def load(self, first, second, *options):
        load = self.start("perf", first, "--subnqn", NQN, "--path", second.address, "--rw", "randrw",
                          "--bs", "4k", "--iodepth", "8", "--verify", "crc32c", "--time_based",
                          "--runtime", "600", "--output-format", "json", "--reconnect-delay",
                          "100ms", *options)
        self.addCleanup(load.kill)
        self.perf = load
        return load

    def end(self, load):
        """Ends it by a signal, with everything verified; what it reports."""
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err.decode() + out.decode()[-2000:])
        return json.loads(out)["mrpool"], err.decode()

    def test_a_daemon_is_killed_under_verified_load(self):
        first, second = self.two()
        load = self.load(first, second)
        self.goes_on(first)
        self.goes_on(second)
        first.kill()
        self.goes_on(second)
        again = self.daemon("a", port=first.port)
        self.goes_on(again)
        self.goes_on(second)
        own, said = self.end(load)
        self.assertGreaterEqual(own["reconnects"], 1)
        self.assertEqual([path["address"] for path in own["paths"]],
                         [first.address, second.address])
        for path in own["paths"]:
            self.assertGreater(path["commands"], 50)
        self.assertIn(f"{first.address}: connection lost", said)
        self.assertIn(f"{first.address}: connected again", said)

    def test_commands_follow_the_states(self):
        first, second = self.two("--ana-state", "non_optimized")
        load = self.load(first, second)
        self.goes_on(first)
        self.assertEqual(self.done(second), 0)
        self.state(first, "inaccessible")
        self.goes_on(second)
        before = self.done(first)
        self.goes_on(second)
        self.assertEqual(self.done(first), before)
        # The optimized one again.
        self.state(first, "optimized")
        self.goes_on(first)
        self.state(second, "persistent_loss")
        # Without any path commands wait.
        self.state(first, "change")
        self.state(second, "optimized")
        self.goes_on(second)  # what was under way at the first has ended
        before = self.done(first)
        self.goes_on(second)
        self.assertEqual(self.done(first), before)
        own, said = self.end(load)
        self.assertGreaterEqual(own["failovers"], 1)
        self.assertIn(f"{first.address}: inaccessible", said)

    def test_queue_depth_uses_both(self):
        first, second = self.two()
        load = self.load(first, second, "--path-policy", "queue-depth", "--numjobs", "2")
        self.goes_on(first)
        self.goes_on(second)
        own, _ = self.end(load)
        self.assertEqual(own["failovers"], 0)

    def test_all_paths_are_lost(self):
        first, second = self.two()
        load = self.load(first, second, "--ctrl-loss-tmo", "500ms")
        self.goes_on(second)
        first.kill()
        second.kill()
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 3, err.decode() + out.decode()[-2000:])

    def test_mistakes(self):
        first = self.daemon("a")
        perf = ["perf", first.address, "--subnqn", NQN, "--runtime", "1"]
        self.assertIn("all paths have one transport",
                      self.refused("mrpool-nvmf", *perf, "--path", "verbs://127.0.0.1"))
        self.assertIn("--path", self.refused("mrpool-nvmf", *perf, "--path", "nowhere"))
        other = self.target("--namespace", "ram:4MiB")
        self.assertIn("give paths to one namespace",
                      self.refused("mrpool-nvmf", *perf, "--path", other.address))
        # Without "shared" the file has one daemon.
        refusal = self.refused("mrpool-nvmf-target", "--listen", "uiwarp://127.0.0.1:0", "--subnqn",
                               NQN, "--namespace", f"file:{self.disk}", expect=1)
        self.assertIn("is in use by process", refusal)


if __name__ == "__main__":
    unittest.main()
