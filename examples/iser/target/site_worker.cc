#include "examples/iser/target/site_worker.h"

#include <utility>

namespace mrpool::iser_target {
namespace {

// A Store with what it refers to.
struct OpenStore {
  OpenStore(std::shared_ptr<Unit> of, std::unique_ptr<storage::Channel> way, SiteWorker& worker)
      : unit(std::move(of)),
        channel(std::move(way)),
        store{*channel, unit->logical.facts().block_size, unit->gate, worker.index(),
              worker.reactor()} {}
  const std::shared_ptr<Unit> unit;
  const std::unique_ptr<storage::Channel> channel;
  Store store;
};

}  // namespace

SiteWorker::Mailbox::Mailbox(SiteWorker& owner)
    : mrpool::Task([](mrpool::Task& self) { static_cast<Mailbox&>(self).worker.run_mail(); }),
      worker(owner) {}

SiteWorker::SiteWorker(uint32_t index, Reactor& reactor)
    : index_(index), reactor_(reactor), mailbox_(*this) {}

SiteWorker::~SiteWorker() = default;

void SiteWorker::post(std::function<void()> call) {
  bool first = false;
  {
    const std::lock_guard lock(mail_mutex_);
    first = mail_.empty();
    mail_.push_back(std::move(call));
  }
  if (first) reactor_.post(mailbox_);
}

void SiteWorker::run(std::function<void()> call) {
  if (reactor_.in_thread()) return call();
  post(std::move(call));
}

void SiteWorker::run_mail() {
  std::deque<std::function<void()>> mail;
  {
    const std::lock_guard lock(mail_mutex_);
    mail.swap(mail_);
  }
  for (auto& call : mail) {
    call();
    call = nullptr;  // what it holds may be waited for
  }
}

bool SiteWorker::discard_mail() {
  std::deque<std::function<void()>> mail;
  {
    const std::lock_guard lock(mail_mutex_);
    mail.swap(mail_);
  }
  return !mail.empty();  // what they hold may send others
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
