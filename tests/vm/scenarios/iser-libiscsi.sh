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
  GetLBAStatus.{Simple,BeyondEol,UnmapSingle}
  Read6.{Simple,BeyondEol}
  Read{10,12,16}.{Simple,BeyondEol,ZeroBlocks,ReadProtect,DpoFua}
  Write{10,12,16}.{Simple,BeyondEol,ZeroBlocks,WriteProtect,DpoFua}
  Verify{10,12,16}.{Simple,BeyondEol,ZeroBlocks,VerifyProtect,Flags,Dpo,Mismatch,MismatchNoCmp}
  WriteVerify{10,12,16}.{Simple,BeyondEol,ZeroBlocks,WriteProtect,Flags,Dpo}
  CompareAndWrite.{Simple,DpoFua,Miscompare,Unwritten}
  ExtendedCopy.{ParamHdr,DescrLimits,DescrType,ValidTgtDescr,ValidSegDescr}
  ReceiveCopyResults.{CopyStatus,OpParams}
  WriteSame{10,16}.{Simple,BeyondEol,WriteProtect,UnmapUntilEnd,UnmapVPD,Check} WriteSame10.Unmap
  Unmap.{Simple,VPD,ZeroBlocks} StartStopUnit.{Simple,PwrCnd,NoLoej}
  PrinReadKeys.{Simple,Truncate} PrinServiceactionRange.Range PrinReportCapabilities.Simple
  ProutRegister.Simple ProutReserve.Simple
  ProutReserve.{Access,Ownership}{EA,WE,EARO,WERO,EAAR,WEAR}
  ProutClear.Simple ProutPreempt.RemoveRegistration
)
run_libiscsi "${tests[@]}"
attempt "the target serves on" still_serves
iser_stop
report
