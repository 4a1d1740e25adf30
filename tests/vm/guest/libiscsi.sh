# libiscsi's conformance suite over iser://, one process a test: the packaged client crashes in longer
# runs, and what it leaves behind must not matter to the target. Sourced behind iser.sh.
#
# That client declares immediate data that it does not send, so the targets negotiate
# ImmediateData=No (docs/vm.md).

# run_libiscsi TEST...: each is a step; one that the client skips by itself is noted as such.
run_libiscsi() {
  local name
  for name; do
    attempt "$name" libiscsi_test "$name"
    if [ "$result" = PASS ] && grep -q SKIPPED "$RUN/test"; then
      sed -i "\$s/^PASS/SKIP/" "$STEPS"
    fi
  done
}

libiscsi_test() {
  local rc=0
  timeout -k 2 20 iscsi-test-cu -d -f --test="ALL.$1" "iser://$ADDR:$PORT/$IQN/0" \
    >"$RUN/test" 2>&1 || rc=$?
  case $rc in
    0)
      grep -Eq 'SKIPPED|tests +1 +1 +1 +0' "$RUN/test" || {
        cat "$RUN/test"
        fail "it did not run, or failed"
      }
      ;;
    124 | 137) fail "no end after 20 s" ;;
    13[0-9]) fail "the client crashed ($rc)" ;;
    *)
      cat "$RUN/test"
      fail "exit status $rc"
      ;;
  esac
}

# The target serves the next initiator as if nothing had happened.
still_serves() {
  libiscsi_test TestUnitReady.Simple
  [ $SERVER = lio ] || [ ! -e "$RUN/target.rc" ] || fail "the target ended"
}
