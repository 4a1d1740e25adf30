# Sessions that come and go, between Linux's iSER initiator and our target or the kernel's.
#
# checks: logout under I/O, 50 logins and logouts, files, memory and MRs flat
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

# Our target's open files, and its memory in KiB.
files() { ls "/proc/$(cat "$RUN/target.pid")/fd" | wc -l; }
memory() { awk '/^VmRSS/ { print $2 }' "/proc/$(cat "$RUN/target.pid")/status"; }
has_files() { [ "$(files)" = "$1" ]; }

# What ten sessions have left is all that forty more leave. A session that is kept shows in every ten
# of them, a huge page (2 MiB) or malloc's caches in one: the ten that grew least are judged.
fifty_logins() {
  local files_before least= before after i
  logins 10
  if [ $SERVER = ours ]; then files_before=$(files) before=$(memory); fi
  for i in 1 2 3 4; do
    logins 10
    [ $SERVER = ours ] || continue
    after=$(memory)
    echo "memory $before KiB, then $after KiB"
    [ -n "$least" ] && [ $((after - before)) -ge "$least" ] || least=$((after - before))
    before=$after
  done
  [ $SERVER = ours ] || return 0
  until_true 15 has_files "$files_before" || fail "$(files) files are open, $files_before before"
  [ "$least" -lt 1024 ] || fail "memory grew by $least KiB and more with every ten logins"
}

iser_serve
initiator_start
iscsi_discover >/dev/null
attempt "logout under load" logout_under_load
attempt "50 logins and logouts, files and memory flat" fifty_logins
attempt "the unit is there afterwards" iscsi_log_in $IQN
attempt "logout" iscsi_log_out $IQN
iser_stop
report
