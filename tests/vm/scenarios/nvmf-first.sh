# A stock kernel's RDMA initiator and our target: the shortest way through everything.
#
# checks: discover, connect, one verified write and read, disconnect, clean stop
# needs: nvme fio
# wires: rxe siw
# timeout: 60
need nvme fio
wire_up
target_start --listen "$URI" --subnqn $NQN --namespace ram:64MiB --verbose

step "discover"
nvme_rdma
says "$NQN" host_discover

step "connect"
host_connect
dev=$(namespace)

step "verified I/O"
verify "$dev" --rw=randwrite --bs=4k --iodepth=8 --size=4M

step "disconnect and stop"
host_disconnect
target_stop
