# Sessions that come and go, between Linux's iSER initiator and our target or the kernel's.
#
# checks: logout under I/O, 50 logins and logouts, nothing left behind
# needs: iscsiadm iscsid fio
# wires: rxe siw rxe-lio
# timeout: 400
# kernel-may-say: I/O error|failed|timeout|error
need iscsiadm iscsid fio
. "$guest/iser.sh"

# A hundred reads have been answered.
busy() { [ "$(awk '{ print $1 }' "/sys/block/${1##*/}/stat")" -gt 100 ]; }

logout_under_load() {
  iscsi_log_in $IQN
  local disk
  disk=$(unit $IQN $LINUX 0)
  fio --name=load --filename="$disk" --direct=1 --ioengine=libaio --rw=randrw --bs=4k \
    --iodepth=16 --runtime=20 --time_based >/dev/null 2>&1 &
  local load=$!
  until_true 20 busy "$disk" || fail "no I/O"
  iscsi_log_out $IQN
  wait $load || true  # its device has gone
  [ -z "$(ls /sys/class/iscsi_session)" ] || fail "a session is left"
}

logins() {  # COUNT
  local i
  for ((i = 1; i <= $1; i++)); do
    iscsi_log_in $IQN >/dev/null
    iscsi_log_out $IQN >/dev/null
  done
}

iser_serve
initiator_start
iscsi_discover >/dev/null
attempt "logout under load" logout_under_load
attempt "50 logins and logouts" logins 50
attempt "the unit is there afterwards" iscsi_log_in $IQN
attempt "logout" iscsi_log_out $IQN
iser_stop
report
