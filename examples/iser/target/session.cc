#include "examples/iser/target/session.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/engine/ending.h"
#include "mrpool/callback.h"

namespace mrpool::iser_target {
namespace {

constexpr uint32_t kSlab = 16;  // tasks allocated at once
constexpr uint32_t kAnswerBytes = 144;
static_assert(sizeof(Task::response) <= kAnswerBytes);
constexpr uint32_t kMessageBytes = (kHeaders + kRecvData + 15) / 16 * 16;

}  // namespace

// A task with its exchange on the link.
struct Session::Slot : Task, engine::Exchange {
  explicit Slot(Session& owner) : Task(task_callbacks()), session(owner) {}
  void claim_granted() {
    session.chunks_taken(*this);
    connection->chunks_ready(*this);
  }
  Session& session;
  Bound<engine::StagingClaim, &Slot::claim_granted> claim{*this};
};

Session::Session(Site& site, SiteWorker& site_worker, engine::Worker& worker, engine::Link& link,
                 const iscsi::Limits& limits, bool remote_invalidation)
    : engine::Session(link),
      site_(site),
      staging_(worker.staging()),
      counts_(worker.accounts()),
      worker_(worker.index()),
      remote_invalidation_(remote_invalidation),
      connection_(site, site_worker, *this, limits) {}

Session::~Session() = default;

engine::LinkLayout Session::layout(const iscsi::Limits& limits) {
  return {.receives = receives(limits.initial_r2t),
          .receive_bytes = kReceiveSize,
          .receive_stride = kReceiveStride,
          .receive_offset = kReceiveOffset,
          .exchanges = kTasks,
          .exchange_bytes = sizeof(Slot),
          .answer_bytes = kAnswerBytes,
          .messages = kControlSends,
          .message_bytes = kMessageBytes,
          .solicited = true};
}

// --- engine::Session ---

void Session::received(engine::Receive& receive, std::span<std::byte> message) {
  if (!connection_.received(message, &receive)) link().release_receive(receive);
}

void Session::transferred(engine::Exchange& exchange, bool success) {
  connection_.fetched(static_cast<Slot&>(exchange), success);
}

void Session::sent(engine::Exchange& exchange) { connection_.sent(static_cast<Slot&>(exchange)); }

// How the connection ended, for the log.
std::string Session::described(const std::string& ending) {
  if (!connection_.logged_in() || connection_.target_name().empty()) {
    return absl::StrCat(peer(), ": ", ending);
  }
  return absl::StrCat(peer(), ": ", connection_.initiator(), " disconnected from ",
                      connection_.target_name(), " (", ending, ")");
}

void Session::disconnected(const Disconnect& how, std::string_view why) {
  const bool local = how.reason == DisconnectReason::kLocal;
  const bool dropped = local && !why.empty();
  // An orderly disconnect before login is logged at a lower level.
  const bool quiet = !connection_.logged_in() && (local || how.reason == DisconnectReason::kPeer);
  const auto event = dropped ? base::Event::kHostDropped
                     : quiet ? base::Event::kQueueDisconnected
                             : base::Event::kHostDisconnected;
  site_.log({.event = event,
             .peer = peer(),
             .host = connection_.initiator(),
             .target = connection_.target_name(),
             .message = described(dropped ? absl::StrCat("dropped: ", std::string(why))
                                          : engine::ending(how, {}))});
  connection_.closed();
}

void Session::tick(Nanoseconds) { connection_.tick(); }

void Session::linger(Nanoseconds) { connection_.linger(); }

// --- Link ---

void Session::grow() {
  for (uint32_t i = 0; i < kSlab && slots_.size() < kTasks; ++i) {
    slots_.push_back(std::make_unique<Slot>(*this));
    link().bind(*slots_.back());
    free_slots_.push_back(slots_.back().get());
  }
}

Task* Session::take_task() {
  if (free_slots_.empty()) grow();
  if (free_slots_.empty()) return nullptr;
  Slot* slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void Session::release(Task& task) {
  free_slots_.push_back(&static_cast<Slot&>(task));
  if (connection_.idle()) link().session_idle();
}

void Session::release_receive(void* receive) {
  link().release_receive(*static_cast<engine::Receive*>(receive));
}

bool Session::send(std::span<const std::byte> pdu) { return link().send(pdu); }

engine::Answer Session::answer(Slot& slot, std::optional<Rkey> invalidate) {
  std::memcpy(slot.answer_room().data(), slot.response.data(), slot.response_size);
  return {.bytes = slot.response_size, .invalidate = invalidate};
}

bool Session::respond(Task& task, std::optional<Rkey> invalidate) {
  Slot& slot = static_cast<Slot&>(task);
  return link().respond(slot, answer(slot, invalidate));
}

bool Session::push(Task& task, const RemoteBuffer& to, std::optional<Rkey> invalidate) {
  Slot& slot = static_cast<Slot&>(task);
  std::array<Sge, kMaxChunks> sges;
  const size_t count = staging_.sges(slot.claim, 0, to.length, link().staging_key(), sges);
  const engine::Answer last = answer(slot, invalidate);
  return link().write(slot, {sges.data(), count}, to, &last);
}

bool Session::fetch(Task& task, const RemoteBuffer& from, uint64_t offset) {
  Slot& slot = static_cast<Slot&>(task);
  std::array<Sge, kMaxChunks> sges;
  const size_t count = staging_.sges(slot.claim, offset, from.length, link().staging_key(), sges);
  return link().read(slot, {sges.data(), count}, from);
}

void Session::entered(const std::string& initiator, const std::string& target, uint16_t tsih,
                      uint16_t cid) {
  entry_ = counts_.enter({.host = initiator,
                          .target = target,
                          .number = tsih,
                          .queues = {{.number = 0, .worker = worker_}},
                          .connection = cid,
                          .peer = peer(),
                          .local = local()});
}

engine::IoAccount* Session::account(const std::string& initiator, const std::string& target,
                                    uint16_t lun) {
  std::shared_ptr<engine::IoAccount>& account = accounts_[lun];
  if (account == nullptr) account = counts_.open(worker_, initiator, target, lun);
  return account.get();
}

bool Session::admit(std::string_view initiator) {
  const auto standing = initiator.empty() ? engine::Standing::kGuest : engine::Standing::kMember;
  if (!link().admit(standing, initiator)) return false;
  answers_ = staging_.flow(link().share(), nullptr);
  return true;
}

// The unit's flow, except for commands that the device server answers itself. A copy's memory is
// that of the unit it writes to first.
engine::StagingFlow& Session::flow_of(const Task& task) {
  using Kind = scsi::Plan::Kind;
  const bool answers = task.plan.kind == Kind::kDone || task.plan.kind == Kind::kParameters;
  if (answers || task.handle == nullptr) return *answers_;
  UnitHandle* handle = task.handle;
  if (task.copy != nullptr) handle = task.copy->side(scsi::CopySide::kDestination).handle;
  if (handle->flow == nullptr) {
    handle->flow = staging_.flow(link().share(), handle->unit->volume.get());
  }
  return *handle->flow;
}

bool Session::take_chunks(Task& task, uint64_t bytes) {
  Slot& slot = static_cast<Slot&>(task);
  if (!staging_.take(slot.claim, flow_of(task), engine::chunks_for(bytes))) return false;
  chunks_taken(slot);
  return true;
}

void Session::chunks_taken(Slot& slot) {
  slot.chunk_count = slot.claim.held();
  for (uint32_t i = 0; i < slot.chunk_count; ++i) {
    const std::byte* at = staging_.at(slot.claim, uint64_t{i} * kChunk);
    slot.chunks[i] = uint16_t((at - staging_.memory().data()) / kChunk);
  }
}

void Session::give_chunks(Task& task) {
  staging_.put(static_cast<Slot&>(task).claim);
  task.chunk_count = 0;
}

void Session::executing(Task& task) { staging_.enter_store(static_cast<Slot&>(task).claim); }

void Session::executed(Task& task) { staging_.leave_store(static_cast<Slot&>(task).claim); }

void Session::cancel_chunks(Task& task) { staging_.cancel(static_cast<Slot&>(task).claim); }

std::span<std::byte> Session::chunk(uint16_t index) {
  return staging_.memory().subspan(size_t{index} * kChunk, kChunk);
}

void Session::disconnect() { link().disconnect({}); }

void Session::drop(std::string_view why) { link().drop(why); }

}  // namespace mrpool::iser_target
