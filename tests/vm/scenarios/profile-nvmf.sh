# A measurement beside compare-nvmf: where the machine's time goes while Linux's initiator reads from
# the kernel's target and from ours. Writes /vm/profile-nvmf.WIRE.txt, a part for each target and load.
#
# checks: sampled profiles of the guest under fio, nvmet-rdma and mrpool-nvmf-target in turn
# needs: nvme fio perf
# wires: rxe siw
# timeout: 200
# by-name-only: yes
need nvme fio perf
wire_up
nvme_rdma
null_block nullb_cmp 4096
kernel_target /dev/nullb_cmp
our_nqn=nqn.2024-01.io.mrpool:profile our_port=$((PORT + 1))
target_start --listen "${URI%:*}:$our_port" --subnqn $our_nqn --namespace null:4GiB,bs=4096
table=/vm/$NAME.$WIRE.txt
: >"$table"

profile() {  # WHO NQN PORT
  local disk rw bs depth fio_pid
  nvme connect -t rdma -a "$ADDR" -s "$3" -n "$2" --hostnqn=$HOST_NQN --hostid=$HOST_ID \
    --nr-io-queues=2
  until_true 10 namespace_of "$2" || fail "no namespace of $2"
  disk=$(namespace_of "$2")
  while read -r rw bs depth; do
    fio --name=m --filename="$disk" --direct=1 --ioengine=libaio --rw="$rw" --bs="$bs" \
      --iodepth="$depth" --time_based --runtime=6 --size=64M --thread --gtod_reduce=1 \
      --output-format=terse >"$RUN/fio" &
    fio_pid=$!
    sleep 2
    perf record -q -a -e cpu-clock -F 499 -o "$RUN/perf.data" -- sleep 3
    wait $fio_pid
    {
      echo "== $1, $bs $rw QD$depth, $(awk -F';' '/^3;/ { print int($8 + $49) }' "$RUN/fio") IOPS"
      perf report -i "$RUN/perf.data" --stdio --sort comm --percent-limit 1 2>/dev/null |
        grep -v '^#' | grep .
      echo "-- by function"
      perf report -i "$RUN/perf.data" --stdio --sort comm,symbol --percent-limit 1.5 2>/dev/null |
        grep -v '^#' | grep . | head -30
    } >>"$table"
  done <<'LOADS'
randread 4k 1
read 64k 8
LOADS
  nvme disconnect -n "$2"
}
namespace_of() {
  local dir
  for dir in /sys/class/nvme/nvme*; do
    [ "$(cat "$dir/subsysnqn")" = "$1" ] || continue
    [ -b "/dev/${dir##*/}n1" ] || return 1
    echo "/dev/${dir##*/}n1"
    return 0
  done
  return 1
}
profile nvmet-rdma $NQN $PORT
profile mrpool $our_nqn $our_port
target_stop
