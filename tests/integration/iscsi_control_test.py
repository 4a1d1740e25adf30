#!/usr/bin/env python3
"""The iSCSI methods of mrpool-iser-target's control socket, as SPDK's clients send them, with
initiators that follow.

    MRPOOL_BIN=build/dev/bin tests/integration/iscsi_control_test.py [Class[.test]]...
"""
import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import threading
import unittest

from harness import BIN, PATIENCE, IserTarget, TargetTest, until
from json_rpc import Client, RpcError

FIRST = "iqn.2026-11.org.mrpool:first"
DISK = "iqn.2026-11.org.mrpool:disk"
HOST = "iqn.2026-11.org.mrpool:host"
SECRET = "a secret of the host"


class Iscsi(TargetTest):
    target_class = IserTarget
    host_program = "mrpool-iser"

    def setUp(self):
        super().setUp()
        self.path = self.folder / "control"
        self.file_path = self.folder / "iser.json"
        self.file_path.write_text(json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"], "control": str(self.path),
            "targets": [{"name": FIRST, "luns": ["ram:1MiB,name=first"],
                         "initiators": [HOST]}]}))
        self.daemon = self.target(config=self.file_path)
        self.client = self.connect()

    def connect(self):
        client = Client(self.path, PATIENCE)
        self.addCleanup(client.close)
        return client

    def fails(self, code, method, **parameters):
        with self.assertRaises(RpcError) as caught:
            self.client.call(method, **parameters)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception.message

    def login(self, target, *options, initiator=HOST):
        """The exit status of an initiator that looks at LUN 0."""
        done = subprocess.run(
            [BIN / "mrpool-iser", "inq", self.daemon.address, "--target", target, "--initiator",
             initiator, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.returncode

    def create(self, name=DISK, store="ram:1MiB,name=disk", **more):
        return self.client.call("iscsi_create_target_node", **{
            "name": name, "alias_name": "disk", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 1}],
            "luns": [{"bdev_name": store, "lun_id": 0}], "queue_depth": 64, **more})

    def test_targets_come_and_go(self):
        self.assertIs(self.create(), True)
        self.assertEqual(self.login(DISK), 0)
        self.assertNotEqual(self.login(DISK, initiator=HOST + "2"), 0)
        node, = self.client.call("iscsi_get_target_nodes", name=DISK)
        self.assertEqual(node, {
            "name": DISK, "alias_name": "disk", "pg_ig_maps": [{"pg_tag": 1, "ig_tag": 1}],
            "luns": [{"bdev_name": "ram:1MiB,name=disk", "lun_id": 0, "alua_group": 1,
                      "alua_state": "optimized"}], "queue_depth": 128,
            "disable_chap": False, "require_chap": False, "mutual_chap": False, "chap_group": 0,
            "header_digest": False, "data_digest": False})
        self.client.call("iscsi_target_node_add_lun", name=DISK, bdev_name="ram:2MiB,name=more")
        node, = self.client.call("iscsi_get_target_nodes", name=DISK)
        self.assertEqual(node["luns"][1], {"bdev_name": "ram:2MiB,name=more", "lun_id": 1,
                                           "alua_group": 1, "alua_state": "optimized"})
        self.client.call("mrpool_iscsi_target_node_remove_lun", name=DISK, lun_id=1)
        self.client.call("iscsi_delete_target_node", name=DISK)
        self.assertNotEqual(self.login(DISK), 0)
        self.client.call("iscsi_delete_target_node", name=FIRST)
        self.assertEqual(self.client.call("iscsi_get_target_nodes"), [])
        self.assertIn("no target is served", self.fails(-16, "save_config"))
        self.assertIs(self.create(), True)
        self.assertEqual(self.login(DISK), 0)

    def test_initiators_follow_their_groups(self):
        self.create()
        self.client.call("iscsi_create_initiator_group", tag=9, initiators=["ANY"],
                         netmasks=["ANY"])
        self.client.call("iscsi_target_node_add_pg_ig_maps", name=DISK,
                         pg_ig_maps=[{"pg_tag": 1, "ig_tag": 9}])
        self.assertEqual(self.login(DISK, initiator=HOST + "2"), 0)
        self.assertIn(f"is used by {DISK}", self.fails(-16, "iscsi_delete_initiator_group", tag=9))
        self.client.call("iscsi_target_node_remove_pg_ig_maps", name=DISK,
                         pg_ig_maps=[{"pg_tag": 1, "ig_tag": 9}])
        self.assertNotEqual(self.login(DISK, initiator=HOST + "2"), 0)
        self.client.call("iscsi_initiator_group_add_initiators", tag=1, initiators=[HOST + "2"])
        self.assertEqual(self.login(DISK, initiator=HOST + "2"), 0)
        self.client.call("iscsi_initiator_group_remove_initiators", tag=1, initiators=[HOST + "2"])
        self.client.call("iscsi_delete_initiator_group", tag=9)
        self.assertEqual(self.client.call("iscsi_get_initiator_groups"),
                         [{"tag": 1, "initiators": [HOST], "netmasks": ["ANY"]}])
        self.assertIn("identified by their names", self.fails(
            -32602, "iscsi_create_initiator_group", tag=3, initiators=["ANY"],
            netmasks=["10.0.0.0/8"]))

    def test_secrets_are_asked_for_and_never_told(self):
        self.create()
        self.client.call("iscsi_create_auth_group", tag=4, secrets=[
            {"user": "u", "secret": SECRET, "muser": "m", "msecret": "a secret of target"}])
        self.client.call("iscsi_target_node_set_auth", name=DISK, chap_group=4, require_chap=True,
                         mutual_chap=True)
        self.assertNotEqual(self.login(DISK), 0)
        self.assertNotEqual(self.login(DISK, "--chap", "u:another secret"), 0)
        self.assertEqual(self.login(DISK, "--chap", f"u:{SECRET}", "--mutual-chap",
                                    "m:a secret of target"), 0)
        groups = self.client.call("iscsi_get_auth_groups")
        self.assertEqual(groups, [{"tag": 4, "secrets": [{"user": "u", "muser": "m"}]}])
        self.assertIn(f"is used by {DISK}", self.fails(-16, "iscsi_delete_auth_group", tag=4))
        self.assertIn("no account", self.fails(-16, "iscsi_auth_group_remove_secret", tag=4,
                                               user="u"))
        for message in (self.fails(-32602, "iscsi_auth_group_add_secret", tag=4, user="x",
                                   secret="tooshort"),
                        self.fails(-32602, "iscsi_target_node_set_auth", name=DISK,
                                   disable_chap=True, require_chap=True)):
            self.assertNotIn("tooshort", message)
        self.client.call("iscsi_target_node_set_auth", name=DISK, disable_chap=True, chap_group=4)
        self.assertEqual(self.login(DISK), 0)

    def ctl(self, *words, ends_with=0):
        done = subprocess.run([BIN / "mrpool-ctl", *words, "--socket", self.path],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, ends_with, (words, done.stdout, done.stderr))
        return done.stdout + done.stderr

    def test_mrpool_ctl(self):
        self.ctl("target", "create", DISK, "--lun", "ram:1MiB,name=a", "--lun", "ram:1MiB,name=b",
                 "--initiator", HOST, "--alias", "a disk")
        self.assertEqual(self.login(DISK), 0)
        listed = self.ctl("target", "list")
        self.assertRegex(listed, rf"{DISK} +a disk +2  none +{HOST}")
        self.assertEqual(self.ctl("lun", "list", DISK),
                         "LUN  STORE            GROUP  STATE\n"
                         "  0  ram:1MiB,name=a      1  optimized\n"
                         "  1  ram:1MiB,name=b      1  optimized\n")
        self.assertIn("LUN 1: standby", self.ctl("alua", "set", DISK, "--state", "standby",
                                                 "--lun", "1"))
        self.assertIn("ram:1MiB,name=b      1  standby", self.ctl("lun", "list", DISK))
        self.assertIn("has no LUN 5", self.ctl("alua", "set", DISK, "--state", "standby", "--lun",
                                               "5", ends_with=3))
        self.ctl("alua", "set", DISK, "--state", "optimized")
        self.ctl("store", "create", "c", "--storage", "ram:1MiB")
        self.ctl("lun", "add", DISK, "--store", "c", "--lun", "8")
        self.assertRegex(self.ctl("store", "list"), r"c +Malloc disk +1MiB +512 +yes")
        self.ctl("lun", "remove", DISK, "--lun", "8")
        self.ctl("store", "delete", "c")
        self.ctl("lun", "add", DISK, "--storage", "ram:1MiB,name=d", "--lun", "7")
        self.ctl("lun", "remove", DISK, "--lun", "7")
        self.ctl("initiator", "add", DISK, "--initiator", HOST + "2")
        self.assertEqual(self.login(DISK, initiator=HOST + "2"), 0)
        self.ctl("initiator", "remove", DISK, "--initiator", HOST + "2")
        self.assertNotEqual(self.login(DISK, initiator=HOST + "2"), 0)
        self.assertIn("saved", self.ctl("save"))
        groups = self.client.call("iscsi_get_initiator_groups")
        self.assertIn("tape:1", self.ctl("target", "create", DISK + "2", "--lun", "tape:1",
                                         ends_with=2))
        self.assertEqual(self.client.call("iscsi_get_initiator_groups"), groups)
        self.assertIn("there is no target", self.ctl("lun", "list", DISK + "2", ends_with=3))
        for words in (("target", "create", DISK), ("lun", "add", DISK), ("lun", "remove", DISK),
                      ("initiator", "add", DISK)):
            self.assertIn("is missing", self.ctl(*words, ends_with=2))
        self.ctl("target", "delete", DISK)

    def test_named_stores(self):
        call = self.client.call
        self.assertEqual(call("bdev_malloc_create", num_blocks=2048, block_size=512), "Malloc0")
        self.assertEqual(call("bdev_null_create", num_blocks=2048, block_size=4096, name="null",
                              uuid="0a1b2c3d-0000-4000-8000-000000000001"), "null")
        disk = self.file("disk", 1 << 20)
        self.assertEqual(call("bdev_aio_create", name="disk", filename=str(disk)), "disk")
        self.create(store="Malloc0")
        self.assertEqual(self.login(DISK), 0)
        call("iscsi_target_node_add_lun", name=DISK, bdev_name="disk")
        call("iscsi_target_node_add_lun", name=DISK, bdev_name="null", lun_id=7)
        node, = call("iscsi_get_target_nodes", name=DISK)
        self.assertEqual([(each["bdev_name"], each["lun_id"]) for each in node["luns"]],
                         [("Malloc0", 0), ("disk", 1), ("null", 7)])
        self.assertIn("already", self.fails(-16, "iscsi_target_node_add_lun", name=FIRST,
                                            bdev_name="disk"))
        self.assertIn("there is no store", self.fails(-19, "iscsi_target_node_add_lun", name=DISK,
                                                      bdev_name="none"))
        self.assertIn("remove the LUN first", self.fails(-16, "bdev_malloc_delete", name="Malloc0"))
        stores = {each["name"]: each for each in call("bdev_get_bdevs")}
        self.assertEqual({name: (store["block_size"], store["claimed"])
                          for name, store in stores.items()},
                         {"Malloc0": (512, True), "disk": (512, True), "null": (4096, True),
                          f"{FIRST}/0": (512, True)})
        self.assertEqual(stores["null"]["uuid"], "0a1b2c3d-0000-4000-8000-000000000001")
        self.run_host("write", self.daemon, "--target", DISK, "--initiator", HOST, "--lun", "1",
                      data=bytes(8192))
        counts, = call("bdev_get_iostat", names=["disk"])["bdevs"]
        self.assertEqual(counts["bytes_written"], 8192)
        os.truncate(disk, 2 << 20)
        self.assertIs(call("bdev_aio_rescan", name="disk"), True)
        self.assertIs(call("bdev_null_resize", name="null", new_size=1), True)
        stores = {each["name"]: each["num_blocks"] for each in call("bdev_get_bdevs")}
        self.assertEqual((stores["disk"], stores["null"]), (4096, 256))
        call("mrpool_iscsi_target_node_remove_lun", name=DISK, lun_id=7)
        # A named store stays open, and goes on with the file.
        self.assertIs(call("bdev_get_bdevs", name="null")[0]["claimed"], False)
        call("save_config")
        self.assertIn("nothing changed", self.daemon.reload())
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon = self.target(config=self.file_path)
        self.client = self.connect()
        self.assertEqual({each["name"] for each in self.client.call("bdev_get_bdevs")},
                         {"Malloc0", "disk", "null", f"{FIRST}/0"})
        self.assertEqual(self.login(DISK), 0)
        self.assertIs(self.client.call("bdev_null_delete", name="null"), True)

    def test_portals(self):
        self.client.call("iscsi_create_portal_group", tag=2,
                         portals=[{"host": "127.0.0.1", "port": "0"}], private=False, wait=False)
        self.assertEqual([group["tag"] for group in
                          self.client.call("iscsi_get_portal_groups")], [1, 2])
        self.client.call("iscsi_target_node_add_pg_ig_maps", name=FIRST,
                         pg_ig_maps=[{"pg_tag": 2, "ig_tag": 1}])
        self.assertIn("every portal serves every target", self.refused_node())
        self.assertIn("is used by", self.fails(-16, "iscsi_delete_portal_group", tag=2))
        self.client.call("iscsi_target_node_remove_pg_ig_maps", name=FIRST,
                         pg_ig_maps=[{"pg_tag": 2, "ig_tag": 1}])
        self.client.call("iscsi_delete_portal_group", tag=2)
        self.fails(-32602, "iscsi_create_portal_group", tag=2, portals=[{"host": "x", "port": "y"}])
        self.fails(-32602, "iscsi_create_portal_group", tag=2, portals=[])

    def refused_node(self):
        with self.assertRaises(RpcError) as caught:
            self.create()
        return caught.exception.message

    def test_what_is_refused_changes_nothing(self):
        before = self.client.call("iscsi_get_target_nodes")
        self.fails(-19, "iscsi_delete_target_node", name=DISK)
        self.fails(-19, "iscsi_target_node_add_lun", name=DISK, bdev_name="ram:1MiB")
        for more, why in (({"name": "disk"}, "not an iSCSI name"), ({"store": "tape:1"}, "tape"),
                          ({"name": FIRST}, "already"), ({"data_digest": True}, "RDMA protects"),
                          ({"pg_ig_maps": [{"pg_tag": 5, "ig_tag": 1}]}, "no portal group 5"),
                          ({"chap_group": 5}, "no auth group 5"),
                          ({"store": "file:/no/such/folder/file"}, "does not exist")):
            with self.assertRaises(RpcError) as caught:
                self.create(**more)
            self.assertIn(why, caught.exception.message)
        self.assertEqual(self.client.call("iscsi_get_target_nodes"), before)

    def test_it_is_saved_and_loaded_again(self):
        self.create()
        self.client.call("iscsi_create_auth_group", tag=4,
                         secrets=[{"user": "u", "secret": SECRET}])
        self.client.call("iscsi_target_node_set_auth", name=DISK, chap_group=4)
        self.assertEqual(self.client.call("save_config"), {"path": str(self.file_path)})
        self.assertIn("nothing changed", self.daemon.reload())
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon = self.target(config=self.file_path)
        self.client = self.connect()
        self.assertEqual({node["name"] for node in self.client.call("iscsi_get_target_nodes")},
                         {FIRST, DISK})
        self.assertNotEqual(self.login(DISK), 0)
        self.assertEqual(self.login(DISK, "--chap", f"u:{SECRET}"), 0)

    @contextlib.contextmanager
    def slow_file(self):
        """A store whose open() waits until the result is called: a lease on it is to be given up
        first. The kernel ends a lease after 45 s; the test is done by then, or fails."""
        path = self.folder / "slow"
        path.write_bytes(bytes(1 << 20))
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        with open(path, "r+b") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)

            def waits():
                until(lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) == fcntl.F_UNLCK,
                      lambda: "nobody opens the slow file")
            yield path, waits
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        signal.signal(signal.SIGIO, before)

    def test_a_slow_store_delays_nothing_else(self):
        other = self.connect()
        with self.slow_file() as (path, waits):
            self.ask("iscsi_create_target_node", name=DISK, alias_name="disk",
                     pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}], queue_depth=64,
                     luns=[{"bdev_name": f"file:{path}", "lun_id": 0}])
            waits()
            self.assertEqual([each["name"] for each in other.call("iscsi_get_target_nodes")], [FIRST])
            self.assertEqual(self.login(FIRST), 0)
            self.assertEqual(select.select([self.client.socket], [], [], 0)[0], [])
        self.assertIs(self.client.receive()["result"], True)
        self.assertEqual(self.login(DISK), 0)

    def test_a_reload_of_a_slow_store_delays_nothing_else(self):
        with self.slow_file() as (path, waits):
            text = json.loads(self.file_path.read_text())
            text["targets"].append({"name": DISK, "luns": [f"file:{path}"]})
            self.file_path.write_text(json.dumps(text))
            self.daemon.process.send_signal(signal.SIGHUP)
            waits()
            self.assertEqual([each["name"] for each in self.client.call("iscsi_get_target_nodes")],
                             [FIRST])
            self.assertNotIn("reloaded", self.daemon.output())
        self.daemon_says("reloaded: added ")
        self.assertEqual(self.login(DISK), 0)
        names = [each["name"] for each in self.client.call("iscsi_get_target_nodes")]
        self.assertEqual(names, [DISK, FIRST])

    def test_a_stop_ends_a_change(self):
        """What it would have made is not served."""
        with self.slow_file() as (path, waits):
            self.ask("iscsi_target_node_add_lun", name=FIRST, bdev_name=f"file:{path}")
            waits()
            self.daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.daemon.process.wait(timeout=PATIENCE), 0)
        self.assertNotIn("slow", self.daemon.output())

    def test_connections_are_shown(self):
        self.assertEqual(self.client.call("iscsi_get_connections"), [])
        load = self.start("perf", self.daemon, "--target", FIRST, "--initiator", HOST,
                          "--time_based", "--runtime", "600", "--eta", "always")
        self.addCleanup(load.communicate)
        self.addCleanup(load.kill)
        load.stderr.readline()
        (one,) = self.client.call("iscsi_get_connections")
        self.assertGreater(one.pop("tsih"), 0)
        self.assertEqual(one.pop("cid"), one.pop("lcore_id"))
        self.assertEqual(one, {"id": 0, "initiator_addr": "127.0.0.1", "initiator_name": HOST,
                               "target_addr": "127.0.0.1", "target_node_name": FIRST})
        shown = subprocess.run([BIN / "mrpool-ctl", "connections", "--socket", self.path],
                               capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        self.assertRegex(shown, rf"TARGET +INITIATOR +ADDRESS +PORTAL +TSIH\n{FIRST} +{HOST} +127")

    def ask(self, method, **parameters):
        """Without waiting for the answer."""
        self.client.send(json.dumps(self.client.request(method, **parameters)))

    def daemon_says(self, text):
        until(lambda: text in self.daemon.output(), self.daemon.output)

    def test_two_clients_at_once_under_load(self):
        """A thousand changes: nothing is lost, and nothing is in use at the end."""
        load = subprocess.Popen(
            [BIN / "mrpool-iser", "perf", self.daemon.address, "--target", FIRST, "--initiator",
             HOST, "--rw", "randrw", "--bs", "4k", "--iodepth", "8", "--time_based", "--runtime",
             "600", "--verify", "crc32c"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        clients = [self.connect() for _ in range(2)]
        faults = []

        def change(which):
            try:
                for i in range(264):
                    name = f"{DISK}-{which}-{i}"
                    clients[which].call(
                        "iscsi_create_target_node", name=name, alias_name="",
                        pg_ig_maps=[{"pg_tag": 1, "ig_tag": 1}],
                        luns=[{"bdev_name": f"ram:1MiB,name={which}-{i}", "lun_id": 0}],
                        queue_depth=64)
                    if i % 10:
                        clients[which].call("iscsi_delete_target_node", name=name)
            except Exception as error:  # pylint: disable=broad-except
                faults.append(error)

        threads = [threading.Thread(target=change, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(faults, [])
        names = {node["name"] for node in self.client.call("iscsi_get_target_nodes")}
        self.assertEqual(names, {FIRST} | {f"{DISK}-{which}-{i}" for which in range(2)
                                           for i in range(0, 264, 10)})
        self.assertIsNone(load.poll(), "the load goes on")
        load.send_signal(2)
        output, errors = load.communicate(timeout=PATIENCE)
        self.assertIn(load.returncode, (0, 130), (output, errors))
        self.assertEqual(self.daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
