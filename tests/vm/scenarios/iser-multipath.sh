# Two of our daemons with one file are two paths of dm-multipath, which reads their ALUA states.
#
# checks: priorities by ALUA, states switched under verified load, failback; a daemon killed and started again; no I/O error
# needs: iscsiadm iscsid fio multipath multipathd systemd-udevd
# wires: siw
# timeout: 300
# kernel-may-say: I/O error|failed|timeout|error
PATH+=:/lib/systemd
need iscsiadm iscsid fio multipath multipathd systemd-udevd
. "$guest/iser.sh"
declare -A port=([a]=3260 [b]=3261) started=()
truncate -s 32M "$RUN/disk"

# configuration NAME STATE: each daemon is a target port and a target port group of its own. Implicit, because
# the kernel would set the group of each path that it begins to use to optimized.
configuration() {
  local number=$((port[$1] - 3259))
  cat >"$RUN/$1.json" <<END
{"listen": ["${URI%:*}:${port[$1]}"], "control": "$RUN/$1.sock",
 "targets": [{"name": "$IQN", "relative_port": $number, "initiators": ["$LINUX"],
   "luns": [{"storage": "file:$RUN/disk,shared", "alua_group": $number, "alua_state": "$2",
     "alua_access_type": "implicit"}]}]}
END
}
gateway() {
  "$BIN/mrpool-iser-target" --config "$RUN/$1.json" >"$RUN/$1.log" 2>&1 &
  started[$1]=$!
  until_true 20 grep -q listening "$RUN/$1.log" ||
    fail "the target does not listen: $(tail -n 3 "$RUN/$1.log")"
}
end_gateways() {
  local rc=$?
  kill "${started[@]}" 2>/dev/null || true
  tail -n 50 "$RUN"/[ab].log
  (exit $rc)
}
trap 'end_gateways; iser_on_exit' EXIT
ctl() { local name=$1; shift; "$BIN/mrpool-ctl" "$@" --socket "$RUN/$name.sock"; }
set_state() { ctl "$1" alua set $IQN --state "$2"; }

# The block device of a path, and what the kernel has completed on it.
path_of() {
  local session
  for session in /sys/class/iscsi_session/session*; do
    grep -qx "${port[$1]}" "$session"/device/connection*/iscsi_connection/*/persistent_port || continue
    basename "$session"/device/target*/*:0/block/*
  done
}
count() { awk '{ print $1 + $5 }' "/sys/block/${path[$1]}/stat"; }
more_than() { [ "$(count "$1")" -gt "$2" ]; }
goes_on() {
  local before
  before=$(count "$1")
  until_true 40 more_than "$1" $((before + 20)) ||
    fail "no I/O at $1: $(tail -n 3 "$RUN/load"; multipath -ll)"
}
rests() {  # The checker of the paths reads, too, but seldom.
  local before
  before=$(count "$1")
  sleep 1
  ! more_than "$1" $((before + 5)) || fail "I/O at $1, which must rest: $(multipath -ll)"
}
has_priority() { multipathd show paths raw format "%d %p" | grep -Eq "^${path[$1]} +$2$"; }
priority() {
  until_true 40 has_priority "$1" "$2" ||
    fail "$1 (${path[$1]}) has not the priority $2: $(multipathd show paths format '%d %p %t %o')"
}

step "two sessions"
modprobe -a dm_multipath dm_service_time scsi_dh_alua
systemd-udevd --daemon
cat >/etc/multipath.conf <<'END'
defaults {
  find_multipaths yes
  user_friendly_names yes
  polling_interval 1
  max_polling_interval 2
  path_grouping_policy group_by_prio
  prio alua
  failback immediate
  no_path_retry queue
  fast_io_fail_tmo 5
}
END
configuration a optimized
configuration b non_optimized
gateway a
gateway b
initiator_start
echo "node.session.timeo.replacement_timeout = 5" >>/etc/iscsi/iscsid.conf
for name in a b; do
  PORT=${port[$name]}
  iscsi_discover >/dev/null
  iscsi_log_in $IQN
done
declare -A path=()
for name in a b; do
  until_true 20 path_of $name
  path[$name]=$(path_of $name)
done
multipathd
until_true 30 test -b /dev/mapper/mpatha || fail "no multipath device: $(multipath -v3 2>&1 | tail -n 40)"
disk=/dev/mapper/mpatha
priority a 50
priority b 10
multipath -ll

step "the load follows the states"
verify $disk --rw=write --bs=64k --iodepth=4 --offset=16M --size=4M --do_verify=0
load_start $disk
goes_on a
rests b
set_state a standby
priority a 1
goes_on b
rests a
set_state a optimized
priority a 50
goes_on a
rests b

step "kill -9 of a daemon"
kill -9 "${started[a]}"
wait "${started[a]}" || true
goes_on b
multipath -ll

step "it returns"
gateway a
goes_on a
rests b

step "kill -9 of the other"
kill -9 "${started[b]}"
wait "${started[b]}" || true
goes_on a

step "nothing is lost"
writes() { count a; }
load_end
verify $disk --rw=read --bs=64k --iodepth=4 --offset=16M --size=4M
multipath -F
multipathd shutdown
initiator_stop
unset "started[b]"
kill "${started[a]}"
wait "${started[a]}" || fail "the target's exit status is $?"
unset "started[a]"
