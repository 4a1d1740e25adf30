// What the iSCSI methods of the control socket answer: a document as SPDK shows it, without
// secrets.
//
// Thread safety: pure.
#pragma once

#include <boost/json/array.hpp>
#include <string_view>
#include <vector>

#include "examples/iser/target/control_document.h"
#include "examples/metrics/snapshot.h"

namespace mrpool::iser_target {

boost::json::array shown_portal_groups(const ControlDocument& document);
boost::json::array shown_initiator_groups(const ControlDocument& document);
boost::json::array shown_auth_groups(const ControlDocument& document);
// Of this name; of all, when it is empty.
boost::json::array shown_target_nodes(const ControlDocument& document, std::string_view name);
// Who is logged in, by target and initiator.
boost::json::array shown_connections(std::vector<metrics::SessionState> sessions);

}  // namespace mrpool::iser_target
