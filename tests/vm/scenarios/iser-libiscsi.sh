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
  Inquiry.{Standard,AllocLength,EVPD,BlockLimits,MandatoryVPDSBC,SupportedVPD,VersionDescriptors}
  Mandatory.MandatorySBC
  ModeSense6.{AllPages,Control,Control-D_SENSE,Control-SWP,Residuals}
  ReadCapacity10.Simple ReadCapacity16.{Simple,Alloclen,PI,Support}
  ReportSupportedOpcodes.{Simple,OneCommand,RCTD,SERVACTV}
  GetLBAStatus.{Simple,BeyondEol,UnmapSingle}
  Read6.{Simple,BeyondEol} Read10.{Simple,BeyondEol,ZeroBlocks,ReadProtect,DpoFua,Async}
  Read16.Simple
  Write10.{Simple,BeyondEol,ZeroBlocks,WriteProtect,DpoFua,Async} Write16.Simple
  Verify10.{Simple,BeyondEol,VerifyProtect,Mismatch}
  WriteVerify10.{Simple,BeyondEol}
  CompareAndWrite.{Simple,Miscompare,Unwritten,InvalidDataOutSize}
  WriteSame10.{Simple,BeyondEol,InvalidDataOutSize} WriteSame16.{Simple,Unmap}
  Unmap.{Simple,VPD,ZeroBlocks}
  StartStopUnit.{Simple,PwrCnd,NoLoej}
  PrinReadKeys.{Simple,Truncate} PrinServiceactionRange.Range PrinReportCapabilities.Simple
  ProutRegister.Simple ProutReserve.{Simple,AccessEA,OwnershipWEAR} ProutClear.Simple
  ProutPreempt.RemoveRegistration
  iSCSIResiduals.{Read10Residuals,Write10Residuals}
  iSCSITMF.{AbortTaskSimpleAsync,LUNResetSimpleAsync}
)
run_libiscsi "${tests[@]}"
attempt "the target serves on" still_serves
iser_stop
report
