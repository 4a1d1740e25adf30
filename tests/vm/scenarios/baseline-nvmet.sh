# The lane itself: Linux's initiator against the kernel's own target on this wire.
#
# checks: the machine boots, the wire carries verified NVMe-oF data without us
# needs: nvme fio
# wires: rxe siw
# timeout: 60
need nvme fio
wire_up

step "kernel target on a memory-backed null_blk"
null_block nullb_base 64 1
kernel_target /dev/nullb_base

step "discover and connect"
nvme_rdma
says "$NQN" host_discover
host_connect
dev=$(namespace)

step "verified I/O"
verify "$dev" --rw=randwrite --bs=4k --iodepth=16 --size=8M
verify "$dev" --rw=write --bs=64k --iodepth=4 --size=16M
host_disconnect
