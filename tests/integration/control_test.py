#!/usr/bin/env python3
"""The control socket of both daemons, driven as SPDK's clients drive it.

    MRPOOL_BIN=build/dev/bin tests/integration/control_test.py [Class[.test]]...
"""
import json
import os
import stat
import subprocess
import unittest

from harness import BIN, PATIENCE, IserTarget, TargetTest, until
from json_rpc import Client, RpcError


class ControlTest(TargetTest):
    def serve(self, *options, **more):
        self.path = self.folder / "control"
        return self.target(*options, "--control", self.path, **more)

    def client(self):
        client = Client(self.path, PATIENCE)
        self.addCleanup(client.close)
        return client

    def fails(self, client, code, method, **parameters):
        """Returns the message."""
        with self.assertRaises(RpcError) as caught:
            client.call(method, **parameters)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception.message


class Socket(ControlTest):
    """What both daemons have."""

    def check_common(self, name):
        client = self.client()
        methods = client.call("rpc_get_methods", current=True, include_aliases=False)
        self.assertEqual(methods, sorted(methods))
        self.assertIn("spdk_get_version", methods)
        version = client.call("spdk_get_version")
        self.assertRegex(version["version"], rf"^{name} \d+\.\d+\.\d+$")
        self.assertEqual(set(version["fields"]), {"major", "minor", "patch", "suffix"})
        schema = client.call("mrpool_get_schema")
        self.assertEqual([each["name"] for each in schema], methods)
        self.fails(client, -32601, "no_such_method")
        self.assertIn('"curent" is no parameter here; there are: current, include_aliases',
                      self.fails(client, -32602, "rpc_get_methods", curent=True))
        self.assertIn("must be true or false",
                      self.fails(client, -32602, "rpc_get_methods", current=1))

    def test_methods_of_the_nvme_daemon(self):
        self.serve(*self.storage)
        self.check_common("mrpool-nvmf-target")

    def test_methods_of_the_iser_daemon(self):
        self.target_class = IserTarget
        self.serve("--lun", "ram:1MiB")
        self.check_common("mrpool-iser-target")

    def test_its_file(self):
        target = self.serve(*self.storage)
        mode = os.lstat(self.path).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)
        run = subprocess.run(
            [BIN / "mrpool-nvmf-target", "--listen", "uiwarp://127.0.0.1:0", "--subnqn",
             "nqn.2026-11.org.mrpool:other", "--namespace", "ram:1MiB", "--control", self.path],
            capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn(b"--control: ", run.stderr)
        self.assertIn(b"another process listens there", run.stderr)
        self.client().call("rpc_get_methods")  # it lives
        target.kill()
        self.assertTrue(self.path.exists())
        target = self.serve(*self.storage)  # over the stale file
        self.client().call("rpc_get_methods")
        self.assertEqual(target.stop(), 0)
        self.assertFalse(self.path.exists())

    def test_batches_pieces_and_mistakes(self):
        self.serve(*self.storage)
        client = self.client()
        answers = client.batch(("rpc_get_methods", {}), ("none", {}), ("spdk_get_version", {}))
        self.assertEqual([answer["id"] for answer in answers], [1, 2, 3])
        self.assertEqual(answers[1]["error"]["code"], -32601)
        text = json.dumps(client.request("spdk_get_version"), indent=2)
        for piece in text:
            client.send(piece)
        self.assertIn("result", client.receive())
        client.send("[]")
        self.assertEqual(client.receive()["error"]["code"], -32600)
        client.send('{"jsonrpc": "2.0", "method": "spdk_get_version"}')  # has no answer
        self.assertIn("version", client.call("spdk_get_version"))
        client.send("{nonsense")
        self.assertEqual(client.receive()["error"]["code"], -32700)
        self.assertIsNone(client.receive())

    def test_many_clients(self):
        self.serve(*self.storage)
        clients = [self.client() for _ in range(64)]
        for client in clients:
            client.send(json.dumps(client.request("spdk_get_version")))
        for client in clients:
            self.assertIn("result", client.receive())
        more = self.client()
        self.assertIn("64 clients are connected", more.receive()["error"]["message"])
        self.assertIsNone(more.receive())
        clients[0].close()
        until(lambda: self._answers(), lambda: "no place becomes free")

    def _answers(self):
        try:
            return "version" in Client(self.path, PATIENCE).call("spdk_get_version")
        except (RpcError, ValueError, KeyError, ConnectionError):
            return False

    def test_a_reload_does_not_change_it(self):
        path = self.folder / "target.json"
        config = {"listen": ["uiwarp://127.0.0.1:0"], "control": str(self.folder / "control"),
                  "subsystems": [{"nqn": "nqn.2026-11.org.mrpool:test",
                                  "namespaces": [{"storage": "ram:1MiB"}]}]}
        path.write_text(json.dumps(config))
        target = self.target(config=path)
        self.path = self.folder / "control"
        self.client().call("spdk_get_version")
        config["control"] = str(self.folder / "other")
        path.write_text(json.dumps(config))
        self.assertIn("control cannot change while the daemon runs", target.reload())
        self.client().call("spdk_get_version")


if __name__ == "__main__":
    unittest.main(verbosity=2)
