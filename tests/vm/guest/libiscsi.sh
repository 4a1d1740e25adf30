# libiscsi's conformance suite over iser://, one process a test: the packaged client crashes in longer
# runs, and what it leaves behind must not matter to the target. Sourced behind iser.sh.
#
# That client declares immediate data that it does not send, so the targets negotiate
# ImmediateData=No (docs/internals/vm.md).

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
  local try rc verdict
  for try in 1 2 3; do
    rc=0 verdict=FAIL
    timeout -k 2 60 env LD_PRELOAD="$FORGIVING" iscsi-test-cu -d -f --test="ALL.$1" \
      "iser://$ADDR:$PORT/$IQN/0" >"$RUN/test" 2>&1 || rc=$?
    case $rc in
      0)
        # Behind the test's name: what the client misses before it begins is no verdict.
        if sed -n '/  Test: /,$p' "$RUN/test" | grep SKIPPED; then verdict=SKIP; fi
        if [ $verdict = FAIL ] && grep -Eq 'tests +1 +1 +1 +0' "$RUN/test"; then verdict=PASS; fi
        break ;;
      # Signals of its own, or waiting for a thread of its own: a silent target it gives up after 15 s.
      124 | 13[4-9]) verdict=DIED ;;
      *) break ;;
    esac
    echo "try $try: the client ended with $rc: $(tail -n 1 "$RUN/test")"
  done
  echo $verdict >"$RUN/verdict"
  case $verdict in PASS | SKIP) return 0 ;; esac
  cat "$RUN/test"
  fail "exit status $rc"
}

# The target serves the next initiator as if nothing had happened.
still_serves() {
  libiscsi_test Inquiry.Standard
  [ $SERVER = lio ] || [ ! -e "$RUN/target.rc" ] || fail "the target ended"
}
