#!/usr/bin/env python3
"""Stores in a Ceph cluster, as users have them: both daemons serve images of a cluster that runs
here, and our initiators load them. tests/ha/run runs it."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples/ha"), str(ROOT / "tests/integration")]
from cluster import Cluster  # noqa: E402
from harness import BIN, IQN, NQN, PATIENCE, IserTarget, TargetTest, until  # noqa: E402
from json_rpc import Client  # noqa: E402

MIB = 1 << 20
SIZE = 64 * MIB
CLUSTER = None


def setUpModule():
    global CLUSTER  # pylint: disable=global-statement
    folder = tempfile.TemporaryDirectory(prefix="mrpool-ceph-")
    unittest.addModuleCleanup(folder.cleanup)
    CLUSTER = unittest.enterModuleContext(Cluster(pathlib.Path(folder.name) / "cluster"))


class RbdTest(TargetTest):
    """A test with an image of its own."""

    place = "--namespace"
    load = ("--rw", "randrw", "--iodepth", "32", "--verify", "crc32c", "--time_based")

    def setUp(self):
        super().setUp()
        self.image = f"rbd/{self.id().rsplit('.', 2)[-2]}.{self._testMethodName}"
        CLUSTER.rbd("create", self.image, "--size", f"{SIZE // MIB}M")

    def store(self, *options):
        return ",".join([f"rbd:{self.image}", f"conf={CLUSTER.conf}", *options])

    def serve(self, *options, **more):
        return self.target(self.place, self.store(*options), **more)

    def begin_load(self, target, seconds):
        """A verified load that is under way."""
        process = self.start("perf", target, *self.name, *self.load, "--runtime", str(seconds),
                             "--output-format", "json", "--group_reporting", "--eta", "always")
        self.addCleanup(process.kill)
        process.stderr.readline()  # the first line of a load that runs
        return process

    def end_load(self, process):
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err.decode())
        self.assert_verified(*self.job_of(out))
        return err.decode()

    def fence(self, target):
        clients = CLUSTER.watchers(self.image)
        self.assertEqual(len(clients), 1, target.output())
        CLUSTER.fence(clients[0])
        return clients[0]


class Store(RbdTest):
    """The store without a daemon."""

    def check(self, only, program="rbd_store_test"):
        done = subprocess.run([BIN / program, f"--gtest_filter={only}"], text=True,
                              env={**os.environ, "MRPOOL_RBD_STORE": self.store()},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])
        self.assertIn("[  PASSED  ]", done.stdout)
        self.assertEqual(CLUSTER.watchers(self.image), [], "it was closed")

    def used(self):
        extents = json.loads(CLUSTER.rbd("diff", self.image, "--format", "json"))
        return sum(extent["length"] for extent in extents if extent["exists"] == "true")

    def test_deallocated_space_is_given_back(self):
        self.check("RbdStore.Fill")
        self.assertEqual(self.used(), 16 * MIB)
        self.check("RbdStore.Deallocate")
        self.assertEqual(self.used(), 0)

    def test_requests(self):
        self.check("RbdStore.*-RbdStore.Fill:RbdStore.Deallocate")

    def test_records_of_a_group(self):
        self.check("*", "rbd_records_test")


class Nvmf(RbdTest):
    def test_a_verified_load(self):
        target = self.serve("bs=512")
        for bs, *more in (("4k",), ("256k", "--size", "32m"), ("512", "--size", "4m", "--numjobs", "2")):
            self.assert_verified(*self.perf(target, *self.load, "--bs", bs, "--runtime", "2", *more))

    def test_bytes_are_those_of_the_image(self):
        target = self.serve()
        data = os.urandom(SIZE)
        self.run_host("write", target, *self.name, data=data)
        self.assertEqual(target.stop(), 0, target.output())
        # The image is free at once: the daemon has closed it.
        self.assertEqual(CLUSTER.watchers(self.image), [])
        there = self.folder / "image"
        CLUSTER.rbd("export", "--no-progress", self.image, str(there))
        self.assertEqual(there.read_bytes(), data)

    def test_a_snapshot_is_read_only(self):
        target = self.serve()
        self.run_host("write", target, *self.name, data=b"before" * 4096)
        CLUSTER.rbd("snap", "create", f"{self.image}@s")
        self.run_host("write", target, *self.name, data=b"behind" * 4096)
        snapshot = self.serve("snap=s")
        out, _ = self.run_host("read", snapshot, *self.name, "--size", str(6 * 4096))
        self.assertEqual(out, b"before" * 4096)
        _, err = self.run_host("write", snapshot, *self.name, data=bytes(4096), expect=1)
        self.assertIn("namespace_write_protected", err)

    def test_a_connected_host_sees_another_size(self):
        target = self.serve()
        load = self.begin_load(target, 600)
        CLUSTER.rbd("resize", self.image, "--size", "96M", "--no-progress")
        until(lambda: "grew from 67108864 to 100663296" in target.output(), target.output)
        # The event reaches the load, which ends: this is not the namespace that it measures.
        out, err = load.communicate(timeout=PATIENCE)
        self.assertEqual(load.returncode, 1, err.decode())
        self.assertIn("it is 24576 blocks of 4096 bytes, it was 16384 blocks", err.decode())
        self.assertEqual(self.job_of(out)[0]["verify_errors"], 0)
        out, _ = self.run_host("identify", target, *self.name, "--output-format", "json")
        self.assertEqual(json.loads(out)["namespaces"][0]["nsze"], 96 * MIB // 4096)
        self.run_host("write", target, *self.name, "--offset", "95MiB", data=bytes(MIB))

    def test_a_cluster_that_is_away_for_a_while(self):
        target = self.serve()
        load = self.begin_load(target, 6)
        CLUSTER.kill_osd()
        CLUSTER.start_osd()
        self.end_load(load)

    def test_a_fenced_gateway_is_no_fault_of_the_medium(self):
        target = self.serve()
        self.run_host("write", target, *self.name, data=b"before" * 4096)
        self.fence(target)
        out, err = self.run_host("read", target, *self.name, "--size", "4096", expect=1)
        self.assertEqual(out, b"")
        self.assertIn("internal_path_error (0x300)", err)
        until(lambda: "has fenced this client" in target.output(), target.output)
        # Another gateway may go on meanwhile, and what this one had is there.
        other = self.serve()
        out, _ = self.run_host("read", other, *self.name, "--size", str(6 * 4096))
        self.assertEqual(out, b"before" * 4096)

    def test_a_reload_opens_it_anew_after_a_fence(self):
        config = self.folder / "target.json"
        config.write_text(json.dumps({
            "listen": ["uiwarp://127.0.0.1:0"],
            "subsystems": [{"nqn": NQN, "namespaces": [{"storage": self.store()}]}]}))
        target = self.target(config=config)
        self.fence(target)
        self.run_host("read", target, *self.name, "--size", "4096", expect=1)
        self.assertIn("reload", target.reload())
        self.run_host("read", target, *self.name, "--size", "4096")
        job, own = self.perf(target, *self.load, "--runtime", "1")
        self.assert_verified(job, own)

    def test_images_share_a_client(self):
        images = [f"rbd/shared{i}" for i in range(8)]
        options = []
        for image in images:
            CLUSTER.rbd("create", image, "--size", "4M")
            options += [self.place, f"rbd:{image},conf={CLUSTER.conf}"]
        target = self.target(*options)
        clients = {client for image in images for client in CLUSTER.watchers(image)}
        self.assertEqual(len(clients), 1, target.output())

    def test_mistakes_are_named(self):
        conf = f"conf={CLUSTER.conf}"
        for store, said in (
                (f"rbd:rbd/nothing,{conf}", 'there is no image "nothing"; "rbd ls rbd"'),
                (f"rbd:nothing/disk,{conf}", 'no pool "nothing"'),
                (f"rbd:{self.image},{conf},snap=s", 'it has no snapshot "s"'),
                (f"rbd:{self.image},conf=/nothing", "/nothing: No such file or directory"),
                (f"rbd:{self.image},{conf},namespace=n", "there is no image")):
            run = subprocess.run([BIN / self.target_class.program[0], "--listen", "uiwarp://127.0.0.1:0",
                                  *self.target_class.program[1:], self.place, store],
                                 capture_output=True, text=True, timeout=PATIENCE, check=False)
            self.assertNotEqual(run.returncode, 0, store)
            self.assertIn(said, run.stderr)
            self.assertEqual(run.stderr.count("\n"), 1, run.stderr)

    def test_a_lock_and_a_cache_of_others_are_respected(self):
        CLUSTER.rbd("lock", "add", self.image, "mine")
        with self.assertRaisesRegex(AssertionError, "the image is locked by client"):
            self.serve()
        self.serve("ro")
        locks = CLUSTER.rbd("lock", "ls", self.image)
        CLUSTER.rbd("lock", "rm", self.image, "mine", re.search(r"client\.\d+", locks)[0])
        CLUSTER.rbd("config", "image", "set", self.image, "rbd_cache", "true")
        with self.assertRaisesRegex(AssertionError, r"asks for a cache \(rbd_cache\)"):
            self.serve()

    def test_the_control_socket_makes_and_ends_one(self):
        path = self.folder / "control"
        config = self.folder / "target.json"
        config.write_text('{"listen": ["uiwarp://127.0.0.1:0"]}')
        # The filter of system calls is there before librbd is loaded.
        target = self.target("--control", path, "--seccomp=enforce", config=config)
        client = Client(path)
        self.addCleanup(client.close)
        pool, name = self.image.split("/")
        self.assertEqual(client.call("bdev_rbd_create", pool_name=pool, rbd_name=name,
                                     block_size=512, conf=str(CLUSTER.conf)), "Ceph0")
        store = client.call("bdev_get_bdevs", name="Ceph0")[0]
        self.assertEqual(store["product_name"], "Ceph Rbd Disk")
        self.assertEqual(store["num_blocks"], SIZE // 512)
        self.assertEqual(store["driver_specific"]["rbd"],
                         {"pool_name": pool, "rbd_name": name, "conf": str(CLUSTER.conf)})
        client.call("nvmf_create_subsystem", nqn=NQN, allow_any_host=True)
        client.call("nvmf_subsystem_add_ns", nqn=NQN, namespace={"bdev_name": "Ceph0"})
        self.assert_verified(*self.perf(target, *self.load, "--runtime", "1"))
        client.call("nvmf_delete_subsystem", nqn=NQN)
        self.assertIs(client.call("bdev_rbd_delete", name="Ceph0"), True)
        until(lambda: CLUSTER.watchers(self.image) == [], target.output)


class Iser(RbdTest):
    target_class = IserTarget
    host_program = "mrpool-iser"
    place = "--lun"
    name = ["--target", IQN]

    def test_a_verified_load(self):
        target = self.serve()
        self.assert_verified(*self.perf(target, *self.load, "--runtime", "2"))

    def test_an_initiator_sees_another_size(self):
        target = self.serve()
        CLUSTER.rbd("resize", self.image, "--size", "96M", "--no-progress")
        until(lambda: "grew from 67108864 to 100663296" in target.output(), target.output)
        out, _ = self.run_host("ls", target, "--show-luns")
        self.assertIn(f"{96 * MIB // 512} blocks of 512 bytes", out.decode())

    def test_a_fenced_gateway_is_no_fault_of_the_medium(self):
        target = self.serve()
        self.fence(target)
        _, err = self.run_host("read", target, *self.name, "--size", "4096", expect=1)
        self.assertIn("ALUA state unavailable (2/04/0c)", err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
