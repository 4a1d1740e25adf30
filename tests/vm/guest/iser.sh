# What the iSER scenarios share: two targets that can be asked the same things, and steps that are
# counted one by one. Sourced by scenarios behind lib.sh.
#
# The wire rxe-lio has the kernel's own target, LIO with ib_isert, in place of ours: what passes there
# has to pass here, and tests/vm/run prints both columns side by side. There is no siw-lio: LIO's TCP
# portal and the iWARP listener that belongs to it want the same port.

IQN=iqn.2026-11.org.mrpool:vm
CHAP_SECRET="vm has a secret"
MUTUAL_SECRET="and so has the target"
LINUX=iqn.2026-11.org.mrpool:linux    # the initiator's name
SECOND=iqn.2026-11.org.mrpool:second  # and the one of its second interface

# LIO stays for the life of the machine, at a port of its own: portal groups on which a login failed
# half-way cannot be removed.
case $WIRE in
  *-lio) SERVER=lio PORT=3261 ;;
  *) SERVER=ours PORT=3260 ;;
esac
wire_up "${WIRE%-lio}"
STEPS=/vm/$NAME.$WIRE.steps
: >"$STEPS"

# attempt TITLE COMMAND...: a step. A failure is noted and the next one follows; report has the sum.
attempt() {
  local title=$1 rc=0 began=$SECONDS
  shift
  step "$title"
  trap - ERR
  set +e
  (
    set -eE
    trap 'echo "FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND"' ERR
    "$@"
  )
  rc=$?
  set -e
  if [ $rc = 0 ]; then result=PASS; else result=FAIL; fi
  printf '%s\t%s\t%s\n' "$result" "$((SECONDS - began))" "$title" >>"$STEPS"
}

# The kernel's target is the yardstick, not what is measured: its failures are for the table.
report() {
  local failed
  failed=$(grep -c '^FAIL' "$STEPS") || true
  [ "$failed" = 0 ] || [ $SERVER = lio ] ||
    fail "$failed of $(wc -l <"$STEPS") steps: $(grep '^FAIL' "$STEPS" | cut -f 3 | paste -sd ';')"
}

# --- the target -----------------------------------------------------------------------------------

# Four targets: $IQN with a file and a RAM disk, -chap and -mutual that want proof, -private for one
# initiator name only. Storage outlives the target. "immediate_data=no" negotiates that.
iser_serve() { serve_$SERVER "$@"; }
# Without a farewell: our process is killed, LIO's portal groups are switched off.
iser_kill() { kill_$SERVER; }
# A clean stop of ours, counted as a step.
iser_stop() { [ $SERVER = lio ] || attempt "clean stop" stop_ours; }

serve_ours() {
  [ -x "$BIN/mrpool-iser-target" ] || fail "no $BIN/mrpool-iser-target: build it first"
  local mark
  touch "$RUN/target.log"
  mark=$(wc -l <"$RUN/target.log")
  rm -f "$RUN/target.rc"
  {
    "$BIN/mrpool-iser-target" --listen "$URI" --state-dir "$RUN" \
      ${1:+--no-immediate-data} \
      --target $IQN --lun "file:$RUN/disk,size=128MiB" --lun ram:16MiB \
      --open-discovery \
      --target $IQN-chap --lun ram:16MiB --initiator $LINUX --chap "vm:$CHAP_SECRET" \
      --target $IQN-mutual --lun ram:16MiB --initiator $LINUX --chap "vm:$CHAP_SECRET" \
      --mutual-chap "disk:$MUTUAL_SECRET" \
      --target $IQN-private --lun ram:16MiB --initiator $LINUX >>"$RUN/target.log" 2>&1 &
    echo $! >"$RUN/target.pid"
    local rc=0
    wait $! || rc=$?
    echo $rc >"$RUN/target.rc"
  } 2>/dev/null &
  until_true 20 says_listening "$mark" ||
    fail "the target does not listen: $(tail -n 3 "$RUN/target.log")"
}
says_listening() { tail -n +$(($1 + 1)) "$RUN/target.log" | grep -q listening; }

kill_ours() {
  kill -9 "$(cat "$RUN/target.pid")"
  until_true 10 test -s "$RUN/target.rc"
}

stop_ours() {
  kill -TERM "$(cat "$RUN/target.pid")"
  until_true 20 test -s "$RUN/target.rc" || fail "the target does not stop"
  [ "$(cat "$RUN/target.rc")" = 0 ] || fail "the target's exit status is $(cat "$RUN/target.rc")"
  # On RoCE its staging memory is registered once, and there is no pool.
  grep -Eq "MRs in use: 0 |no MR pool needed" "$RUN/target.log" || fail "MRs are still in use"
}

LIO=/sys/kernel/config/target

serve_lio() {
  [ -d "$LIO/iscsi/$IQN" ] || lio_configure
  local tpg immediate=Yes
  for tpg in $LIO/iscsi/iqn.*/tpgt_1; do
    [ ! -d "$tpg/np/$ADDR:$PORT" ] || continue
    mkdir "$tpg/np/$ADDR:$PORT"
    echo 1 >"$tpg/np/$ADDR:$PORT/iser"
  done
  [ -z "${1:-}" ] || immediate=No
  echo $immediate >$LIO/iscsi/$IQN/tpgt_1/param/ImmediateData
  lio_enable 1
}

lio_configure() {
  modprobe -a target_core_mod target_core_file iscsi_target_mod ib_isert
  mkdir -p /etc/target/pr /var/target/pr
  truncate -s 128M /run/lio.disk
  mkdir -p $LIO/core/fileio_0/disk
  echo "fd_dev_name=/run/lio.disk,fd_dev_size=$((128 << 20))" >$LIO/core/fileio_0/disk/control
  echo 1 >$LIO/core/fileio_0/disk/enable
  echo 1 >$LIO/core/fileio_0/disk/attrib/emulate_tpu
  local name
  for name in ram chap mutual private; do
    mkdir -p $LIO/core/rd_mcp_0/$name
    echo rd_pages=4096 >$LIO/core/rd_mcp_0/$name/control
    echo 1 >$LIO/core/rd_mcp_0/$name/enable
  done
  mkdir -p $LIO/iscsi
  lio_target $IQN fileio_0/disk rd_mcp_0/ram
  lio_target $IQN-chap rd_mcp_0/chap
  lio_target $IQN-mutual rd_mcp_0/mutual
  lio_target $IQN-private rd_mcp_0/private
  local tpg
  for tpg in $LIO/iscsi/$IQN-chap/tpgt_1 $LIO/iscsi/$IQN-mutual/tpgt_1; do
    echo 1 >$tpg/attrib/authentication
    echo -n vm >$tpg/auth/userid
    echo -n "$CHAP_SECRET" >$tpg/auth/password
  done
  echo -n disk >$LIO/iscsi/$IQN-mutual/tpgt_1/auth/userid_mutual
  echo -n "$MUTUAL_SECRET" >$LIO/iscsi/$IQN-mutual/tpgt_1/auth/password_mutual
  tpg=$LIO/iscsi/$IQN-private/tpgt_1
  echo 0 >$tpg/attrib/generate_node_acls
  mkdir -p $tpg/acls/$LINUX/lun_0
  ln -s $tpg/lun/lun_0 $tpg/acls/$LINUX/lun_0/disk
}

lio_target() {  # IQN BACKSTORE...
  local tpg=$LIO/iscsi/$1/tpgt_1 lun=0 store
  mkdir -p "$tpg"
  for store in "${@:2}"; do
    mkdir "$tpg/lun/lun_$lun"
    ln -s "$LIO/core/$store" "$tpg/lun/lun_$lun/store"
    lun=$((lun + 1))
  done
  echo 0 >"$tpg/attrib/authentication"
  echo 1 >"$tpg/attrib/generate_node_acls"
  echo 0 >"$tpg/attrib/demo_mode_write_protect"
  echo 1 >"$tpg/attrib/cache_dynamic_acls"
}

lio_enable() {
  local enable
  for enable in $LIO/iscsi/iqn.*/tpgt_1/enable; do echo "$1" >"$enable"; done
}

kill_lio() { lio_enable 0; }

# --- Linux's initiator ----------------------------------------------------------------------------

initiator_start() {
  modprobe -a ib_iser sg sd_mod
  mkdir -p /etc/iscsi /run/lock/iscsi
  echo "InitiatorName=$LINUX" >/etc/iscsi/initiatorname.iscsi
  # A login that goes nowhere is given up soon; a session waits for its target.
  cat >/etc/iscsi/iscsid.conf <<'END'
node.conn[0].timeo.login_timeout = 10
node.session.initial_login_retry_max = 2
node.session.timeo.replacement_timeout = 120
END
  # It signals its whole process group when it ends.
  setsid iscsid -f >"$RUN/iscsid.log" 2>&1 &
  ISCSID_PID=$!
  until_true 10 iscsiadm -m iface || fail "iscsid does not answer"
  iscsiadm -m iface -I second -o new >/dev/null
  iscsiadm -m iface -I second -o update -n iface.transport_name -v iser >/dev/null
  iscsiadm -m iface -I second -o update -n iface.initiatorname -v $SECOND >/dev/null
}

initiator_stop() {
  timeout 30 iscsiadm -m node -u >/dev/null 2>&1 || true
  kill "$ISCSID_PID" 2>/dev/null || true
}

iscsi_discover() {  # [INTERFACE [OPTIONS]]
  iscsiadm -m discovery -t st -p "$ADDR:$PORT" -I "${1:-iser}" "${@:2}"
}
# Discovery by the second interface would replace the records of the first.
iscsi_node_for_second() { iscsiadm -m node -T "$1" -p "$ADDR:$PORT" -I second -o new >/dev/null; }
iscsi_node() { iscsiadm -m node -T "$1" -p "$ADDR:$PORT" -o update -n "$2" -v "$3"; }
# iscsi_log_in TARGET [INTERFACE]. On a busy machine, Linux's initiator may see a login response before
# the completion of its own request. It then refuses to send the next one ("Login/Text in progress"),
# and the login times out. That is no result: try again.
iscsi_log_in() {
  local before
  before=$(unsent_logins)
  iscsi_log_in_once "$@" || {
    [ "$(unsent_logins)" -gt "$before" ] || return 1
    echo "the initiator did not send a request; again"
    iscsi_log_in_once "$@"
  }
}
iscsi_log_in_once() { iscsiadm -m node -T "$1" -p "$ADDR:$PORT" -I "${2:-iser}" --login; }
unsent_logins() { dmesg | awk '/Login.Text in progress/ { n++ } END { print n + 0 }'; }
iscsi_log_out() { iscsiadm -m node -T "$1" -p "$ADDR:$PORT" -I "${2:-iser}" --logout; }

# unit TARGET INITIATOR LUN: the block device, waits for it.
unit() {
  until_true 20 find_unit "$@" || fail "LUN $3 of $1 does not appear"
  find_unit "$@"
}
find_unit() {
  local session block
  for session in /sys/class/iscsi_session/session*; do
    [ "$(cat "$session/targetname" 2>/dev/null)" = "$1" ] || continue
    [ "$(cat "$session/initiatorname")" = "$2" ] || continue
    for block in "$session"/device/target*/*:"$3"/block/*; do
      [ -e "$block" ] || continue
      echo "/dev/${block##*/}"
      return 0
    done
  done
  return 1
}

# sense PATTERN COMMAND...: the command fails, and says this.
sense() {
  local pattern=$1
  shift
  refused "$@"
  grep -Eqi -- "$pattern" "$RUN/refused" || fail "does not say \"$pattern\": $*"
}

iser_on_exit() {
  local rc=$?
  trap - EXIT ERR
  set +eE
  umount -A "$RUN"/mnt* 2>/dev/null
  if [ -n "${ISCSID_PID:-}" ]; then initiator_stop; fi
  if [ $SERVER = lio ]; then
    lio_enable 0
  elif [ ! -s "$RUN/target.rc" ] && [ -s "$RUN/target.pid" ]; then
    kill -9 "$(cat "$RUN/target.pid")"
  fi
  if [ -s "$RUN/target.log" ]; then
    echo "--- the target's log"
    tail -n 200 "$RUN/target.log"
  fi
  exit $rc
}
trap iser_on_exit EXIT
