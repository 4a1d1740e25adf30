# The audit of rdma-core devices. Two fail it, and it must say exactly that and nothing else:
#  - rdma_rxe of Linux 6.1 checks an access through a memory window against the bounds of the base
#    region, not the window's, so a key opens bytes that were not registered with it;
#  - siw of Linux 6.1 serves a READ of a region that was registered without remote read.
#
# checks: mrpool-audit on the wire's device: the known faults of rxe and siw are found, no others
# wires: rxe siw
# timeout: 150
wire_up
rc=0
"$BIN/mrpool-audit" --output-format markdown --output "/vm/audit.$WIRE.md" "verbs://$ADDR" || rc=$?
cat "/vm/audit.$WIRE.md"
[ $rc -le 1 ] || fail "the audit could not run"
broken=$(sed -n 's/^| \([^ ]*\) .*| BROKEN |$/\1/p' "/vm/audit.$WIRE.md" | sort | tr '\n' ' ')
case $WIRE in
  rxe) expected='fast-before-the-start fast-past-the-end ' ;;
  siw) expected='read-without-right ' ;;
esac
[ "$broken" = "$expected" ] || fail "broken: $broken; known: $expected"
