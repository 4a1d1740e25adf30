# Connections that end while data flows: by the host, by a reset, again and again.
#
# checks: disconnect and controller reset under load, 50 connect/disconnect cycles with I/O
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
  sleep 1
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

step "50 connections with I/O"
descriptors=$(ls "/proc/$TARGET_PID/fd" | wc -l)
for cycle in $(seq 50); do
  host_connect --nr-io-queues=1 >/dev/null
  dev=$(namespace)
  dd if=/dev/zero of="$dev" bs=4k count=16 oflag=direct status=none
  dd if="$dev" of="$RUN/cycle" bs=4k count=16 iflag=direct status=none
  host_disconnect >/dev/null
done
until_true 10 descriptors_back || fail "file descriptors: $descriptors before 50 cycles, $(ls "/proc/$TARGET_PID/fd" | wc -l) behind them"

step "and it still works"
host_connect
verify "$(namespace)" --rw=randwrite --bs=4k --iodepth=16 --size=4M
host_disconnect
target_stop
