# A measurement: Linux's iSER initiator and fio against the kernel's LIO, against tgt and against our
# target, in the same machine on the same wire, in turn.
#
# checks: a table of IOPS, ours against LIO's and tgt's (tests/vm/compare iser)
# needs: iscsiadm iscsid fio tgtd tgtadm
# wires: rxe
# timeout: 900
# by-name-only: yes
. "$guest/iser.sh"
. "$guest/compare.sh"

# Each target has a LUN that keeps nothing and one of 64 MiB in memory. tgt has no RAM disk of its own:
# its second is a file on tmpfs.
our_port=3262
"$BIN/mrpool-iser-target" --listen "${URI%:*}:$our_port" --target $IQN-ours --lun null:1GiB \
  --lun ram:64MiB >"$RUN/target.log" 2>&1 &
echo $! >"$RUN/target.pid"
until_true 20 grep -q listening "$RUN/target.log" || fail "$(tail -n 3 "$RUN/target.log")"

lio_port=3261
modprobe -a target_core_mod iscsi_target_mod ib_isert
mkdir -p $LIO/core/rd_mcp_0/null $LIO/core/rd_mcp_0/ram $LIO/iscsi
echo rd_pages=16384,rd_nullio=1 >$LIO/core/rd_mcp_0/null/control
echo rd_pages=16384 >$LIO/core/rd_mcp_0/ram/control
for store in null ram; do echo 1 >$LIO/core/rd_mcp_0/$store/enable; done
lio_target $IQN-lio rd_mcp_0/null rd_mcp_0/ram
mkdir "$LIO/iscsi/$IQN-lio/tpgt_1/np/$ADDR:$lio_port"
echo 1 >"$LIO/iscsi/$IQN-lio/tpgt_1/np/$ADDR:$lio_port/iser"
lio_enable 1

# Debian's tgt 1.0.85 takes no port for iSER ("invalid port supplied", whatever it is).
tgt_port=3260
setsid tgtd -f --iser pool_sz_mb=128 >"$RUN/tgtd.log" 2>&1 &
tgt_pid=$!
tgt() { tgtadm --lld iser "$@"; }
until_true 20 tgt --mode target --op new --tid 1 --targetname $IQN-tgt || fail "$(cat "$RUN/tgtd.log")"
truncate -s 64M "$RUN/tgt.disk"
tgt --mode logicalunit --op new --tid 1 --lun 1 --bstype null --backing-store /dev/null
tgt --mode logicalunit --op new --tid 1 --lun 2 --bstype rdwr --backing-store "$RUN/tgt.disk"
tgt --mode target --op bind --tid 1 --initiator-address ALL
tgt --mode target --op bind --tid 1 --initiator-name $LINUX

attach() {  # IQN PORT
  iscsiadm -m node -T "$1" -p "$ADDR:$2" -I iser -o new >/dev/null
  PORT=$2 iscsi_log_in "$1"
}
initiator_start
attach $IQN-lio $lio_port
attach $IQN-tgt $tgt_port
attach $IQN-ours $our_port

compare_head LIO tgt mrpool
compare_disk null "$(unit $IQN-lio $LINUX 0)" "$(unit $IQN-tgt $LINUX 1)" "$(unit $IQN-ours $LINUX 0)"
compare_disk ram "$(unit $IQN-lio $LINUX 1)" "$(unit $IQN-tgt $LINUX 2)" "$(unit $IQN-ours $LINUX 1)"

initiator_stop
kill -9 "$tgt_pid"  # it ignores SIGTERM
