# Two of our daemons with one file are two paths of Linux's native multipath.
#
# checks: ANA states of both paths, switched under verified load; round robin; a daemon killed and started again; no I/O error
# needs: nvme fio
# wires: siw
# timeout: 200
need nvme fio
wire_up
PORT2=4421
truncate -s 32M "$RUN/disk"

# gateway NAME PORT ARGS...: a daemon with the file; its process id goes to the variable NAME.
gateway() {
  local name=$1 port=$2
  shift 2
  target_start --listen "${URI%:*}:$port" --subnqn $NQN --namespace "file:$RUN/disk,shared" \
    --control "$RUN/$name.sock" "$@"
  printf -v "$name" %s "$TARGET_PID"
}
ctl() { local name=$1; shift; "$BIN/mrpool-ctl" "$@" --socket "$RUN/$name.sock"; }
set_state() { ctl "$1" ana set $NQN --state "$2"; }

# Reads and writes of hosts that a daemon has executed.
count() { ctl "$1" call nvmf_get_stats | sed -n 's/.*"completed_nvme_io": *\([0-9]*\).*/\1/p'; }
more_than() { [ "$(count "$1")" -gt "$2" ]; }
goes_on() {
  local before
  before=$(count "$1")
  until_true 30 more_than "$1" $((before + 20)) ||
    fail "no I/O at $1: $(tail -n 3 "$RUN/load"; nvme list-subsys)"
}
rests() {
  local before
  before=$(count "$1")
  sleep 0.5
  [ "$(count "$1")" = "$before" ] || fail "I/O at $1, which the host must not use: $(nvme list-subsys)"
}

# What the kernel knows of the path to a port.
controller_at() {
  local dir
  for dir in /sys/class/nvme/nvme*; do
    ! grep -q "trsvcid=$1" "$dir/address" || echo "$dir"
  done
}
state_at() { cat "$(controller_at "$1")"/nvme*c*n*/ana_state; }
has_state() { [ "$(state_at "$1")" = "$2" ]; }
expect_state() {
  until_true 30 has_state "$1" "$2" || fail "port $1 is $(state_at "$1"), not $2: $(nvme list-subsys)"
}

step "two paths to one namespace"
gateway a $PORT --max-cntlid 1000
gateway b $PORT2 --min-cntlid 1001 --ana-state non_optimized
patient=(--reconnect-delay=1 --ctrl-loss-tmo=120 --keep-alive-tmo=5)
host_connect "${patient[@]}"
dev=$(namespace)
nvme connect -t rdma -a "$ADDR" -s $PORT2 -n $NQN --hostnqn=$HOST_NQN --hostid=$HOST_ID \
  --nr-io-queues=2 "${patient[@]}"
expect_state $PORT optimized
expect_state $PORT2 non-optimized
nvme list-subsys "$dev"
verify "$dev" --rw=write --bs=64k --iodepth=4 --offset=16M --size=4M --do_verify=0

step "the load follows the states"
load_start "$dev"
goes_on a
rests b
set_state a inaccessible
expect_state $PORT inaccessible
goes_on b
rests a
set_state a optimized
expect_state $PORT optimized
goes_on a

step "no path for a while: commands wait"
set_state b inaccessible
set_state a change
expect_state $PORT change
rests a
set_state a optimized
goes_on a

step "round robin over two optimized paths"
subsystem=$(grep -lx $NQN /sys/class/nvme-subsystem/*/subsysnqn)
echo round-robin >"${subsystem%/*}/iopolicy"
set_state b optimized
expect_state $PORT2 optimized
goes_on a
goes_on b

step "kill -9 of a daemon"
kill -9 "$a"
wait "$a" || true
goes_on b
[ "$(cat "$(controller_at $PORT)/state")" = connecting ] || fail "$(nvme list-subsys)"
nvme list-subsys "$dev"

step "it returns"
gateway a $PORT --max-cntlid 1000
expect_state $PORT optimized
goes_on a

step "kill -9 of the other"
kill -9 "$b"
wait "$b" || true
goes_on a

step "nothing is lost"
writes() { count a; }
load_end
verify "$dev" --rw=read --bs=64k --iodepth=4 --offset=16M --size=4M
host_disconnect
TARGET_PID=$a
target_stop
