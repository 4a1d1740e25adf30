# libiscsi's conformance suite over iser:// against our target and the kernel's.
#
# checks: iscsi-test-cu, each test a process of its own, one column for each target
# needs: iscsi-test-cu
# wires: rxe siw rxe-lio
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
  Read12.Simple Read16.{Simple,BeyondEol}
  Write10.{Simple,BeyondEol,ZeroBlocks,WriteProtect,DpoFua,Async} Write12.Simple
  Write16.{Simple,BeyondEol}
  Verify10.{Simple,BeyondEol,VerifyProtect,Mismatch,MismatchNoCmp} Verify16.Simple
  WriteVerify10.{Simple,BeyondEol,Flags} WriteVerify16.Simple
  CompareAndWrite.{Simple,Miscompare,Unwritten,InvalidDataOutSize}
  WriteSame10.{Simple,BeyondEol,Unmap,InvalidDataOutSize}
  WriteSame16.{Simple,BeyondEol,Unmap,InvalidDataOutSize}
  Unmap.{Simple,VPD,ZeroBlocks}
  StartStopUnit.{Simple,PwrCnd,NoLoej}
  PrinReadKeys.{Simple,Truncate} PrinServiceactionRange.Range PrinReportCapabilities.Simple
  ProutRegister.Simple ProutReserve.{Simple,AccessEA,AccessWERO,OwnershipWEAR} ProutClear.Simple
  ProutPreempt.RemoveRegistration
  iSCSIResiduals.{Read10Residuals,Read16Residuals,Write10Residuals,Write16Residuals}
  iSCSITMF.{AbortTaskSimpleAsync,LUNResetSimpleAsync}
)
run_libiscsi "${tests[@]}"
attempt "the target serves on" still_serves
iser_stop
report
