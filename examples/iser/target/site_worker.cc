#include "examples/iser/target/site_worker.h"

#include <utility>

namespace mrpool::iser_target {
namespace {

// A Store with the objects that it refers to.
struct OpenStore {
  OpenStore(std::shared_ptr<Unit> of, std::unique_ptr<storage::Channel> way, SiteWorker& from)
      : worker(from),
        unit(std::move(of)),
        channel(std::move(way)),
        store{*channel,
              unit->logical.facts().block_size,
              unit->volume->late(),
              unit->volume->gate(),
              from.index(),
              from.reactor(),
              *unit->volume,
              [&from](auto change, auto done) {
                from.change_marks(std::move(change), std::move(done));
              }} {}
  // It is not checked again, so report its trouble now.
  ~OpenStore() {
    if (worker.trouble != nullptr) worker.trouble(*unit->volume, channel->take_trouble());
  }
  SiteWorker& worker;
  const std::shared_ptr<Unit> unit;
  const std::unique_ptr<storage::Channel> channel;
  Store store;
};

}  // namespace

SiteWorker::SiteWorker(uint32_t index, Reactor& reactor)
    : index_(index), reactor_(reactor), mailbox_(reactor) {}

SiteWorker::~SiteWorker() = default;

void SiteWorker::run(std::function<void()> call) {
  if (reactor_.in_thread()) return call();
  post(std::move(call));
}

void SiteWorker::change_marks(std::function<storage::Error()> change,
                              std::function<void(storage::Error)> done) {
  aside([this, change = std::move(change), done = std::move(done)] {
    post([done, error = change()] { done(error); });
  });
}

void SiteWorker::visit_stores(
    const std::function<void(const storage::Volume&, storage::Channel&)>& each) {
  for (const auto& [unit, weak] : stores_) {
    // The store keeps its unit alive.
    if (const std::shared_ptr<Store> store = weak.lock()) each(*unit->volume, store->channel);
  }
}

absl::StatusOr<std::shared_ptr<Store>> SiteWorker::store(const std::shared_ptr<Unit>& unit) {
  std::erase_if(stores_, [](const auto& entry) { return entry.second.expired(); });
  if (const auto found = stores_.find(unit.get()); found != stores_.end()) {
    return found->second.lock();
  }
  absl::StatusOr<std::unique_ptr<storage::Channel>> channel = unit->volume->open_channel(reactor_);
  if (!channel.ok()) return channel.status();
  const auto open = std::make_shared<OpenStore>(unit, *std::move(channel), *this);
  std::shared_ptr<Store> store(open, &open->store);
  stores_.emplace(unit.get(), store);
  return store;
}

}  // namespace mrpool::iser_target
