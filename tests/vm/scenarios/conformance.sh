# The device contract's own tests on rdma-core devices: libibverbs and librdmacm over soft RoCE and
# over soft iWARP. Tests that name a fault of the soft device itself are left out by name; the audit
# scenario shows the same faults on purpose.
#
# checks: the conformance suite passes on verbs://
# needs: mrpool_conformance
# wires: rxe siw
# timeout: 200
wire_up
left_out=$(sed -n "s/^\([A-Za-z]*\.[A-Za-z]*\)@$WIRE .*/\1/p" "$SKIPS" | paste -sd:)
"$BIN/mrpool_conformance" --device="verbs://$ADDR:0" --patience=20 --gtest_filter="-$left_out"
