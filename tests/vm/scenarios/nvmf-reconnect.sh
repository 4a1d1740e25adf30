# Connections that end while data flows: by the host, by a reset, again and again.
#
# checks: disconnect and controller reset under load, 50 connect/disconnect cycles during I/O
# needs: nvme fio
# wires: rxe siw
# timeout: 500
# kernel-may-say: I/O error|failed|timeout
need nvme fio
wire_up
target_start --listen "$URI" --subnqn $NQN --namespace ram:64MiB --verbose

background_load() {  # DEVICE
  fio --name=load --filename="$1" --direct=1 --ioengine=libaio --rw=randrw --bs=4k --iodepth=16 \
    --time_based --runtime=60 --output-format=terse --output=/dev/null &
  LOAD_PID=$!
}

step "controller reset during I/O"
host_connect
dev=$(namespace)
background_load "$dev"
for _ in 1 2 3; do
  sleep 0.5
  nvme reset "/dev/$CTRL"
  until_true 40 ctrl_state_is live || fail "not live behind a reset"
done
kill -0 $LOAD_PID || fail "fio did not survive the resets"
kill $LOAD_PID
wait $LOAD_PID || true

step "disconnect during I/O"
background_load "$dev"
sleep 1
host_disconnect
wait $LOAD_PID || true

descriptors_back() { [ "$(ls "/proc/$TARGET_PID/fd" | wc -l)" -le "$descriptors" ]; }

# More than dd itself needs to start.
reading() { [ "$(sed -n 's/^rchar: //p' "/proc/$1/io")" -gt 100000 ]; }

step "50 connections that end during I/O"
descriptors=$(ls "/proc/$TARGET_PID/fd" | wc -l)
# What nvme connect and nvme disconnect do, without starting them a hundred times.
fabrics="nqn=$NQN,transport=rdma,traddr=$ADDR,trsvcid=$PORT,hostnqn=$HOST_NQN,hostid=$HOST_ID"
for _ in $(seq 50); do
  echo "$fabrics,nr_io_queues=1" >/dev/nvme-fabrics
  find_ctrl
  dev=$(namespace)
  dd if=/dev/zero of="$dev" bs=4k count=16 oflag=direct status=none
  dd if="$dev" of=/dev/null bs=4k iflag=direct status=none 2>/dev/null &
  reader=$!
  until_true 5 reading $reader || fail "dd reads nothing from $dev"
  echo 1 >"/sys/class/nvme/$CTRL/delete_controller"
  if wait $reader; then fail "dd read 64 MiB before the connection went: not during I/O"; fi
done
until_true 10 descriptors_back || fail "file descriptors: $descriptors before 50 cycles, $(ls "/proc/$TARGET_PID/fd" | wc -l) behind them"

step "and it still works"
host_connect
verify "$(namespace)" --rw=randwrite --bs=4k --iodepth=16 --size=4M
host_disconnect
target_stop
