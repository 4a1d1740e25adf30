// The table row of a command, for the files that make up LogicalUnit.
//
// Thread safety: constants.
#pragma once

#include "examples/protocol/scsi/logical_unit.h"

namespace mrpool::scsi {

struct LogicalUnit::Handler {
  Command command;
  Plan (LogicalUnit::*begin)(const Request& request);
  // For commands with a parameter list, once it is there; null for the others.
  Plan (LogicalUnit::*finish)(const ParameterList& list);
};

}  // namespace mrpool::scsi
