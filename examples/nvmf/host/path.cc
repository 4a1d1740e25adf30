#include "examples/nvmf/host/path.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mrpool::nvme::host {
namespace {

constexpr uint8_t kAnaLog = NVME_LOG_LID_ANA;
constexpr uint64_t kMaxLogBytes = 64 << 10;
// Between two looks at a state that does not last.
constexpr Nanoseconds kPause = std::chrono::milliseconds(50);

// The most that the log page of this controller may have.
size_t log_bytes(const nvme_id_ctrl& id, uint64_t max_transfer) {
  const uint64_t namespaces = le(id.mnan) != 0 ? le(id.mnan) : le(id.nn);
  const uint64_t bytes = sizeof(nvme_ana_log) +
                         uint64_t(le(id.nanagrpid)) * sizeof(nvme_ana_group_desc) + namespaces * 4;
  return size_t(std::min({bytes, kMaxLogBytes, max_transfer})) / 4 * 4;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Path>> Path::create(Device& device, Pd& pd, MrPool& pool,
                                                   Reactor& reactor, const SessionOptions& options,
                                                   uint32_t nsid, bool one_of_many, News& news) {
  std::unique_ptr<Path> path(
      new Path(reactor, options.address.to_string(), nsid, one_of_many, news));
  SessionOptions session = options;
  session.one_of_many = one_of_many;
  auto made = Session::create(device, pd, pool, reactor, session, *path);
  if (!made.ok()) return made.status();
  path->session_ = *std::move(made);
  return path;
}

Path::~Path() {
  if (look_posted_.load(std::memory_order_acquire)) reactor_.cancel(look_call_);
}

Async<absl::Status> Path::connect() {
  absl::Status status = co_await session_->connect();
  if (!status.ok()) co_return status;
  connected_ = true;
  co_await read_state();
  co_return status;
}

Async<> Path::disconnect() {
  leaving_ = true;
  if (connected_) co_await session_->disconnect();
  if (looking_) co_await looked_;
}

void Path::on_event(const std::string& text) {
  news_.on_event(one_of_many_ ? absl::StrCat(name_, ": ", text) : text);
}

void Path::on_over(const absl::Status& why) {
  over_.store(true, std::memory_order_relaxed);
  news_.on_over(why);
}

void Path::on_connection(bool up) {
  state_.store(AnaState::kChange, std::memory_order_relaxed);
  if (up) look();
}

void Path::suspect() {
  state_.store(AnaState::kChange, std::memory_order_relaxed);
  if (!look_posted_.exchange(true, std::memory_order_acquire)) reactor_.post(look_call_);
}

void Path::look() {
  look_posted_.store(false, std::memory_order_release);
  look_once_more_ = true;
  if (looking_ || leaving_ || !one_of_many_) return;
  looking_ = true;
  looked_.reset();
  spawn(look_again());
}

Async<> Path::look_again() {
  const auto lasts = [this] { return state() != AnaState::kChange || over(); };
  while (!leaving_ && (look_once_more_ || !lasts())) {
    look_once_more_ = false;
    co_await read_state();
    // Without a connection on_connection() looks again.
    if (!session_->controller().admin().ready()) break;
    if (!leaving_ && (look_once_more_ || !lasts())) co_await pause(reactor_, kPause);
  }
  looking_ = false;
  looked_.set();
}

// A controller without ANA has one kind of path.
Async<> Path::read_state() {
  Controller& controller = session_->controller();
  AnaState now = AnaState::kOptimized;
  if ((controller.identity().cmic & NVME_CTRL_CMIC_MULTI_ANA_REPORTING) != 0) {
    std::vector<std::byte> page(log_bytes(controller.identity(), controller.max_transfer()));
    const absl::Status read = co_await controller.log_page(kAnaLog, 0, page, kBroadcastNsid);
    if (!read.ok()) co_return;
    now = ana_state_of(page, nsid_).value_or(AnaState::kChange);
  }
  const AnaState before = state_.exchange(now, std::memory_order_relaxed);
  if (one_of_many_ && before != now && now != AnaState::kOptimized) {
    news_.on_event(absl::StrCat(name_, ": ", std::string(to_string(now))));
  }
}

}  // namespace mrpool::nvme::host
