# libiscsi's conformance suite over iser:// against our target and the kernel's.
#
# checks: iscsi-test-cu, each test a process of its own, one column for each target
# needs: iscsi-test-cu
# wires: rxe siw rxe-lio siw-lio
# timeout: 1200
need iscsi-test-cu
. "$guest/iser.sh"
. "$guest/libiscsi.sh"

iser_serve immediate_data=no
run_libiscsi $(iscsi-test-cu --list | sed -n 's/^ALL\.\([^.]*\.[^.]*\)$/\1/p')
attempt "the target serves on" still_serves
attempt "clean stop" iser_stop
report
