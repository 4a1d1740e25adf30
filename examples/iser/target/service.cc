#include "examples/iser/target/service.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/engine/live_config.h"
#include "examples/iser/target/limits.h"
#include "examples/iser/target/session.h"
#include "examples/protocol/iscsi/iser_header.h"
#include "examples/storage/uuid.h"

namespace mrpool::iser_target {
namespace {

iscsi::Limits negotiation(const Config& config) {
  return {.initial_r2t = config.initial_r2t,
          .immediate_data = config.immediate_data,
          .max_burst = kMaxTransfer,
          .first_burst = config.initial_r2t ? 65536 : kFirstBurstUnsolicited,
          .target_recv = kRecvData,
          .max_unexpected = kMaxUnexpected,
          .unsolicited_pdus = kMaxPieces};
}

// Uses remote invalidation if both sides and the device support it; a peer must announce its
// support.
bool invalidates(const ConnectionInfo& request, const DeviceCaps& caps) {
  const auto theirs = iscsi::ConnectPrivateData::decode(request.private_data);
  return theirs && !theirs->send_with_inv_not_used && caps.send_with_inv;
}

}  // namespace

Service::Service(const Config& config, Environment environment)
    : config_(config),
      environment_(std::move(environment)),
      limits_(negotiation(config)),
      engine_(config.engine, *this, environment_.open_device) {}

absl::Status Service::start(std::span<Reactor* const> reactors) {
  for (Reactor* reactor : reactors) {
    if (absl::Status status = engine_.add_worker(*reactor); !status.ok()) return status;
  }
  // Connections find the site, because no reactor runs before the start has ended.
  auto ports = engine_.prepare(config_.listen);
  if (!ports.ok()) return ports.status();
  absl::StatusOr<std::unique_ptr<Site>> site =
      Site::create(config_, {reactors.begin(), reactors.end()}, environment_);
  if (!site.ok()) return site.status();
  site_ = *std::move(site);
  site_->log = log;
  for (uint32_t i = 0; i < site_->workers(); ++i) {
    site_->worker(i).trouble = [&worker = engine_.worker(i)](const storage::Volume& store,
                                                             const storage::Trouble& trouble) {
      worker.note_trouble(store, trouble);
    };
  }
  engine_.commit(*std::move(ports));
  ports_changed();
  return absl::OkStatus();
}

void Service::Change::resolve() { resolved_ = engine::resolve_hosts(hosts_); }

absl::Status Service::Change::listen() {
  auto ports = service_.engine_.prepare(config_.listen, resolved_);
  if (ports.ok()) ports_.emplace(*std::move(ports));
  return ports.status();
}

absl::Status Service::Change::open() {
  auto next = service_.site_->prepare(config_);
  if (next.ok()) next_ = *std::move(next);
  return next.status();
}

void Service::Change::commit() {
  service_.site_->serve(*next_);
  service_.engine_.commit(*std::move(ports_));
  service_.ports_changed();
}

absl::Status Service::apply(const Config& config) {
  return engine::serve_at_once(Change(*this, config));
}

engine::Verdict Service::look(const ConnectionInfo& request, const DeviceCaps& caps) {
  std::array<std::byte, iscsi::ConnectPrivateData::kSize> ours;
  iscsi::ConnectPrivateData{.zero_based_not_used = true,
                            .send_with_inv_not_used = !invalidates(request, caps)}
      .encode(ours);
  return {.accepted = true,
          .private_data = {ours.begin(), ours.end()},
          .layout = Session::layout(limits_)};
}

std::unique_ptr<engine::Session> Service::make_session(engine::Worker& worker, engine::Link& link,
                                                       const ConnectionInfo& request) {
  return std::make_unique<Session>(*site_, site_->worker(worker.index()), worker, link, limits_,
                                   invalidates(request, link.device()->caps()));
}

void Service::visit_stores(engine::Worker& worker, const engine::StoreVisitor& each) {
  site_->worker(worker.index()).visit_stores(each);
}

void Service::observe(metrics::Snapshot& to) const {
  to.protocol = "iscsi";
  for (const auto& served : site_->targets()) {
    metrics::TargetState& target = to.targets.emplace_back();
    target.name = served->name();
    target.any_host = !served->config()->initiators.has_value();
    const auto table = served->units();
    for (const auto& [lun, unit] : table->units) {
      const scsi::UnitFacts& facts = unit->logical.facts();
      target.units.push_back({.number = lun,
                              .store = unit->volume->spec(),
                              .uuid = storage::format_uuid(facts.uuid),
                              .blocks = unit->logical.blocks(),
                              .block_size = facts.block_size});
      target.access.push_back({.listener = absl::StrCat("LUN ", lun),
                               .group = facts.port_group,
                               .state = uint32_t(unit->logical.access())});
    }
  }
  engine::Statistics counters;
  site_->totals().report(counters);
  counters.visit(
      [&to](const std::string& name, uint64_t value) { to.counters.emplace_back(name, value); });
  to.sessions = engine_.accounts().sessions();
  engine_.accounts().add_io(to);
}

void Service::add_statistics(engine::Statistics& to) const {
  if (site_ == nullptr) return;
  site_->totals().report(to.child("iser"));
}

}  // namespace mrpool::iser_target
