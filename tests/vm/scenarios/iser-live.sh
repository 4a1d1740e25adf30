# A logged-in Linux initiator follows what an administrator changes by mrpool-ctl, under verified load.
#
# checks: LUNs added, grown and removed, unit attentions, rescan; an initiator removed; verified load goes on
# needs: iscsiadm iscsid fio sg_turs udevadm
# wires: siw
# timeout: 300
# kernel-may-say: I/O error|failed|timeout|error
need iscsiadm iscsid fio sg_turs udevadm
. "$guest/iser.sh"
CONTROL=$RUN/control.sock
URI=${URI%:*}:$PORT
ctl() { "$BIN/mrpool-ctl" "$@" --socket "$CONTROL"; }
# told DEVICE NAME: the kernel has reported this unit attention, or does so now.
told() {
  sg_turs "$1" >/dev/null 2>&1 || true  # a unit attention is its failure
  grep "SDEV_UA=$2" "$RUN/uevents"
}
truncate -s 16M "$RUN/disk"
stdbuf -oL udevadm monitor --kernel --property --subsystem-match=scsi >"$RUN/uevents" &
uevents=$!
until_true 30 grep -q KERNEL "$RUN/uevents" || fail "no events of the kernel"
"$BIN/mrpool-iser-target" --listen "$URI" --control "$CONTROL" --target $IQN --lun ram:16MiB \
  --lun "file:$RUN/disk" --initiator $LINUX --open-discovery >>"$RUN/target.log" 2>&1 &
TARGET_PID=$!
echo $TARGET_PID >"$RUN/target.pid"
until_true 30 grep -q listening "$RUN/target.log" || fail "the target does not listen"

step "login and verified load"
initiator_start
iscsi_discover
iscsi_log_in $IQN
disk=$(unit $IQN $LINUX 0)
grows=$(unit $IQN $LINUX 1)
load_start "$disk"

step "a LUN appears"
ctl store create added --storage ram:8MiB
ctl lun add $IQN --store added --lun 5
until_true 40 told "$grows" REPORTED_LUNS_DATA_HAS_CHANGED ||
  fail "no unit attention of the LUNs"
iscsiadm -m session --rescan >/dev/null
added=$(unit $IQN $LINUX 5)
[ "$(blockdev --getsize64 "$added")" = $((8 << 20)) ] || fail "the size of $added"
head -c 1M /dev/urandom >"$RUN/data"
dd if="$RUN/data" of="$added" bs=1M oflag=direct status=none
dd if="$added" bs=1M count=1 iflag=direct status=none | cmp "$RUN/data" -

step "a LUN grows"
dd if="$RUN/data" of="$grows" bs=1M oflag=direct status=none
truncate -s 32M "$RUN/disk"
until_true 40 told "$grows" CAPACITY_DATA_HAS_CHANGED ||
  fail "no unit attention of the size"
echo 1 >"/sys/class/block/${grows##*/}/device/rescan"
has_size() { [ "$(blockdev --getsize64 "$grows")" = "$1" ]; }
until_true 20 has_size $((32 << 20)) || fail "$grows has $(blockdev --getsize64 "$grows")"
dd if="$grows" bs=1M count=1 iflag=direct status=none | cmp "$RUN/data" -
dd if="$RUN/data" of="$grows" bs=1M seek=31 oflag=direct status=none

step "a LUN goes, and the load goes on"
ctl lun remove $IQN --lun 5
ctl store delete added
refused dd if="$added" of=/dev/null bs=1M count=1 iflag=direct
echo 1 >"/sys/class/block/${added##*/}/device/delete"
writes() { awk '{print $5}' "/sys/class/block/${disk##*/}/stat"; }
load_end

step "the initiator is removed"
kill $uevents
ctl initiator remove $IQN --initiator $LINUX
logged_out() { ! grep -qs LOGGED_IN /sys/class/iscsi_session/session*/state; }
until_true 30 logged_out || fail "its session stays"
stop_live() {
  kill -TERM $TARGET_PID
  wait $TARGET_PID || fail "the target's exit status is $?"
  grep -q "MRs in use: 0 " "$RUN/target.log" || fail "MRs are still in use"
}
initiator_stop
stop_live
echo 0 >"$RUN/target.rc"
TARGET_PID=
