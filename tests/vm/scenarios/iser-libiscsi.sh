# libiscsi's conformance suite over iser:// against our target and the kernel's.
#
# checks: iscsi-test-cu, each test a process of its own, one column for each target
# needs: iscsi-test-cu
# wires: rxe rxe-lio
# timeout: 900
need iscsi-test-cu
. "$guest/iser.sh"
. "$guest/libiscsi.sh"

iser_serve immediate_data=no
tests=(
  TestUnitReady.Simple
  Inquiry.{Standard,EVPD,MandatoryVPDSBC,SupportedVPD,VersionDescriptors}
  Mandatory.MandatorySBC
  ModeSense6.{AllPages,Control,Control-D_SENSE,Control-SWP}
  ReadCapacity10.Simple ReadCapacity16.{Simple,Alloclen,PI,Support}
  ReportSupportedOpcodes.{Simple,OneCommand,RCTD,SERVACTV}
  GetLBAStatus.Simple
  Read10.{Simple,BeyondEol,ZeroBlocks,ReadProtect,DpoFua}
  Write10.{Simple,BeyondEol,ZeroBlocks,WriteProtect,DpoFua}
  Verify10.{Simple,VerifyProtect} WriteVerify10.Flags
  CompareAndWrite.Simple WriteSame10.BeyondEol
  Unmap.{Simple,VPD,ZeroBlocks} StartStopUnit.Simple
  PrinReadKeys.{Simple,Truncate} PrinServiceactionRange.Range PrinReportCapabilities.Simple
  ProutRegister.Simple ProutReserve.{Simple,AccessEA} ProutClear.Simple
  ProutPreempt.RemoveRegistration
)
run_libiscsi "${tests[@]}"
attempt "the target serves on" still_serves
iser_stop
report
