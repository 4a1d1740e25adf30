// The results of the control socket's iSCSI methods: a document in SPDK's format, without secrets.
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
// The node `name`; all nodes if it is empty.
boost::json::array shown_target_nodes(const ControlDocument& document, std::string_view name);
// The sessions, sorted by target and initiator.
boost::json::array shown_connections(std::vector<metrics::SessionState> sessions);

}  // namespace mrpool::iser_target
