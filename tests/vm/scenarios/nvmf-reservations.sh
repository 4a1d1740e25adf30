# Two hosts that share a namespace and keep each other from it, by nvme-cli.
#
# checks: reservations of two hosts: register, acquire, report, preempt, release, clear; conflicts are errors; kept through kill -9
# needs: nvme
# wires: siw
# timeout: 300
# kernel-may-say: sc 0x83|critical nexus error|nvme nvme[0-9]+: .*(error|failed|timeout)
need nvme
OTHER_NQN=nqn.2014-08.org.nvmexpress:uuid:6d72706f-6f6c-4d00-8000-000000000002
OTHER_ID=6d72706f-6f6c-4d00-8000-000000000002
PORT2=4421  # for the other host: nvme-cli connects to a port once
wire_up

# Two controllers of one subsystem are two disks, not two paths to one.
modprobe -rq nvme-rdma nvme-fabrics nvme nvme-core || true
modprobe nvme-core multipath=N
[ "$(cat /sys/module/nvme_core/parameters/multipath)" = N ] || fail "nvme-core does multipath"
give_back() {
  nvme disconnect-all || true
  modprobe -rq nvme-rdma nvme-fabrics nvme-core || true
}

serve() {
  target_start --listen "$URI" --listen "${URI%:*}:$PORT2" --subnqn $NQN --state-dir "$RUN/state" \
    --namespace "file:$RUN/disk,size=16MiB" --verbose
}
mkdir -p "$RUN/state"
serve

patient=(--reconnect-delay=1 --ctrl-loss-tmo=100 --keep-alive-tmo=5)
host_connect "${patient[@]}"
FIRST=$CTRL
first=$(namespace)
nvme connect -t rdma -a "$ADDR" -s $PORT2 -n $NQN --hostnqn=$OTHER_NQN --hostid=$OTHER_ID \
  --nr-io-queues=2 --duplicate-connect "${patient[@]}"
find_ctrl  # the last one
SECOND=$CTRL
second=$(namespace)
[ "$first" != "$second" ] || fail "one disk for both hosts: $first"

# --- the commands ---------------------------------------------------------------------------------
register() { nvme resv-register "$1" --nrkey="$2" --rrega=0 --cptpl="${3:-0}"; }
unregister() { nvme resv-register "$1" --crkey="$2" --rrega=1; }
acquire() { nvme resv-acquire "$1" --crkey="$2" --rtype="$3" --racqa=0; }
preempt() { nvme resv-acquire "$1" --crkey="$2" --prkey="$3" --rtype="$4" --racqa="${5:-1}"; }
release() { nvme resv-release "$1" --crkey="$2" --rtype="$3" --rrela=0; }
clear_all() { nvme resv-release "$1" --crkey="$2" --rrela=1; }
report() { nvme resv-report "$1" --eds; }
reads() { dd if="$1" of=/dev/null bs=4k count=1 iflag=direct status=none; }
writes() { dd if=/dev/zero of="$1" bs=4k count=1 oflag=direct status=none; }
# conflict COMMAND...: it fails, and says why.
conflict() {
  refused "$@"
  grep -Eqi 'reservation.conflict|Invalid exchange' "$RUN/refused" || fail "names no conflict: $*"
}
# says_all DEVICE PATTERN...: the report has each.
says_all() {
  local pattern
  for pattern in "${@:2}"; do says "$pattern" report "$1"; done
}

step "two registrants"
register "$first" 0xa
register "$second" 0xb
conflict register "$second" 0xc
conflict unregister "$second" 0xdead
says_all "$second" 'gen *: 2' 'rtype *: 0' 'regctl *: 2' 'rkey *: a' 'rkey *: b'
nvme resv-register "$second" --crkey=0xb --nrkey=0xc --rrega=2
says_all "$first" 'regctl *: 2' 'rkey *: a' 'rkey *: c'
nvme resv-register "$second" --crkey=0xc --nrkey=0xb --rrega=2

step "write exclusive"
acquire "$first" 0xa 1
says_all "$second" 'rtype *: 1' 'rcsts *: 1'
writes "$first"
reads "$second"
conflict writes "$second"
conflict acquire "$second" 0xb 1
preempt "$first" 0xa 0xa 2  # itself: another type
says_all "$second" 'rtype *: 2' 'regctl *: 2'
conflict reads "$second"
release "$first" 0xa 2
writes "$second"

step "exclusive access"
acquire "$first" 0xa 2
conflict reads "$second"
conflict writes "$second"
release "$first" 0xa 1 && fail "released as another type"
release "$first" 0xa 2
reads "$second"

step "registrants only"
acquire "$first" 0xa 3
writes "$second"
unregister "$second" 0xb
conflict writes "$second"
reads "$second"
register "$second" 0xb
writes "$second"

step "the second host preempts the first, and aborts"
preempt "$second" 0xb 0xa 3 2
conflict writes "$first"
conflict acquire "$first" 0xa 3
says_all "$first" 'regctl *: 1' 'rkey *: b'
clear_all "$second" 0xb
writes "$first"
says_all "$first" 'rtype *: 0' 'regctl *: 0'

step "kept through kill -9"
both_live() {
  CTRL=$FIRST ctrl_state_is live && CTRL=$SECOND ctrl_state_is live
}
register "$first" 0xa 3
register "$second" 0xb
acquire "$first" 0xa 1
target_kill
serve
until_true 60 both_live || fail "the hosts do not come back: $(nvme list-subsys)"
says_all "$second" 'rtype *: 1' 'regctl *: 2' 'ptpls *: 1' 'rkey *: a' 'rkey *: b'
writes "$first"
conflict writes "$second"

step "and what is not to be kept is not"
release "$first" 0xa 1
register "$first" 0xa 2
acquire "$first" 0xa 1
target_kill
serve
until_true 60 both_live || fail "the hosts do not come back: $(nvme list-subsys)"
says_all "$first" 'rtype *: 0' 'regctl *: 0' 'ptpls *: 0'
writes "$second"

give_back
target_stop
