# A measurement: Linux's NVMe initiator and fio against the kernel's nvmet-rdma and against our
# target, in the same machine on the same wire, in turn.
#
# checks: a table of IOPS, ours against nvmet-rdma's (tests/vm/compare nvmf)
# needs: nvme fio
# wires: rxe siw
# timeout: 900
# by-name-only: yes
need nvme fio
. "$guest/compare.sh"
wire_up
nvme_rdma
null_block nullb_cmp 4096
null_block nullb_mem 64 1
kernel_target /dev/nullb_cmp /dev/nullb_mem
our_nqn=nqn.2024-01.io.mrpool:compare our_port=$((PORT + 1))
target_start --listen "${URI%:*}:$our_port" --subnqn $our_nqn --namespace null:4GiB,bs=4096 \
  --namespace ram:64MiB,bs=4096

attach() {  # NQN PORT: connects and sets ATTACHED to the controller's name
  local dir
  nvme connect -t rdma -a "$ADDR" -s "$2" -n "$1" --hostnqn=$HOST_NQN --hostid=$HOST_ID \
    --nr-io-queues=2
  for dir in /sys/class/nvme/*; do
    if [ "$(cat "$dir/subsysnqn")" = "$1" ]; then ATTACHED=${dir##*/}; fi
  done
}
attach $NQN $PORT
kernel=$ATTACHED
attach $our_nqn $our_port
ours=$ATTACHED

compare_head nvmet mrpool
compare_disk null "/dev/${kernel}n1" "/dev/${ours}n1"
compare_disk ram "/dev/${kernel}n2" "/dev/${ours}n2"

nvme disconnect -n $our_nqn
host_disconnect
target_stop
