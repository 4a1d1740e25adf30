#!/usr/bin/env python3
"""The control socket of both daemons, driven as SPDK's clients drive it.

    MRPOOL_BIN=build/dev/bin tests/integration/control_test.py [Class[.test]]...
"""
import json
import os
import signal
import socket
import stat
import subprocess
import threading
import unittest

from harness import BIN, NQN, PATIENCE, IserTarget, TargetTest, descriptors, until
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
        self.assertEqual(client.call("log_get_level"), "NOTICE")
        self.assertIs(client.call("log_set_level", level="debug"), True)
        self.assertEqual(client.call("log_get_level"), "DEBUG")
        self.fails(client, -32602, "log_set_level", level="loud")
        client.call("log_set_level", level="NOTICE")
        self.fails(client, -32601, "no_such_method")
        self.assertIn('"curent" is not a parameter of this method; there are: current, include_aliases',
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


def address(port, host="127.0.0.1"):
    return {"trtype": "RDMA", "adrfam": "IPv4", "traddr": host, "trsvcid": str(port)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nvme(ControlTest):
    """Each method: its parameters as SPDK's client sends them, its result, its errors."""

    def begin(self, *options):
        """A daemon that serves nothing yet, and a client."""
        self.path = self.folder / "control"
        target = self.target("--control", self.path, *options, config=self.config())
        return target, self.client()

    def config(self):
        path = self.folder / "target.json"
        path.write_text('{"listen": ["uiwarp://127.0.0.1:0"]}')
        return path

    def namespaces(self, client):
        subsystem, = client.call("nvmf_get_subsystems", nqn=NQN)
        return {each["nsid"]: each["bdev_name"] for each in subsystem["namespaces"]}

    def test_subsystems(self):
        _, client = self.begin()
        discovery, = client.call("nvmf_get_subsystems")
        self.assertEqual(discovery["subtype"], "Discovery")
        self.assertIs(client.call("nvmf_create_subsystem", nqn=NQN, serial_number="S1",
                                  model_number="M1", allow_any_host=False, ana_reporting=False,
                                  passthrough=False, enable_nssr=False, max_namespaces=2), True)
        subsystem, = client.call("nvmf_get_subsystems", nqn=NQN)
        self.assertEqual({name: subsystem[name] for name in (
            "nqn", "subtype", "allow_any_host", "hosts", "serial_number", "model_number",
            "max_namespaces", "namespaces")},
            {"nqn": NQN, "subtype": "NVMe", "allow_any_host": False, "hosts": [],
             "serial_number": "S1", "model_number": "M1", "max_namespaces": 2, "namespaces": []})
        self.assertEqual(subsystem["listen_addresses"][0]["trtype"], "RDMA")
        self.fails(client, -17, "nvmf_create_subsystem", nqn=NQN)
        self.assertIn("is not a subsystem NQN",
                      self.fails(client, -32602, "nvmf_create_subsystem", nqn="disk"))
        self.assertIn("min_cntlid 9 is above max_cntlid 8", self.fails(
            client, -32602, "nvmf_create_subsystem", nqn=NQN + "2", min_cntlid=9, max_cntlid=8))
        self.fails(client, -32602, "nvmf_create_subsystem", nqn=NQN + "2", tgt_name="other")
        self.fails(client, -32602, "nvmf_create_subsystem")
        for _ in (1, 2):
            client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"storage": "ram:1MiB"})
        self.assertIn("more than max_namespaces", self.fails(
            client, -16, "nvmf_subsystem_add_ns", nqn=NQN, namespace={"storage": "ram:1MiB"}))
        self.assertIs(client.call("nvmf_delete_subsystem", nqn=NQN), True)
        self.fails(client, -19, "nvmf_delete_subsystem", nqn=NQN)
        self.fails(client, -19, "nvmf_get_subsystems", nqn=NQN)

    def test_stores_and_namespaces(self):
        _, client = self.begin()
        self.assertEqual(client.call("bdev_malloc_create", num_blocks=2048, block_size=512,
                                     md_interleave=False, dif_is_head_of_md=False), "Malloc0")
        self.assertEqual(client.call("bdev_malloc_create", num_blocks=256, block_size=4096,
                                     name="M", uuid="0a1b2c3d-0000-4000-8000-000000000001"), "M")
        self.fails(client, -17, "bdev_malloc_create", num_blocks=1, block_size=512, name="M")
        self.assertIn("use 512 or 4096", self.fails(client, -32602, "bdev_malloc_create",
                                                    num_blocks=1, block_size=1024))
        disk = self.file("a,b.img", 1 << 20)
        self.assertEqual(client.call("bdev_aio_create", name="disk", filename=str(disk),
                                     block_size=512, readonly=False, fallocate=False, nowait=False),
                         "disk")
        self.fails(client, -32602, "bdev_aio_create", name="x", filename=str(disk), nowait=True)
        self.fails(client, -16, "bdev_uring_create", name="same", filename=str(disk))
        self.assertIn("does not exist", self.fails(client, -19, "bdev_aio_create", name="none",
                                                   filename=str(self.folder / "none")))
        self.assertEqual(client.call("bdev_null_create", name="null", num_blocks=1 << 20,
                                     block_size=4096), "null")
        stores = {each["name"]: each for each in client.call("bdev_get_bdevs")}
        self.assertEqual({name: (store["block_size"], store["num_blocks"], store["product_name"],
                                 store["claimed"]) for name, store in stores.items()},
                         {"Malloc0": (512, 2048, "Malloc disk", False),
                          "M": (4096, 256, "Malloc disk", False),
                          "disk": (512, 2048, "AIO disk", False),
                          "null": (4096, 1 << 20, "Null disk", False)})
        self.assertEqual(stores["M"]["uuid"], "0a1b2c3d-0000-4000-8000-000000000001")
        self.assertEqual(stores["disk"]["driver_specific"]["aio"]["filename"], str(disk))
        self.fails(client, -19, "bdev_get_bdevs", name="none")
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        add = lambda **space: client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace=space)
        self.assertEqual(add(bdev_name="M", no_auto_visible=False, hide_metadata=False), 1)
        self.assertEqual(add(bdev_name="disk", nsid=7), 7)
        self.assertEqual(add(bdev_name="null"), 2)
        self.assertEqual(add(storage="ram:1MiB"), 3)
        self.assertEqual(self.namespaces(client), {1: "M", 7: "disk", 2: "null", 3: f"{NQN}/3"})
        fails = lambda code, **space: self.fails(client, code, "nvmf_subsystem_add_ns", nqn=NQN,
                                                 namespace=space)
        self.assertIn("already", fails(-16, bdev_name="M"))
        fails(-19, bdev_name="nothing")
        fails(-32602, bdev_name="Malloc0", nsid=7)
        fails(-32602, bdev_name="Malloc0", storage="ram:1MiB")
        fails(-32602, bdev_name="Malloc0", anagrpid=129)
        self.assertIs(client.call("bdev_get_bdevs", name="M")[0]["claimed"], True)
        self.fails(client, -19, "bdev_malloc_delete", name="disk")
        self.assertIn("remove the namespace first",
                      self.fails(client, -16, "bdev_malloc_delete", name="M"))
        self.assertIs(client.call("bdev_null_resize", name="null", new_size=1), True)
        os.truncate(disk, 2 << 20)
        self.assertIs(client.call("bdev_aio_rescan", name="disk"), True)
        stores = {each["name"]: each for each in client.call("bdev_get_bdevs")}
        self.assertEqual([stores[name]["num_blocks"] for name in ("null", "disk")], [256, 4096])
        self.fails(client, -19, "bdev_aio_rescan", name="none")
        self.assertIs(client.call("nvmf_subsystem_remove_ns", nqn=NQN, nsid=1), True)
        self.fails(client, -19, "nvmf_subsystem_remove_ns", nqn=NQN, nsid=1)
        self.assertIs(client.call("bdev_malloc_delete", name="M"), True)
        names = {each["name"] for each in client.call("bdev_get_iostat")["bdevs"]}
        self.assertEqual(names, {"Malloc0", "disk", "null", f"{NQN}/3"})
        self.fails(client, -19, "bdev_get_iostat", names=["disk", "none"])
        self.assertEqual(client.call("mrpool_store_create", name="own", storage="ram:1MiB,bs=512"),
                         "own")
        self.assertIs(client.call("mrpool_store_delete", name="own"), True)

    def test_hosts_and_who_is_connected(self):
        target, client = self.begin()
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=False)
        client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"storage": "ram:1MiB"})
        host = "nqn.2026-11.org.mrpool:host"
        self.run_host("perf", target, *self.name, "--host-nqn", host, "--runtime", "1", expect=3)
        self.assertIs(client.call("nvmf_subsystem_add_host", nqn=NQN, host=host), True)
        self.fails(client, -17, "nvmf_subsystem_add_host", nqn=NQN, host=host)
        self.fails(client, -32602, "nvmf_subsystem_add_host", nqn=NQN, host="me")
        self.fails(client, -19, "nvmf_subsystem_add_host", nqn=NQN, host=host + "2",
                   dhchap_key="k")
        load = self.start("perf", target, *self.name, "--host-nqn", host, "--rw", "randwrite",
                          "--bs", "4k", "--time_based", "--runtime", "600", "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()
        controller, = client.call("nvmf_subsystem_get_controllers", nqn=NQN)
        self.assertEqual(controller["hostnqn"], host)
        self.assertGreaterEqual(controller["num_io_qpairs"], 1)
        queues = client.call("nvmf_subsystem_get_qpairs", nqn=NQN)
        self.assertEqual({queue["qid"] for queue in queues},
                         set(range(controller["num_io_qpairs"] + 1)))
        self.assertEqual(queues[0]["listen_address"]["trsvcid"], str(target.port))
        for queue in queues:
            self.assertEqual(queue["peer_address"]["traddr"], "127.0.0.1")
            self.assertNotIn(queue["peer_address"]["trsvcid"], ("0", "", str(target.port)))
        group, = client.call("nvmf_get_stats")["poll_groups"]
        self.assertEqual(group["current_io_qpairs"], controller["num_io_qpairs"])
        self.assertEqual((group["admin_qpairs"], group["io_qpairs"]),
                         (1, controller["num_io_qpairs"]))
        self.assertIs(client.call("nvmf_subsystem_remove_host", nqn=NQN, host=host), True)
        self.assertNotEqual(load.wait(timeout=PATIENCE), 0)  # it may not come again
        load.communicate()
        self.fails(client, -19, "nvmf_subsystem_remove_host", nqn=NQN, host=host)
        self.assertIs(client.call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=True),
                      True)
        self.run_host("identify", target, *self.name, "--host-nqn", host)
        client.call("nvmf_subsystem_allow_any_host", nqn=NQN, allow_any_host=False)
        self.run_host("identify", target, *self.name, "--host-nqn", host, expect=3)
        until(lambda: client.call("nvmf_subsystem_get_controllers", nqn=NQN) == [],
              lambda: "somebody is connected")
        group, = client.call("nvmf_get_stats")["poll_groups"]
        self.assertEqual((group["current_admin_qpairs"], group["current_io_qpairs"]), (0, 0))
        self.assertGreaterEqual(group["admin_qpairs"], 2)

    def test_ana_states(self):
        target, client = self.begin()
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True, min_cntlid=7,
                    max_cntlid=9)
        here = address(target.port)
        change = lambda **more: dict({"nqn": NQN, "ana_state": "inaccessible"}, **more)
        self.assertIn("do not learn the ANA states", self.fails(
            client, -16, "nvmf_subsystem_listener_set_ana_state", **change()))
        client.call("nvmf_delete_subsystem", nqn=NQN)
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True, ana_reporting=True,
                    min_cntlid=7, max_cntlid=9)
        for group in (1, 2):
            client.call("nvmf_subsystem_add_ns", nqn=NQN,
                        namespace={"storage": "ram:1MiB", "anagrpid": group})
        states = lambda: {each["ana_group"]: each["ana_state"] for each in client.call(
            "nvmf_subsystem_get_listeners", nqn=NQN)[0]["ana_states"]}
        self.assertEqual(states(), {1: "optimized", 2: "optimized"})
        self.fails(client, -32602, "nvmf_subsystem_listener_set_ana_state", **change(
            ana_state="lost"))
        self.assertIn("is not a listener", self.fails(
            client, -32602, "nvmf_subsystem_listener_set_ana_state", **change(
                listen_address={**address(1), "traddr": "127.0.0.9"})))
        self.assertIs(client.call("nvmf_subsystem_listener_set_ana_state", **change(
            listen_address=here, anagrpid=2)), True)
        self.assertEqual(states(), {1: "optimized", 2: "inaccessible"})
        read = lambda nsid, expect: self.run_host(
            "read", target, *self.name, "--nsid", str(nsid), "--size", "4096", "--output", "/dev/null",
            expect=expect)
        read(1, 0)
        saved = client.call("save_config")["subsystems"][2]["config"]
        self.assertIn({"method": "nvmf_subsystem_listener_set_ana_state", "params": {
            "nqn": NQN, "ana_state": "inaccessible", "anagrpid": 2, "listen_address": {
                "trtype": "RDMA", "traddr": "uiwarp://127.0.0.1",
                "trsvcid": str(target.port)}}}, saved)
        client.call("nvmf_subsystem_listener_set_ana_state", **change(ana_state="non_optimized"))
        self.assertEqual(states(), {1: "non_optimized", 2: "non_optimized"})
        read(2, 0)
        subsystem, = client.call("nvmf_get_subsystems", nqn=NQN)
        self.assertEqual([each["anagrpid"] for each in subsystem["namespaces"]], [1, 2])
        self.assertEqual((subsystem["min_cntlid"], subsystem["max_cntlid"]), (7, 9))

    def test_listeners(self):
        _, client = self.begin()
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"storage": "ram:1MiB"})
        client.call("nvmf_create_subsystem", nqn=NQN + "2", allow_any_host=True)
        port = free_port()
        call = lambda what, nqn=NQN, port=port: client.call(
            f"nvmf_subsystem_{what}_listener", nqn=nqn, listen_address=address(port))
        self.assertIs(call("add"), True)
        self.assertIs(call("add", NQN + "2"), True)
        listed = [each["address"] for each in client.call("nvmf_subsystem_get_listeners", nqn=NQN)]
        self.assertIn(address(port), listed)
        self.run_host("identify", f"uiwarp://127.0.0.1:{port}", *self.name)
        self.fails(client, -17, "nvmf_subsystem_add_listener", nqn=NQN,
                   listen_address=address(port))
        for bad in ({"trtype": "TCP"}, {"adrfam": "IPv6"}, {"trsvcid": "0"}, {"trsvcid": "x"},
                    {"traddr": "::1", "adrfam": "IPv4"}, {"more": "1"}):
            self.fails(client, -32602, "nvmf_subsystem_add_listener", nqn=NQN,
                       listen_address={**address(1), **bad})
        call("remove")
        self.run_host("identify", f"uiwarp://127.0.0.1:{port}", *self.name)  # another lists it
        call("remove", NQN + "2")
        self.run_host("identify", f"uiwarp://127.0.0.1:{port}", *self.name, expect=3)
        self.fails(client, -19, "nvmf_subsystem_remove_listener", nqn=NQN,
                   listen_address=address(port))
        transport, = client.call("nvmf_get_transports", trtype="RDMA")
        self.assertEqual(transport["in_capsule_data_size"], 4096)
        self.fails(client, -19, "nvmf_get_transports", trtype="TCP")
        self.assertIs(client.call("nvmf_create_transport", trtype="RDMA", no_srq=False,
                                  c2h_success=True, zcopy=False), True)

    def test_namespaces_for_some_hosts(self):
        target, client = self.begin()
        host, other = "nqn.2026-11.org.mrpool:host", "nqn.2026-11.org.mrpool:other"
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        client.call("bdev_malloc_create", num_blocks=256, block_size=4096, name="M")
        add = lambda **space: client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace=space)
        self.assertEqual(add(storage="ram:1MiB"), 1)
        self.assertEqual(add(bdev_name="M", no_auto_visible=True), 2)
        change = lambda what, nsid=2, to=host: client.call(f"nvmf_ns_{what}_host", nqn=NQN,
                                                           nsid=nsid, host=to)
        fails = lambda code, what, **wrong: self.fails(
            client, code, f"nvmf_ns_{what}_host", **{"nqn": NQN, "nsid": 2, "host": host, **wrong})

        def seen(by):
            out, _ = self.run_host("identify", target, *self.name, "--host-nqn", by,
                                   "--output-format", "json")
            return [each["nsid"] for each in json.loads(out)["namespaces"]]

        self.assertEqual((seen(host), seen(other)), ([1], [1]))
        self.assertIs(change("add"), True)
        self.assertEqual((seen(host), seen(other)), ([1, 2], [1]))
        fails(-17, "add")
        self.assertIn("every host sees namespace 1", fails(-16, "add", nsid=1))
        fails(-19, "add", nsid=3)
        fails(-19, "add", nqn=NQN + "2")
        fails(-32602, "add", host="me")
        fails(-32602, "add", nsid=0)
        fails(-19, "remove", host=other)
        space = client.call("nvmf_get_subsystems", nqn=NQN)[0]["namespaces"][1]
        self.assertEqual((space["no_auto_visible"], space["hosts"]), (True, [{"nqn": host}]))
        data = os.urandom(1 << 20)
        self.run_host("write", target, *self.name, "--nsid", "2", "--host-nqn", host, data=data)
        self.run_host("read", target, *self.name, "--nsid", "2", "--host-nqn", other, expect=3)
        # What is saved serves the same.
        client.call("save_config", write=True)
        self.assertIn("nothing changed", target.reload())
        state = self.state(client)
        calls = [each for section in ("keyring", "bdev", "nvmf")
                 for each in client.call("framework_get_config", name=section)]
        client.call("load_config", config={"listen": ["uiwarp://127.0.0.1:0"]})
        for call in calls:
            client.call(call["method"], **call["params"])
        self.assertEqual(self.state(client), state)
        self.assertIs(change("remove"), True)
        self.assertIn("hosts of", target.reload())  # the file wins: it sees it again

    def test_referrals(self):
        target, client = self.begin()
        there = {"trtype": "TCP", "adrfam": "IPv6", "traddr": "fd00::9", "trsvcid": "8009"}
        add = lambda **more: client.call("nvmf_discovery_add_referral", **more)
        self.assertEqual(client.call("nvmf_discovery_get_referrals"), [])
        self.assertIs(add(address=there, secure_channel=True), True)
        self.assertIs(add(address={**there, "traddr": "fd00:0::9"}, secure_channel=True), True)
        self.fails(client, -17, "nvmf_discovery_add_referral", address=there)
        self.assertIs(add(address=address(4420, "10.0.0.9"), subnqn=NQN, tgt_name="nvmf_tgt"), True)
        expected = [{"address": there, "secure_channel": True,
                     "subnqn": "nqn.2014-08.org.nvmexpress.discovery"},
                    {"address": address(4420, "10.0.0.9"), "secure_channel": False, "subnqn": NQN}]
        self.assertEqual(client.call("nvmf_discovery_get_referrals"), expected)
        for bad in ({"trtype": "FC"}, {"adrfam": "IPv4"}, {"adrfam": "IB"}, {"trsvcid": "0"},
                    {"trsvcid": ""}, {"traddr": "elsewhere"}, {"traddr": "::"},
                    {"traddr": "fe80::1%eth0"}, {"more": "1"}):
            self.assertIn("address.", self.fails(client, -32602, "nvmf_discovery_add_referral",
                                                 address={**there, **bad}))
        self.assertIn("subnqn", self.fails(client, -32602, "nvmf_discovery_add_referral",
                                           address=there, subnqn="disk"))
        out, _ = self.run_host("discover", target, "--output-format", "json")
        records = [{key: each[key] for key in ("trtype", "adrfam", "subtype", "traddr", "trsvcid",
                                               "treq")} for each in json.loads(out)["records"]]
        self.assertEqual(records, [
            {"trtype": "tcp", "adrfam": "ipv6", "subtype": "referral", "traddr": "fd00::9",
             "trsvcid": "8009", "treq": "secure channel required"},
            {"trtype": "rdma", "adrfam": "ipv4", "subtype": "nvme", "traddr": "10.0.0.9",
             "trsvcid": "4420", "treq": "not specified"}])
        out, _ = self.run_host("discover", target)
        self.assertIn("tcp [fd00::9]:8009, port id 0, secure channel required", out.decode())
        # Saved, read again, and in force after a start.
        client.call("save_config", write=True)
        self.assertIn("nothing changed", target.reload())
        self.assertEqual(target.stop(), 0)
        target = self.target("--control", self.path, config=self.folder / "target.json")
        client = self.client()
        self.assertEqual(client.call("nvmf_discovery_get_referrals"), expected)
        self.fails(client, -19, "nvmf_discovery_remove_referral", address=address(1, "10.0.0.9"))
        self.assertIs(client.call("nvmf_discovery_remove_referral", address=there), True)
        self.assertIn("added referral to tcp://[fd00::9]:8009", target.reload())
        self.assertEqual(client.call("nvmf_discovery_get_referrals"), expected)

    def make_something(self, client):
        client.call("bdev_malloc_create", num_blocks=256, block_size=4096)
        client.call("bdev_aio_create", name="disk", filename=str(self.file("disk", 1 << 20)))
        client.call("mrpool_store_create", name="null", storage="null:1MiB,bs=512")
        client.call("nvmf_create_subsystem", nqn=NQN, serial_number="S", model_number="M")
        client.call("nvmf_subsystem_add_host", nqn=NQN, host=NQN + ":host")
        for space in ({"bdev_name": "Malloc0"}, {"bdev_name": "disk", "nsid": 9},
                      {"storage": "ram:1MiB,bs=512"}):
            client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace=space)
        client.call("nvmf_subsystem_add_listener", nqn=NQN, listen_address=address(free_port()))
        client.call("nvmf_discovery_add_referral", address=address(4420, "10.0.0.9"))
        client.call("bdev_set_qos_limit", name="Malloc0", rw_ios_per_sec=1500, qos_burst_ms=20)
        client.call("bdev_set_qos_limit", name=f"{NQN}/2", w_mbytes_per_sec=3)
        for host, limit in ((NQN + ":host", 7000), ("*", 900)):
            client.call("mrpool_nvmf_subsystem_host_set_qos_limit", nqn=NQN, host=host,
                        rw_ios_per_sec=limit)
        return self.state(client)

    def state(self, client):
        """What is served, but for what a restart may change."""
        subsystems = client.call("nvmf_get_subsystems")
        for subsystem in subsystems:
            subsystem["listen_addresses"] = subsystem["listen_addresses"][1:]  # port 0
            for space in subsystem.get("namespaces", []):
                if space["bdev_name"].startswith("nqn"):
                    del space["uuid"], space["nguid"]  # memory without a name
        stores = [(each["name"], each["assigned_rate_limits"])
                  for each in client.call("bdev_get_bdevs")]
        return (subsystems, sorted(stores, key=lambda store: store[0]),
                client.call("nvmf_discovery_get_referrals"))

    def test_a_restart_serves_what_was_saved(self):
        target, client = self.begin()
        state = self.make_something(client)
        os.chmod(self.folder / "target.json", 0o640)
        config = client.call("save_config", write=True)
        self.assertEqual([each["subsystem"] for each in config["subsystems"]], ["keyring", "bdev", "nvmf"])
        self.assertEqual(stat.S_IMODE(os.stat(self.folder / "target.json").st_mode), 0o640)
        self.assertEqual(target.stop(), 0)
        target = self.target("--control", self.path, config=self.folder / "target.json")
        client = self.client()
        self.assertEqual(self.state(client), state)
        self.assertIn("reloaded: nothing changed", target.reload())
        # Without a file's name there is none.
        self.fails(client, -32602, "save_config", filename="relative")
        client.call("save_config", filename=str(self.folder / "copy.json"))
        self.assertEqual((self.folder / "copy.json").read_text(),
                         (self.folder / "target.json").read_text())
        # All of it again, from a file or as it is.
        client.call("load_config", config={})
        self.assertEqual(client.call("bdev_get_bdevs"), [])
        client.call("load_config", filename=str(self.folder / "copy.json"))
        self.assertEqual(self.state(client), state)
        before = self.state(client)
        self.fails(client, -32602, "load_config", config={"subsystem": []})
        self.fails(client, -32602, "load_config")
        self.assertEqual(self.state(client), before)

    def test_calls_that_were_saved_make_the_same(self):
        """As SPDK's client saves and loads: by itself."""
        _, client = self.begin()
        state = self.make_something(client)
        calls = []
        for section in client.call("framework_get_subsystems"):
            calls += client.call("framework_get_config", name=section["subsystem"],
                                 with_batches=False)
        client.call("load_config", config={"listen": ["uiwarp://127.0.0.1:0"]})
        for call in calls:
            client.call(call["method"], **call["params"])
        self.assertEqual(self.state(client), state)

    def test_limits_of_a_configuration_that_spdk_saved(self):
        """SPDK saves the limits that are set, by its own names, after the store."""
        target, client = self.begin()
        for method, params in (
                ("bdev_malloc_create", {"name": "Malloc0", "num_blocks": 256, "block_size": 4096}),
                ("bdev_set_qos_limit", {"name": "Malloc0", "rw_ios_per_sec": 20000,
                                        "rw_mbytes_per_sec": 100, "r_mbytes_per_sec": 80,
                                        "w_mbytes_per_sec": 40}),
                ("nvmf_create_subsystem", {"nqn": NQN, "allow_any_host": True}),
                ("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "Malloc0"}})):
            client.call(method, **params)
        store, = client.call("bdev_get_bdevs")
        self.assertEqual(store["assigned_rate_limits"],
                         {"rw_ios_per_sec": 20000, "rw_mbytes_per_sec": 100,
                          "r_mbytes_per_sec": 80, "w_mbytes_per_sec": 40, "qos_burst_ms": 10})
        # By its UUID, and what is not given stays.
        client.call("bdev_set_qos_limit", name=store["uuid"], rw_mbytes_per_sec=0)
        store, = client.call("bdev_get_bdevs")
        self.assertEqual(store["assigned_rate_limits"]["rw_mbytes_per_sec"], 0)
        self.assertEqual(store["assigned_rate_limits"]["rw_ios_per_sec"], 20000)
        for wrong, said in (({"name": "nothing", "rw_ios_per_sec": 1}, 'no store "nothing"'),
                            ({"name": "Malloc0"}, "give at least one of rw_ios_per_sec"),
                            ({"name": "Malloc0", "rw_ios_per_sec": -1}, "rw_ios_per_sec"),
                            ({"name": "Malloc0", "w_mbytes_per_sec": 1000001}, "1000000"),
                            ({"name": "Malloc0", "rw_ios_per_second": 1}, "rw_ios_per_second")):
            with self.assertRaisesRegex(RpcError, said):
                client.call("bdev_set_qos_limit", **wrong)
        with self.assertRaisesRegex(RpcError, "no-nqn"):
            client.call("mrpool_nvmf_subsystem_host_set_qos_limit", nqn=NQN, host="no-nqn",
                        rw_ios_per_sec=5)
        client.call("save_config", write=True)
        self.assertIn("nothing changed", target.reload())

    def test_the_daemon_stops_while_commands_are_held(self):
        target, client = self.begin()
        client.call("bdev_malloc_create", name="slow", num_blocks=256, block_size=4096)
        client.call("bdev_set_qos_limit", name="slow", rw_ios_per_sec=1)
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "slow"})
        load = self.start("perf", target, *self.name, "--rw", "randread", "--bs", "4k",
                          "--iodepth", "16", "--time_based", "--runtime", "600", "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()
        self.assertEqual(target.stop(), 0)
        load.kill()
        load.communicate()

    def test_the_file_wins_at_a_reload(self):
        target, client = self.begin()
        client.call("bdev_malloc_create", num_blocks=256, block_size=4096)
        client.call("nvmf_create_subsystem", nqn=NQN)
        said = target.reload()
        self.expect_said(target, "the file takes the place of 2 changes that were not saved")
        self.assertIn("removed", said)
        self.assertEqual(client.call("bdev_get_bdevs"), [])

    def test_memory_keeps_its_contents_without_a_namespace(self):
        target, client = self.begin()
        client.call("bdev_malloc_create", num_blocks=256, block_size=4096)
        for nqn in (NQN, NQN + "2"):
            client.call("nvmf_create_subsystem", nqn=nqn, allow_any_host=True)
        client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Malloc0"})
        data = os.urandom(1 << 20)
        self.run_host("write", target, *self.name, data=data)
        client.call("nvmf_subsystem_remove_ns", nqn=NQN, nsid=1)
        client.call("nvmf_subsystem_add_ns", nqn=NQN + "2", namespace={"bdev_name": "Malloc0"})
        out, _ = self.run_host("read", target, "--subnqn", NQN + "2")
        counts, = client.call("bdev_get_iostat", names=["Malloc0"], per_channel=False)["bdevs"]
        self.assertEqual(counts["bytes_read"], 1 << 20)
        self.assertEqual(out, data)

    def test_without_a_file_nothing_can_be_written(self):
        self.serve(*self.storage)
        self.assertIn("give a \"filename\"",
                      self.fails(self.client(), -16, "save_config", write=True))


class Live(ControlTest):
    """Two clients change a daemon at once, under verified I/O. MRPOOL_CHANGES: how often."""

    def change_on_and_on(self, number, changes, failures):
        """Makes and ends everything there is; every call must work."""
        try:
            client = Client(self.path, PATIENCE)
            nqn, store = f"{NQN}-{number}", f"store{number}"
            disk = self.file(store, 1 << 20)
            port = free_port()
            for turn in range(changes // 10):
                create = (("bdev_malloc_create", {"name": store, "num_blocks": 64,
                                                  "block_size": 4096}),
                          ("bdev_aio_create", {"name": store, "filename": str(disk)}))[turn % 2]
                calls = [create,
                         ("nvmf_create_subsystem", {"nqn": nqn}),
                         ("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": store}}),
                         ("nvmf_subsystem_add_host", {"nqn": nqn, "host": f"{nqn}:host"}),
                         ("nvmf_subsystem_add_listener",
                          {"nqn": nqn, "listen_address": address(port)}),
                         ("nvmf_subsystem_remove_host", {"nqn": nqn, "host": f"{nqn}:host"}),
                         ("nvmf_subsystem_remove_listener",
                          {"nqn": nqn, "listen_address": address(port)}),
                         ("nvmf_subsystem_remove_ns", {"nqn": nqn, "nsid": 1}),
                         ("nvmf_delete_subsystem", {"nqn": nqn}),
                         ("mrpool_store_delete", {"name": store})]
                for method, parameters in calls:
                    client.call(method, **parameters)
                client.call("nvmf_get_subsystems")
            client.close()
        except (RpcError, OSError, ValueError) as error:
            failures.append(f"client {number}: {error}")

    def test_two_clients_at_once(self):
        changes = int(os.environ.get("MRPOOL_CHANGES", "1000"))
        target = self.serve("--namespace", "ram:4MiB")
        client = self.client()
        before = client.call("nvmf_get_subsystems"), client.call("bdev_get_bdevs")
        load = self.start("perf", target, *self.name, "--rw", "randrw", "--verify", "crc32c",
                          "--bs", "4k", "--iodepth", "8", "--time_based", "--runtime", "600",
                          "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()
        open_before = descriptors(target.process.pid)
        failures = []
        threads = [threading.Thread(target=self.change_on_and_on, args=(i, changes // 2, failures))
                   for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual((client.call("nvmf_get_subsystems"), client.call("bdev_get_bdevs")), before)
        self.assertIsNone(load.poll(), "the load has ended")
        load.send_signal(signal.SIGINT)
        _, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 0, err.decode()[-2000:])
        self.assertNotIn("mismatch", err.decode())
        until(lambda: descriptors(target.process.pid) <= open_before,
              lambda: f"{descriptors(target.process.pid)} descriptors, {open_before} before")


if __name__ == "__main__":
    unittest.main(verbosity=2)
