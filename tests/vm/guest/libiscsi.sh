# libiscsi's conformance suite over iser://, one process a test: the packaged client crashes in longer
# runs, and what it leaves behind must not matter to the target. Sourced behind iser.sh.
#
# That client declares immediate data that it does not send, so the targets negotiate
# ImmediateData=No (docs/vm.md).

FORGIVING=$RUN/forgiving.so
gcc -shared -fPIC -fno-builtin -o "$FORGIVING" "$guest/forgiving.c"

# run_libiscsi TEST...: each is a step. A client that finds nothing to test says SKIPPED, and one that
# dies by itself three times in a row says nothing about the target: these steps neither pass nor fail.
run_libiscsi() {
  local name verdict
  for name; do
    attempt "$name" libiscsi_test "$name"
    verdict=$(cat "$RUN/verdict")
    case $verdict in SKIP | DIED) sed -i "\$s/^[A-Z]*/$verdict/" "$STEPS" ;; esac
  done
}

libiscsi_test() {
  local try rc
  for try in 1 2 3; do
    rc=0
    timeout -k 2 20 env LD_PRELOAD="$FORGIVING" iscsi-test-cu -d -f --test="ALL.$1" \
      "iser://$ADDR:$PORT/$IQN/0" >"$RUN/test" 2>&1 || rc=$?
    if [ $rc = 0 ] && grep -q SKIPPED "$RUN/test"; then
      echo SKIP >"$RUN/verdict"
      grep SKIPPED "$RUN/test" || true
      return 0
    elif [ $rc = 0 ] && grep -Eq 'tests +1 +1 +1 +0' "$RUN/test"; then
      echo PASS >"$RUN/verdict"
      return 0
    fi
    case $rc in
      134 | 135 | 136 | 139) ;;
      *) if ! grep -q 'Failed to connect to SCSI device\|Failed to login' "$RUN/test"; then break; fi ;;
    esac
    echo "try $try: the client ended with $rc: $(tail -n 1 "$RUN/test")"
    echo DIED >"$RUN/verdict"
  done
  [ $try = 3 ] && [ "$(cat "$RUN/verdict")" = DIED ] || echo FAIL >"$RUN/verdict"
  cat "$RUN/test"
  if [ $rc = 124 ] || [ $rc = 137 ]; then fail "no end after 20 s"; fi
  fail "exit status $rc"
}

# The target serves the next initiator as if nothing had happened.
still_serves() {
  libiscsi_test Inquiry.Standard
  [ $SERVER = lio ] || [ ! -e "$RUN/target.rc" ] || fail "the target ended"
}
