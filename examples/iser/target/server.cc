#include "examples/iser/target/server.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mrpool::iser_target {
namespace {

constexpr Nanoseconds kTick = std::chrono::milliseconds(200);
// How long a stop waits for connections to end in good order.
constexpr Nanoseconds kPatience = std::chrono::seconds(2);

absl::StatusOr<std::unique_ptr<Domain>> make_domain(std::shared_ptr<Device> device,
                                                    Reactor& reactor, const Config& config) {
  auto domain = std::make_unique<Domain>();
  domain->device = std::move(device);
  absl::StatusOr<std::unique_ptr<Pd>> pd = domain->device->alloc_pd();
  if (!pd.ok()) return pd.status();
  domain->pd = *std::move(pd);
  domain->limits = {.max_operations = kQueueDepth,
                    .max_transfer = kMaxTransfer,
                    .max_segments = kMaxChunks,
                    .force_mr = config.force_mr};
  const RwQueueNeeds needs = rw_queue_needs(domain->device->caps(), domain->limits);
  if (needs.pool_mrs != 0) {
    absl::StatusOr<std::unique_ptr<MrPool>> pool =
        MrPool::create(*domain->pd, {.count = std::min(config.mrs, domain->device->caps().max_mr),
                                     .max_segments = needs.pool_segments,
                                     .access = needs.pool_access});
    if (!pool.ok()) return pool.status();
    domain->pool = *std::move(pool);
  }
  absl::StatusOr<std::unique_ptr<Staging>> staging =
      Staging::create(reactor, *domain->pd, config.staging,
                      [](Task& task) { task.connection->chunks_ready(task); });
  if (!staging.ok()) return staging.status();
  domain->staging = *std::move(staging);
  domain->negotiation = {.initial_r2t = config.initial_r2t,
                         .immediate_data = config.immediate_data,
                         .max_burst = kMaxTransfer,
                         .first_burst = config.initial_r2t ? 65536 : kFirstBurstUnsolicited,
                         .target_recv = kRecvData,
                         .max_unexpected = kMaxUnexpected,
                         .unsolicited_pdus = kMaxPieces};
  return domain;
}

}  // namespace

struct Server::Portal final : ListenHandler {
  explicit Portal(Server& owner) : server(owner) {}
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    server.take(*domain, *request);
  }
  Server& server;
  std::unique_ptr<Domain> domain;
  std::unique_ptr<Listener> listener;
};

Server::Tick::Tick(Server& server)
    : Timer([](Timer& self) {
        Tick& tick = static_cast<Tick&>(self);
        tick.owner.sweep();
      }),
      owner(server) {}

Server::Server(Site& site, Reactor& reactor, const Config& config)
    : site_(site), reactor_(reactor), config_(config), tick_(*this) {
  tick_.arm(reactor_, kTick);
}

Server::~Server() { tick_.cancel(); }

absl::StatusOr<std::string> Server::listen(const std::string& uri) {
  absl::StatusOr<Address> address = Address::parse(uri);
  if (!address.ok()) return address.status();
  auto portal = std::make_unique<Portal>(*this);
  absl::StatusOr<std::shared_ptr<Device>> device = site_.environment().open_device(*address);
  if (!device.ok()) return device.status();
  absl::StatusOr<std::unique_ptr<Domain>> domain =
      make_domain(*std::move(device), reactor_, config_);
  if (!domain.ok()) return domain.status();
  portal->domain = *std::move(domain);
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      portal->domain->device->listen(reactor_, *address, *portal);
  if (!listener.ok()) return listener.status();
  portal->listener = *std::move(listener);
  address->port = portal->listener->port();
  portals_.push_back(std::move(portal));
  // What SendTargets tells: a wildcard is no address, the one the initiator came to is used then.
  if (!address->host.empty() && address->host != "0.0.0.0" && address->host != "::") {
    const bool v6 = address->host.find(':') != std::string::npos;
    site_.add_portal(absl::StrCat(v6 ? "[" : "", address->host, v6 ? "]" : "", ":", address->port));
  }
  return address->to_string();
}

void Server::take(Domain& domain, ConnectRequest& request) {
  if (stopped_ != nullptr) return;  // destroying the request rejects it
  reap();                           // what a storm of connections left behind makes room for it
  const std::string peer = request.info().peer;
  if (links_.size() >= config_.max_connections) {
    site_.log(absl::StrCat(peer, ": not accepted: there are ", links_.size(), " connections"));
    return;
  }
  auto link = std::make_unique<QpLink>(site_, domain, reactor_);
  if (absl::Status status = link->open(request); !status.ok()) {
    site_.log(absl::StrCat(peer, ": not accepted: ", status.message()));
    return;
  }
  links_.push_back(std::move(link));
}

void Server::reap() {
  std::erase_if(links_, [](const auto& link) { return link->finished(); });
}

void Server::sweep() {
  for (const auto& link : links_) {
    if (!link->closed()) link->connection().tick();
  }
  reap();
  if (stopped_ != nullptr) {
    if (links_.empty()) {
      const std::function<void()> done = std::move(stopped_);
      stopped_ = nullptr;
      return done();
    }
    if (reactor_.now() - stop_began_ > kPatience) {
      for (const auto& link : links_) {
        if (!link->closed()) link->drop("the target stops");
      }
    }
  }
  tick_.arm(reactor_, stopped_ != nullptr ? kTick / 20 : kTick);
}

void Server::stop(std::function<void()> done) {
  if (stopped_ != nullptr) return;
  stopped_ = std::move(done);
  stop_began_ = reactor_.now();
  for (const auto& portal : portals_) portal->listener.reset();
  for (const auto& link : links_) {
    if (!link->closed()) link->disconnect();
  }
  tick_.arm(reactor_, kTick / 20);
}

MrPoolStats Server::pool_stats() const {
  MrPoolStats sum;
  for (const auto& portal : portals_) {
    if (portal->domain->pool == nullptr) continue;
    const MrPoolStats stats = portal->domain->pool->stats();
    sum.size += stats.size;
    sum.in_use += stats.in_use;
    sum.high_water += stats.high_water;
    sum.in_repair += stats.in_repair;
    sum.gets += stats.gets;
    sum.exhaustions += stats.exhaustions;
    sum.waits += stats.waits;
    sum.repairs += stats.repairs;
  }
  return sum;
}

size_t Server::staging_in_use() const {
  size_t used = 0;
  for (const auto& portal : portals_) {
    used += portal->domain->staging->total() - portal->domain->staging->available();
  }
  return used;
}

size_t Server::memory_per_connection() const {
  size_t most = 0;
  for (const auto& link : links_) most = std::max(most, link->memory_bytes());
  return most;
}

}  // namespace mrpool::iser_target
