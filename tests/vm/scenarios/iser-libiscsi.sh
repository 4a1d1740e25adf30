# libiscsi's conformance suite over iser:// against our target and the kernel's.
#
# checks: iscsi-test-cu, each test a process of its own, one column for each target
# needs: iscsi-test-cu
# wires: rxe siw rxe-lio
# timeout: 400
need iscsi-test-cu
. "$guest/iser.sh"
. "$guest/libiscsi.sh"

# The rest of the suite crashes Debian's client over iser:// whatever the target.
iser_serve immediate_data=no
run_libiscsi TestUnitReady.Simple Inquiry.Standard Inquiry.AllocLength Inquiry.EVPD \
  Inquiry.MandatoryVPDSBC Inquiry.SupportedVPD ReadCapacity10.Simple ReadCapacity16.Simple \
  ReadCapacity16.Alloclen ModeSense6.AllPages ReportSupportedOpcodes.Simple GetLBAStatus.Simple \
  Read6.Simple Read10.Simple Read10.ZeroBlocks Read10.BeyondEol Read12.Simple Read16.Simple \
  Write10.Simple Write12.Simple Write16.Simple Verify10.Simple WriteVerify10.Simple \
  StartStopUnit.Simple PrinReadKeys.Simple ProutRegister.Simple
attempt "the target serves on" still_serves
iser_stop
report
