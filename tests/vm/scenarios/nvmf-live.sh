# A connected host follows what an administrator changes by mrpool-ctl, while its I/O goes on.
#
# checks: namespaces added, resized, masked, removed; hosts removed; listener and referral added; verified load goes on
# needs: nvme fio udevadm
# wires: siw
# timeout: 300
# kernel-may-say: I/O error|critical|Buffer I/O
need nvme fio udevadm
wire_up
CONTROL=$RUN/control.sock
OTHER=nqn.2026-11.io.mrpool:other
PORT2=4421
ctl() { "$BIN/mrpool-ctl" "$@" --socket "$CONTROL"; }
head -c 1M /dev/urandom >"$RUN/data"
truncate -s 16M "$RUN/disk"
target_start --listen "$URI" --control "$CONTROL" --verbose

step "a subsystem for two hosts"
ctl store create load --storage ram:32MiB
ctl store create grows --storage "file:$RUN/disk"
ctl store create other --storage ram:16MiB
ctl subsystem create $NQN
ctl host add $NQN --host $HOST_NQN
ctl host add $NQN --host $OTHER
ctl namespace add $NQN --store load
host_connect
dev=$(namespace)

# disk NSID: the block device of a namespace; its number may be another.
find_disk() {
  local dir
  for dir in /sys/class/block/nvme*n*; do
    [ -b "/dev/${dir##*/}" ] && [ "$(cat "$dir/nsid" 2>/dev/null)" = "$1" ] || continue
    echo "/dev/${dir##*/}"
    return
  done
  return 1
}
disk() {
  until_true 20 find_disk "$1" || fail "namespace $1 does not appear"
  find_disk "$1"
}
no_disk() { ! find_disk "$1" >/dev/null; }
holds() {  # DEVICE OFFSET-MIB: what is written there is read
  dd if="$RUN/data" of="$1" bs=1M seek="$2" oflag=direct status=none
  dd if="$1" bs=1M skip="$2" count=1 iflag=direct status=none | cmp "$RUN/data" -
}

step "verified load of both hosts"
load_start "$dev"
"$BIN/mrpool-nvmf" perf "$URI" --subnqn $NQN --host-nqn $OTHER --rw randrw --bs 4k --iodepth 2 \
  --rate_iops 100 --offset 16MiB --size 8MiB --verify crc32c --time_based --runtime 600 \
  >"$RUN/other" 2>&1 &
other=$!
connected() { ctl controllers $NQN | grep "$1"; }
until_true 20 connected $OTHER || fail "the other host is not connected: $(cat "$RUN/other")"

step "a namespace appears, is written, and goes"
ctl namespace add $NQN --store other --nsid 7
gone=$(disk 7)
[ "$(blockdev --getsize64 "$gone")" = $((16 << 20)) ] || fail "the size of $gone"
holds "$gone" 3
ctl namespace remove $NQN --nsid 7
until_true 20 no_disk 7 || fail "$gone does not go"

step "a namespace grows"
ctl namespace add $NQN --store grows --nsid 3
grows=$(disk 3)
holds "$grows" 0
truncate -s 32M "$RUN/disk"
ctl namespace resize $NQN --nsid 3
has_size() { [ "$(blockdev --getsize64 "$grows")" = "$1" ]; }
until_true 20 has_size $((32 << 20)) || fail "$grows has $(blockdev --getsize64 "$grows")"
holds "$grows" 31
cmp -n 1048576 "$RUN/data" "$grows"

step "a namespace for one host alone"
ctl namespace add $NQN --store other --nsid 5 --hidden
ctl namespace reveal $NQN --nsid 5 --host $OTHER
says 'nsid +5$' "$BIN/mrpool-nvmf" identify "$URI" --subnqn $NQN --host-nqn $OTHER
no_disk 5 || fail "this host sees what is for the other alone"
refused nvme io-passthru "$dev" --opcode=0x02 --namespace-id=5 --data-len=4096 --read
ctl namespace reveal $NQN --nsid 5 --host $HOST_NQN
shown=$(disk 5)
cmp -n 1048576 /dev/zero "$shown"
cmp -n 1048576 -i 3145728:0 "$shown" "$RUN/data"  # the store kept what was written as namespace 7
ctl namespace hide $NQN --nsid 5 --host $HOST_NQN
until_true 20 no_disk 5 || fail "$shown stays"

step "a port and a referral appear; the discovery controller hears of it"
stdbuf -oL udevadm monitor --kernel --property --subsystem-match=nvme >"$RUN/uevents" &
uevents=$!
until_true 30 grep -q KERNEL "$RUN/uevents" || fail "no events of the kernel"
host_discover --persistent >/dev/null
heard() { [ "$(grep -c 'NVME_AEN=0x70f002' "$RUN/uevents")" -ge "$1" ]; }
ctl listener add $NQN --address "${URI%:*}:$PORT2"
until_true 20 heard 1 || fail "no event of the port: $(cat "$RUN/uevents")"
nvme connect -t rdma -a "$ADDR" -s $PORT2 -n $NQN --hostnqn=$HOST_NQN --hostid=$HOST_ID \
  --nr-io-queues=1 --duplicate-connect
host_discover >"$RUN/discovered" # reads the log, so that the event may come again
ctl referral add rdma://10.0.0.9:4420
until_true 20 heard 2 || fail "no event of the referral: $(cat "$RUN/uevents")"
host_discover >"$RUN/discovered"
grep -Eq "trsvcid: *$PORT2\$" "$RUN/discovered" || fail "no port $PORT2: $(cat "$RUN/discovered")"
grep -q 'subtype: *discovery subsystem referral' "$RUN/discovered" ||
  fail "no referral: $(cat "$RUN/discovered")"
grep -Eq 'traddr: *10.0.0.9$' "$RUN/discovered"
kill $uevents

step "the other host is removed, and this one goes on"
kill -0 $other || fail "the other host has ended: $(cat "$RUN/other")"
ctl host remove $NQN --host $OTHER
wait $other && fail "the other host ended well"
refused "$BIN/mrpool-nvmf" identify "$URI" --subnqn $NQN --host-nqn $OTHER
writes() {
  ctl call bdev_get_iostat --params '{"names": ["load"]}' |
    sed -n 's/.*"num_write_ops": *\([0-9]*\).*/\1/p'
}
load_end

step "this host is removed too"
ctl host remove $NQN --host $HOST_NQN
until_true 30 ctrl_state_is connecting || fail "$CTRL stays connected: $(nvme list-subsys)"
refused "$BIN/mrpool-nvmf" identify "$URI" --subnqn $NQN --host-nqn $HOST_NQN
nvme disconnect-all
target_stop
