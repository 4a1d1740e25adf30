#!/usr/bin/env python3
"""SPDK's methods as its client has them: what it may send, and what it expects to be answered.

The tables name, for each method of SPDK that a daemon takes, all parameters that SPDK publishes; for
those of the NVMe daemon the members of the results too. iscsi_control_test.py has those of iSCSI.

    MRPOOL_BIN=build/dev/bin tests/integration/spdk_rpc_test.py
"""
import unittest

from control_test import ControlTest, address, free_port
from harness import NQN, PATIENCE, IserTarget

KINDS = {"s": "a string", "b": "true or false", "n": "a whole number", "o": "an object",
         "l": "a list of strings", "O": "a list of objects"}
TARGET = "tgt_name:s"
SUBSYSTEM = f"nqn!:s {TARGET}"
NAMED = "name!:s"
BLOCKS = ("uuid:s physical_block_size:n md_size:n dif_type:n dif_is_head_of_md:b dif_pi_format:n")

# NAME[!]:KIND; "!": the client always sends it.
PARAMETERS = {
    "rpc_get_methods": "current:b include_aliases:b",
    "spdk_get_version": "",
    "framework_get_subsystems": "",
    "framework_get_config": "name!:s with_batches:b",
    "log_get_level": "",
    "log_set_level": "level!:s",
    "bdev_malloc_create": f"block_size!:n num_blocks!:n name:s {BLOCKS} md_interleave:b "
                          "optimal_io_boundary:n numa_id:n",
    "bdev_null_create": f"name!:s block_size!:n num_blocks!:n {BLOCKS} optimal_write_size:n "
                        "preferred_write_granularity:n preferred_write_alignment:n "
                        "preferred_unmap_granularity:n preferred_unmap_alignment:n",
    "bdev_aio_create": "name!:s filename!:s block_size:n readonly:b fallocate:b uuid:s nowait:b",
    "bdev_uring_create": "name!:s filename!:s block_size:n uuid:s",
    "bdev_rbd_create": "name:s user_id:s pool_name!:s rbd_name!:s block_size!:n config:o "
                       "cluster_name:s namespace_name:s uuid:s",
    "bdev_rbd_delete": NAMED,
    "bdev_malloc_delete": NAMED, "bdev_null_delete": NAMED, "bdev_aio_delete": NAMED,
    "bdev_uring_delete": NAMED, "bdev_aio_rescan": NAMED, "bdev_uring_rescan": NAMED,
    "bdev_null_resize": "name!:s new_size!:n",
    "bdev_get_bdevs": "name:s timeout:n",
    "bdev_set_qos_limit": "name!:s rw_ios_per_sec:n rw_mbytes_per_sec:n r_mbytes_per_sec:n "
                          "w_mbytes_per_sec:n",
    "bdev_get_iostat": "names:l per_channel:b reset_mode:s",
    "nvmf_create_subsystem": f"{SUBSYSTEM} serial_number:s model_number:s admin_label:s "
                             "max_namespaces:n allow_any_host:b ana_reporting:b min_cntlid:n "
                             "max_cntlid:n dmrsl:n wzsl:n passthrough:b enable_nssr:b",
    "nvmf_delete_subsystem": SUBSYSTEM,
    "nvmf_subsystem_add_ns": f"{SUBSYSTEM} namespace!:o",
    "nvmf_subsystem_remove_ns": f"{SUBSYSTEM} nsid!:n",
    "nvmf_ns_add_host": f"{SUBSYSTEM} nsid!:n host!:s",
    "nvmf_ns_remove_host": f"{SUBSYSTEM} nsid!:n host!:s",
    "nvmf_subsystem_add_host": f"{SUBSYSTEM} host!:s psk:s dhchap_key:s dhchap_ctrlr_key:s",
    "nvmf_subsystem_set_keys": f"{SUBSYSTEM} host!:s dhchap_key:s dhchap_ctrlr_key:s",
    "keyring_file_add_key": "name!:s path!:s",
    "keyring_file_remove_key": "name!:s",
    "keyring_get_keys": "",
    "nvmf_subsystem_remove_host": f"{SUBSYSTEM} host!:s timeout_ms:n",
    "nvmf_subsystem_allow_any_host": f"{SUBSYSTEM} allow_any_host!:b",
    "nvmf_subsystem_add_listener": f"{SUBSYSTEM} listen_address!:o secure_channel:b ana_state:s "
                                   "sock_impl:s numa_id:n",
    "nvmf_subsystem_listener_set_ana_state": f"{SUBSYSTEM} listen_address!:o ana_state!:s "
                                             "anagrpid:n",
    "nvmf_subsystem_remove_listener": f"{SUBSYSTEM} listen_address!:o",
    "nvmf_discovery_add_referral": f"{TARGET} address!:o secure_channel:b subnqn:s",
    "nvmf_discovery_remove_referral": f"{TARGET} address!:o subnqn:s",
    "nvmf_discovery_get_referrals": TARGET,
    "nvmf_get_subsystems": f"nqn:s {TARGET}",
    "nvmf_subsystem_get_controllers": SUBSYSTEM,
    "nvmf_subsystem_get_qpairs": SUBSYSTEM,
    "nvmf_subsystem_get_listeners": SUBSYSTEM,
    "nvmf_get_transports": f"{TARGET} trtype:s",
    "nvmf_get_stats": TARGET,
    "nvmf_create_transport":
        f"trtype!:s {TARGET} max_queue_depth:n max_io_qpairs_per_ctrlr:n in_capsule_data_size:n "
        "max_io_size:n io_unit_size:n max_aq_depth:n num_shared_buffers:n buf_cache_size:n "
        "iobuf_small_cache_size:n iobuf_large_cache_size:n zcopy:b num_cqe:n max_srq_depth:n "
        "no_srq:b c2h_success:b dif_insert_or_strip:b sock_priority:n acceptor_backlog:n "
        "abort_timeout_sec:n no_wr_batching:b control_msg_num:n disable_mappable_bar0:b "
        "disable_adaptive_irq:b disable_shadow_doorbells:b acceptor_poll_rate:n ack_timeout:n "
        "data_wr_pool_size:n disable_command_passthru:b kas:n min_kato:n masked_oncs:s "
        "masked_fuses:s",
}
NODE = "name!:s"
TAG = "tag!:n"
CHAP = "disable_chap:b require_chap:b mutual_chap:b chap_group:n"
INITIATORS = f"{TAG} initiators:l netmasks:l"
ISCSI = {
    "iscsi_create_portal_group": f"{TAG} portals!:O private:b wait:b",
    "iscsi_delete_portal_group": TAG, "iscsi_get_portal_groups": "",
    "iscsi_create_initiator_group": f"{TAG} initiators!:l netmasks!:l",
    "iscsi_delete_initiator_group": TAG, "iscsi_get_initiator_groups": "",
    "iscsi_initiator_group_add_initiators": INITIATORS,
    "iscsi_initiator_group_remove_initiators": INITIATORS,
    "iscsi_create_auth_group": f"{TAG} secrets:O",
    "iscsi_delete_auth_group": TAG, "iscsi_get_auth_groups": "",
    "iscsi_auth_group_add_secret": f"{TAG} user!:s secret!:s muser:s msecret:s",
    "iscsi_auth_group_remove_secret": f"{TAG} user!:s",
    "iscsi_set_discovery_auth": CHAP,
    "iscsi_create_target_node": f"{NODE} alias_name!:s pg_ig_maps!:O luns!:O queue_depth!:n {CHAP} "
                                "header_digest:b data_digest:b",
    "iscsi_delete_target_node": NODE, "iscsi_get_target_nodes": "",
    "iscsi_target_node_add_lun": f"{NODE} bdev_name!:s lun_id:n",
    "iscsi_target_node_set_auth": f"{NODE} {CHAP}",
    "iscsi_target_node_add_pg_ig_maps": f"{NODE} pg_ig_maps!:O",
    "iscsi_target_node_remove_pg_ig_maps": f"{NODE} pg_ig_maps!:O",
}
ADDRESS = "trtype!:s adrfam:s traddr!:s trsvcid:s"
MEMBERS = {"listen_address": ADDRESS, "address": ADDRESS,
           "namespace": "nsid:n bdev_name:s nguid:s eui64:s uuid:s ptpl_file:s anagrpid:n "
                        "no_auto_visible:b hide_metadata:b",
           "portals": "host!:s port!:s", "pg_ig_maps": "ig_tag!:n pg_tag!:n",
           "luns": "lun_id:n bdev_name!:s", "secrets": "user!:s secret!:s muser:s msecret:s"}

SHOWN = {"trtype": str, "adrfam": str, "traddr": str, "trsvcid": str}
HOST = {"nqn": str}
NAMESPACE = {"nsid": int, "bdev_name": str, "name": str, "nguid": str, "uuid": str}
# Of one of a list where the result is a list.
RESULTS = {
    "spdk_get_version": {"version": str, "fields": {"major": int, "minor": int, "patch": int,
                                                    "suffix": str}},
    "framework_get_subsystems": {"subsystem": str, "depends_on": [str]},
    "framework_get_config": {"method": str, "params": {}},
    "bdev_get_bdevs": {"name": str, "aliases": [str], "product_name": str, "block_size": int,
                       "num_blocks": int, "uuid": str, "claimed": bool, "zoned": bool,
                       "assigned_rate_limits": {"rw_ios_per_sec": int, "rw_mbytes_per_sec": int,
                                                "r_mbytes_per_sec": int, "w_mbytes_per_sec": int},
                       "supported_io_types": {"read": bool, "write": bool, "flush": bool,
                                              "unmap": bool, "write_zeroes": bool},
                       "driver_specific": {}},
    "bdev_get_iostat": {"tick_rate": int, "ticks": int, "bdevs": [
        {"name": str, "bytes_read": int, "num_read_ops": int, "bytes_written": int,
         "num_write_ops": int, "read_latency_ticks": int, "write_latency_ticks": int}]},
    "nvmf_get_subsystems": {"nqn": str, "subtype": str, "listen_addresses": [SHOWN],
                            "allow_any_host": bool, "hosts": [HOST], "serial_number": str,
                            "model_number": str, "max_namespaces": int, "passthrough": bool,
                            "min_cntlid": int, "max_cntlid": int, "dmrsl": int, "wzsl": int,
                            "namespaces": [NAMESPACE]},
    "nvmf_subsystem_get_controllers": {"cntlid": int, "cntrltype": str, "hostnqn": str,
                                       "hostid": str, "num_io_qpairs": int},
    "nvmf_subsystem_get_qpairs": {"cntlid": int, "qid": int, "state": str, "thread": str,
                                  "hostnqn": str, "listen_address": SHOWN, "peer_address": SHOWN},
    "nvmf_subsystem_get_listeners": {"address": SHOWN, "ana_states": [
        {"ana_group": int, "ana_state": str}]},
    "keyring_get_keys": {"name": str, "module": str, "removed": bool, "probed": bool,
                         "refcnt": int, "path": str},
    "nvmf_discovery_get_referrals": {"address": SHOWN, "secure_channel": bool, "subnqn": str},
    "nvmf_get_transports": {"trtype": str, "max_queue_depth": int, "max_io_qpairs_per_ctrlr": int,
                            "in_capsule_data_size": int, "max_io_size": int, "io_unit_size": int,
                            "max_aq_depth": int, "num_shared_buffers": int, "buf_cache_size": int,
                            "dif_insert_or_strip": bool, "zcopy": bool, "abort_timeout_sec": int},
    "nvmf_get_stats": {"tick_rate": int, "poll_groups": [
        {"name": str, "admin_qpairs": int, "io_qpairs": int, "current_admin_qpairs": int,
         "current_io_qpairs": int, "pending_bdev_io": int, "completed_nvme_io": int,
         "transports": [{"trtype": str}]}]},
}


def parsed(text):
    """{name: (kind, required)}"""
    row = {}
    for word in text.split():
        name, kind = word.split(":")
        row[name.rstrip("!")] = KINDS[kind], name.endswith("!")
    return row


class Spdk(ControlTest):
    def begin(self):
        self.path = self.folder / "control"
        config = self.folder / "target.json"
        config.write_text('{"listen": ["uiwarp://127.0.0.1:0"]}')
        return self.target("--control", self.path, config=config), self.client()

    def test_all_parameters_are_declared(self):
        self.begin()
        schema = self.check_schema(PARAMETERS)
        for method in schema:  # save_config and load_config: see control_test.py
            self.assertTrue(method in PARAMETERS or not method.startswith(("nvmf_", "bdev_")),
                            f"{method} has no row in PARAMETERS")

    def test_all_parameters_of_iscsi_are_declared(self):
        self.target_class = IserTarget
        self.serve("--lun", "ram:1MiB")
        self.check_schema(ISCSI | {method: row for method, row in PARAMETERS.items()
                                   if method.startswith("bdev_")})

    def check_schema(self, table):
        schema = {each["name"]: each["params"] for each in self.client().call("mrpool_get_schema")}
        for method, row in table.items():
            self.assertIn(method, schema)
            declared = {each["name"]: each for each in schema[method]}
            self.compare(method, parsed(row), declared)
            for name, each in declared.items():
                if name in MEMBERS:
                    self.compare(f"{method} {name}", parsed(MEMBERS[name]),
                                 {member["name"]: member for member in each["fields"]})
        return schema

    def compare(self, place, row, declared):
        for name, (kind, required) in row.items():
            self.assertIn(name, declared, f"{place}: SPDK's client may send {name}")
            self.assertEqual(declared[name]["type"], kind, f"{place} {name}")
            if not required:
                self.assertFalse(declared[name]["required"], f"{place}: it may leave out {name}")
        # What is more than SPDK's is never required of its client.
        for name in declared.keys() - row.keys():
            self.assertFalse(declared[name]["required"], f"{place} {name}")

    def shaped(self, place, value, shape):
        if isinstance(shape, list):
            self.assertIsInstance(value, list, place)
            for each in value:
                self.shaped(place, each, shape[0])
        elif isinstance(shape, dict):
            self.assertIsInstance(value, dict, place)
            for name, inner in shape.items():
                self.assertIn(name, value, place)
                self.shaped(f"{place}.{name}", value[name], inner)
        else:
            self.assertIs(type(value), shape, place)

    def ask(self, client, method, **parameters):
        """Some of a list; each member is as RESULTS has it."""
        result = client.call(method, **parameters)
        shape = RESULTS[method]
        if isinstance(result, list):
            self.assertNotEqual(result, [], method)
            shape = [shape]
        self.shaped(method, result, shape)
        return result

    def test_all_parameters_are_taken_at_once(self):
        target, client = self.begin()
        disk = self.file("disk", 1 << 20)
        uuid = lambda number: f"0a1b2c3d-0000-4000-8000-{number:012}"
        to, tgt = {"nqn": NQN, "tgt_name": "nvmf_tgt"}, {"tgt_name": "nvmf_tgt"}
        plain = {"physical_block_size": 0, "md_size": 0, "dif_type": 0, "dif_is_head_of_md": False,
                 "dif_pi_format": 0}
        hints = dict.fromkeys(("preferred_write_granularity", "preferred_write_alignment",
                               "optimal_write_size", "preferred_unmap_granularity",
                               "preferred_unmap_alignment"), 0)
        listen = address(free_port())
        key = self.folder / "k"
        key.write_text("DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:\n")
        key.chmod(0o600)
        host = "nqn.2026-11.org.mrpool:host"
        transport = self.ask(client, "nvmf_get_transports", trtype="RDMA", **tgt)[0]
        limits = {name: transport[name] for name in (
            "max_queue_depth", "max_io_qpairs_per_ctrlr", "in_capsule_data_size", "max_io_size",
            "io_unit_size", "max_aq_depth", "num_shared_buffers", "buf_cache_size", "zcopy",
            "dif_insert_or_strip", "abort_timeout_sec")}
        limits["zcopy"] = False  # as SPDK's client sends it where nobody asks for more
        changes = [
            ("nvmf_create_transport", {
                "trtype": "RDMA", **tgt, **limits, "no_srq": False, "c2h_success": True,
                "no_wr_batching": False, "kas": 1, "min_kato": 0, "max_srq_depth": 4096,
                "iobuf_small_cache_size": 32, "iobuf_large_cache_size": 32, "num_cqe": 4096,
                "sock_priority": 0, "acceptor_backlog": 100, "acceptor_poll_rate": 10000,
                "ack_timeout": 0, "data_wr_pool_size": 0, "control_msg_num": 32,
                "disable_mappable_bar0": False, "disable_adaptive_irq": False,
                "disable_shadow_doorbells": False, "disable_command_passthru": False}),
            ("bdev_malloc_create", {"name": "M", "num_blocks": 256, "block_size": 4096,
                                    "uuid": uuid(1), **plain, "md_interleave": False,
                                    "optimal_io_boundary": 0, "numa_id": -1}),
            ("bdev_null_create", {"name": "N", "num_blocks": 256, "block_size": 512,
                                  "uuid": uuid(2), **plain, **hints}),
            ("bdev_aio_create", {"name": "A", "filename": str(disk), "block_size": 512,
                                 "readonly": False, "fallocate": False, "uuid": uuid(3),
                                 "nowait": False}),
            ("nvmf_create_subsystem", {
                **to, "serial_number": "S", "model_number": "M", "admin_label": "",
                "max_namespaces": 32, "allow_any_host": False, "ana_reporting": True,
                "min_cntlid": 1, "max_cntlid": 65519, "dmrsl": 0, "wzsl": 0, "passthrough": False,
                "enable_nssr": False}),
            ("nvmf_subsystem_add_ns", {**to, "namespace": {
                "nsid": 1, "bdev_name": "M", "nguid": "", "eui64": "", "uuid": uuid(4),
                "ptpl_file": "", "anagrpid": 0, "no_auto_visible": False, "hide_metadata": False}}),
            ("nvmf_subsystem_add_ns", {**to, "namespace": {"bdev_name": "A",
                                                           "no_auto_visible": True}}),
            ("nvmf_ns_add_host", {**to, "nsid": 2, "host": host}),
            ("nvmf_subsystem_add_host", {**to, "host": host, "psk": "", "dhchap_key": "",
                                         "dhchap_ctrlr_key": ""}),
            ("keyring_file_add_key", {"name": "k", "path": str(key)}),
            ("nvmf_subsystem_set_keys", {**to, "host": host, "dhchap_key": "k",
                                         "dhchap_ctrlr_key": "k"}),
            ("nvmf_subsystem_set_keys", {**to, "host": host}),
            ("nvmf_subsystem_add_listener", {
                **to, "listen_address": listen, "secure_channel": False, "ana_state": "optimized",
                "sock_impl": "", "numa_id": -1}),
            ("nvmf_subsystem_listener_set_ana_state", {
                **to, "listen_address": listen, "ana_state": "inaccessible", "anagrpid": 3}),
            ("nvmf_discovery_add_referral", {**tgt, "address": address(1, "10.0.0.9"),
                                             "secure_channel": False, "subnqn": NQN}),
        ]
        expected = {"bdev_malloc_create": "M", "bdev_null_create": "N", "bdev_aio_create": "A"}
        for method, parameters in changes:
            sent = parsed(PARAMETERS[method]).keys()
            self.assertLessEqual(parameters.keys(), sent, method)
            result = client.call(method, **parameters)
            if method == "nvmf_subsystem_add_ns":
                self.assertIn(result, (1, 2))
            else:
                self.assertEqual(result, expected.get(method, True), method)
        load = self.start("perf", target, "--subnqn", NQN, "--host-nqn", host, "--time_based",
                          "--runtime", "600", "--eta", "always")
        self.addCleanup(load.kill)
        load.stderr.readline()
        self.ask(client, "spdk_get_version")
        self.ask(client, "framework_get_subsystems")
        for section in ("keyring", "bdev", "nvmf"):
            self.ask(client, "framework_get_config", name=section, with_batches=False)
        self.ask(client, "bdev_get_bdevs", name="M", timeout=0)
        self.ask(client, "bdev_get_iostat", names=["M"], per_channel=False, reset_mode="none")
        self.ask(client, "nvmf_get_subsystems", **to)
        for what in ("controllers", "qpairs", "listeners"):
            self.ask(client, f"nvmf_subsystem_get_{what}", **to)
        self.ask(client, "nvmf_discovery_get_referrals", **tgt)
        self.ask(client, "keyring_get_keys")
        self.ask(client, "nvmf_get_stats", **tgt)
        for method, parameters in (
                ("keyring_file_remove_key", {"name": "k"}),
                ("nvmf_discovery_remove_referral", {**tgt, "address": address(1, "10.0.0.9"),
                                                    "subnqn": NQN}),
                ("nvmf_subsystem_remove_listener", {**to, "listen_address": listen}),
                ("nvmf_subsystem_remove_host", {**to, "host": host, "timeout_ms": 1000}),
                ("nvmf_subsystem_allow_any_host", {**to, "allow_any_host": True}),
                ("nvmf_ns_remove_host", {**to, "nsid": 2, "host": host}),
                ("nvmf_subsystem_remove_ns", {**to, "nsid": 2}),
                ("bdev_aio_rescan", {"name": "A"}), ("bdev_aio_delete", {"name": "A"}),
                ("bdev_null_resize", {"name": "N", "new_size": 2}),
                ("bdev_null_delete", {"name": "N"}), ("nvmf_delete_subsystem", to),
                ("bdev_malloc_delete", {"name": "M"})):
            self.assertIs(client.call(method, **parameters), True, method)
        load.communicate(timeout=PATIENCE)  # its host was removed


if __name__ == "__main__":
    unittest.main(verbosity=2)
