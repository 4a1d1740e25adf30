# The first of libiscsi's tests over iser://, and a client that dies under load.
#
# checks: iscsi-test-cu TestUnitReady, Inquiry, Read10, Write10; a killed client
# needs: iscsi-test-cu iscsi-perf
# wires: rxe siw rxe-lio
# timeout: 120
need iscsi-test-cu iscsi-perf
. "$guest/iser.sh"
. "$guest/libiscsi.sh"

client_dies() {
  local _
  for _ in 1 2 3; do
    timeout -s KILL 3 iscsi-perf -r -n -m 16 "iser://$ADDR:$PORT/$IQN/0" >/dev/null 2>&1 || true
  done
}

iser_serve immediate_data=no
run_libiscsi TestUnitReady.Simple Inquiry.Standard Read10.Simple Write10.Simple
attempt "clients killed under load" client_dies
attempt "the target serves on" still_serves
iser_stop
report
