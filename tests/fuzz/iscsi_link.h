// A Link of memory for the fuzz target iscsi_session, and an initiator upon it.
//
// MemoryLink checks the connection. Each command is answered at most once. RDMA uses only the key
// and range of its command. The sequence numbers follow RFC 7143 4.2.2. Every kept receive and
// every task is returned once. The test decides when transfers finish.
//
// Thread safety: one thread. Ownership: the link outlives its connection.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/iser/target/connection.h"
#include "examples/protocol/iscsi/initiator_login.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::iser_target {

using iscsi::IserControl;
using iscsi::Op;

inline std::span<const std::byte, iscsi::kBhsSize> bhs(std::span<const std::byte> message) {
  return message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
}

// What the connection does, watched.
class MemoryLink final : public Link {
 public:
  ~MemoryLink() { FUZZ_CHECK(taken_.empty() && kept_.empty()); }

  Task* take_task() override {
    if (taken_.size() == kTasks) return nullptr;
    if (free_.empty()) {
      tasks_.push_back(std::make_unique<Task>(task_callbacks()));
      free_.push_back(tasks_.back().get());
    }
    Task* task = free_.back();
    free_.pop_back();
    taken_.insert(task);
    return task;
  }
  void release(Task& task) override {
    FUZZ_CHECK(taken_.erase(&task) == 1);
    FUZZ_CHECK(!fetching_.contains(&task) && !chunks_.contains(&task));
    answering_.erase(&task);
    free_.push_back(&task);
  }
  // A receive may be released before received() has returned that it is kept.
  void release_receive(void* receive) override {
    if (receive == arriving_) {
      released_early_ = true;
      return;
    }
    FUZZ_CHECK(kept_.erase(receive) == 1);
  }
  bool send(std::span<const std::byte> pdu) override {
    if (sends_ == kControlSends) return false;
    ++sends_;
    note(pdu);
    return true;
  }
  bool respond(Task& task, std::optional<Rkey> key) override {
    FUZZ_CHECK(taken_.contains(&task) && !fetching_.contains(&task));
    FUZZ_CHECK(answering_.insert(&task).second);  // once
    if (key.has_value()) {
      FUZZ_CHECK(invalidates);
      FUZZ_CHECK((task.iser.read_valid && key->value == task.iser.read_stag) ||
                 (task.iser.write_valid && key->value == task.iser.write_stag));
    }
    if (gone) {
      answering_.erase(&task);
      return false;
    }
    FUZZ_CHECK(task.response_size >= kHeaders && task.response_size <= task.response.size());
    note(std::span(task.response).first(task.response_size));
    last_status = iscsi::ScsiResponse::decode(bhs(task.response)).status;
    return true;
  }
  bool push(Task& task, const RemoteBuffer& to, std::optional<Rkey> key) override {
    FUZZ_CHECK(task.iser.read_valid && to.rkey.value == task.iser.read_stag);
    FUZZ_CHECK(to.addr.value == task.iser.read_va);
    FUZZ_CHECK(to.length > 0 && to.length <= task.pdu.expected_length && task.pdu.read);
    FUZZ_CHECK(to.length <= task.chunk_count * uint64_t{kChunk});
    pushed.clear();
    for (uint64_t at = 0; at < to.length; at += kChunk) {
      const auto part =
          chunk(task.chunks[at / kChunk]).first(std::min(to.length - at, uint64_t{kChunk}));
      pushed.insert(pushed.end(), part.begin(), part.end());
    }
    return respond(task, key);
  }
  bool fetch(Task& task, const RemoteBuffer& from, uint64_t offset) override {
    FUZZ_CHECK(task.iser.write_valid && from.rkey.value == task.iser.write_stag);
    // The key covers the data after the unsolicited part.
    FUZZ_CHECK(from.length > 0 && task.pdu.write);
    FUZZ_CHECK(from.length <= task.pdu.expected_length - task.unsolicited);
    const uint64_t skip = from.addr.value - task.iser.write_va;
    FUZZ_CHECK(skip == 0 || skip == task.unsolicited);
    FUZZ_CHECK(offset + from.length <= task.chunk_count * uint64_t{kChunk});
    for (uint64_t i = 0; i < from.length; ++i) {
      chunk(task.chunks[(offset + i) / kChunk])[(offset + i) % kChunk] = fill;
    }
    if (gone) return false;
    FUZZ_CHECK(fetching_.insert(&task).second);
    return true;
  }
  bool admit(std::string_view) override { return true; }
  void executing(Task&) override {}
  void executed(Task&) override {}
  bool take_chunks(Task& task, uint64_t bytes) override {
    FUZZ_CHECK(bytes > 0 && bytes <= kMaxTransfer && task.chunk_count == 0);
    wanted_[&task] = uint32_t((bytes + kChunk - 1) / kChunk);
    if (waiting_.empty() && grant(task)) return true;
    waiting_.push_back(&task);
    return false;
  }
  void give_chunks(Task& task) override {
    FUZZ_CHECK(!fetching_.contains(&task));
    const auto held = chunks_.find(&task);
    FUZZ_CHECK(held != chunks_.end());
    free_chunks_.insert(free_chunks_.end(), held->second.begin(), held->second.end());
    chunks_.erase(held);
    task.chunk_count = 0;
  }
  void cancel_chunks(Task& task) override { FUZZ_CHECK(std::erase(waiting_, &task) == 1); }
  std::span<std::byte> chunk(uint16_t index) override {
    std::vector<std::byte>& memory = memory_.at(index);
    if (memory.empty()) memory.resize(kChunk);
    return memory;
  }
  void disconnect() override { ending = true; }
  void drop(std::string_view why) override {
    FUZZ_CHECK(!why.empty());
    gone = ending = true;
  }
  const std::string& local() const override { return name_; }
  const std::string& peer() const override { return name_; }
  bool remote_invalidation() const override { return invalidates; }
  uint16_t read_depth() const override { return 8; }
  Nanoseconds now() const override { return clock; }

  // What happens in the loop.
  void receive(Connection& connection, std::vector<std::byte> message) {
    auto held = std::make_unique<std::vector<std::byte>>(std::move(message));
    arriving_ = held.get();
    released_early_ = false;
    const bool kept = connection.received(*held, held.get());
    arriving_ = nullptr;
    FUZZ_CHECK(kept || !released_early_);
    if (kept && !released_early_) {
      auto* const key = held.get();
      kept_.emplace(key, std::move(held));
    }
  }
  // One transfer or answer ends; `which` chooses. False when none is under way.
  bool progress(Connection& connection, uint8_t which, bool success = true) {
    sends_ = 0;
    while (!waiting_.empty() && grant(*waiting_.front())) {
      Task& task = *waiting_.front();
      waiting_.pop_front();
      connection.chunks_ready(task);
    }
    const size_t all = fetching_.size() + answering_.size();
    if (all == 0) return false;
    size_t index = which % all;
    if (index < fetching_.size()) {
      Task& task = **std::next(fetching_.begin(), ptrdiff_t(index));
      fetching_.erase(&task);
      connection.fetched(task, success && !gone);
    } else {
      index -= fetching_.size();
      Task& task = **std::next(answering_.begin(), ptrdiff_t(index));
      answering_.erase(&task);
      connection.sent(task);
    }
    return true;
  }
  // The connection under it ends: transfers fail, answers are flushed.
  void end(Connection& connection) {
    gone = true;
    while (progress(connection, 0, false)) {
    }
    connection.closed();
    while (progress(connection, 0, false)) {
    }
    FUZZ_CHECK(connection.idle() && waiting_.empty() && chunks_.empty());
    FUZZ_CHECK(free_chunks_.size() == memory_.size());
  }

  std::vector<std::byte> take_sent() { return std::exchange(last_sent_, {}); }
  size_t under_way() const { return taken_.size(); }
  // The commands that may be sent now, by the window of the last PDU.
  uint32_t window() const { return window_->max_cmd_sn + 1 - window_->exp_cmd_sn; }

  bool gone = false, ending = false, invalidates = true;
  std::byte fill{};
  uint8_t last_status = 0xff;
  std::vector<std::byte> pushed;
  Nanoseconds clock{1};

 private:
  static constexpr uint16_t kChunks = 20;  // a little more than one command may take

  bool grant(Task& task) {
    const uint32_t count = wanted_.at(&task);
    if (free_chunks_.size() < count) return false;
    for (uint32_t i = 0; i < count; ++i) {
      task.chunks[i] = free_chunks_.back();
      chunks_[&task].push_back(free_chunks_.back());
      free_chunks_.pop_back();
    }
    task.chunk_count = count;
    return true;
  }

  // Every PDU that goes out.
  void note(std::span<const std::byte> message) {
    last_sent_.assign(message.begin(), message.end());
    FUZZ_CHECK(message.size() == iscsi::kIserHeaderSize || message.size() >= kHeaders);
    if (message.size() == iscsi::kIserHeaderSize) return;  // a HelloReply
    const auto header = iscsi::decode_common(bhs(message));
    FUZZ_CHECK(header.ahs_words == 0);
    FUZZ_CHECK(message.size() == kHeaders + (header.data_length + 3) / 4 * 4);
    iscsi::Window window;
    bool counts = true;
    switch (header.op) {
      case Op::kNopIn: {
        const auto pdu = iscsi::NopIn::decode(bhs(message));
        window = pdu.window;
        counts = pdu.task_tag != iscsi::kReservedTag;  // an answer, no ping of ours
        break;
      }
      case Op::kScsiResponse:
        window = iscsi::ScsiResponse::decode(bhs(message)).window;
        break;
      case Op::kTaskResponse:
        window = iscsi::TaskResponse::decode(bhs(message)).window;
        break;
      case Op::kLoginResponse:
        window = iscsi::LoginResponse::decode(bhs(message)).window;
        break;
      case Op::kTextResponse:
        window = iscsi::TextResponse::decode(bhs(message)).window;
        break;
      case Op::kLogoutResponse:
        window = iscsi::LogoutResponse::decode(bhs(message)).window;
        break;
      case Op::kReject:
        window = iscsi::Reject::decode(bhs(message)).window;
        break;
      default:
        FUZZ_CHECK(!"a PDU that targets do not send");
    }
    // A login may name any first StatSN and CmdSN.
    if (header.op != Op::kLoginResponse && window_.has_value()) {
      FUZZ_CHECK(window.stat_sn == next_stat_sn_);
      FUZZ_CHECK(!iscsi::sn_less(window.exp_cmd_sn, window_->exp_cmd_sn));
      FUZZ_CHECK(!iscsi::sn_less(window.max_cmd_sn, window_->max_cmd_sn));
      FUZZ_CHECK(window.max_cmd_sn + 1 - window.exp_cmd_sn <= kQueueDepth);
    }
    next_stat_sn_ = window.stat_sn + (counts ? 1 : 0);
    window_ = window;
  }

  const std::string name_ = "127.0.0.1:3260";
  std::vector<std::unique_ptr<Task>> tasks_;
  std::vector<Task*> free_;
  std::set<Task*> taken_, fetching_, answering_;
  std::deque<Task*> waiting_;
  std::map<Task*, uint32_t> wanted_;
  std::map<Task*, std::vector<uint16_t>> chunks_;
  // Chunks, made when they are first used; each by itself, so that a step over its end is seen.
  std::array<std::vector<std::byte>, kChunks> memory_;
  std::vector<uint16_t> free_chunks_ = [] {
    std::vector<uint16_t> all;
    for (uint16_t i = 0; i < kChunks; ++i) all.push_back(i);
    return all;
  }();
  std::map<void*, std::unique_ptr<std::vector<std::byte>>> kept_;
  void* arriving_ = nullptr;
  bool released_early_ = false;
  uint32_t sends_ = 0;
  std::vector<std::byte> last_sent_;
  std::optional<iscsi::Window> window_;
  uint32_t next_stat_sn_ = 0;
};

inline void fixed_random(std::span<uint8_t> out) { std::ranges::fill(out, uint8_t{0x5a}); }

template <typename Pdu>
std::vector<std::byte> message_of(const Pdu& pdu, std::span<const std::byte> data = {},
                                  const IserControl& iser = {}) {
  std::vector<std::byte> message(kHeaders + data.size());
  const std::span<std::byte> out(message);
  iser.encode(out.template first<iscsi::kIserHeaderSize>());
  pdu.encode(out.template subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
  std::ranges::copy(data, message.begin() + kHeaders);
  return message;
}

// An initiator that plays by the rules.
class Initiator {
 public:
  Initiator(Site& site, const iscsi::Limits& limits)
      : connection(std::make_unique<Connection>(site, site.worker(0), link, limits)) {}
  ~Initiator() {
    link.end(*connection);
    connection.reset();
  }

  bool log_in(const char* name, const char* target, const iscsi::Limits& limits) {
    iscsi::InitiatorLoginOptions options;
    options.initiator = name;
    if (target != nullptr) options.target = target;
    options.isid = {0x80, 0, 0, 0, 0, 1};
    options.limits = limits;
    options.random = fixed_random;
    iscsi::InitiatorLogin login(options);
    std::optional<iscsi::InitiatorLogin::Request> next = login.first();
    while (next) {
      link.receive(*connection, message_of(next->header, std::as_bytes(std::span(next->text))));
      link.progress(*connection, 0);
      const std::vector<std::byte> answer = link.take_sent();
      if (answer.size() < kHeaders) return false;
      const auto response = iscsi::LoginResponse::decode(bhs(answer));
      const std::string_view text(reinterpret_cast<const char*>(answer.data()) + kHeaders,
                                  response.data_length);
      std::optional<iscsi::InitiatorLogin::Request> following;
      if (!login.on_response(response, text, following).ok()) return false;
      next = std::move(following);
    }
    cmd_sn = 1;
    return connection->full_feature();
  }
  uint8_t execute(const scsi::Cdb& cdb, uint32_t length, bool write) {
    const iscsi::ScsiCommand pdu{.read = length != 0 && !write,
                                 .write = write,
                                 .task_tag = ++tag,
                                 .expected_length = length,
                                 .cmd_sn = cmd_sn++,
                                 .cdb = cdb};
    const IserControl iser{.write_valid = write,
                           .read_valid = !write,
                           .write_stag = 0x88,
                           .write_va = 0x2000,
                           .read_stag = 0x77,
                           .read_va = 0x1000};
    link.receive(*connection, message_of(pdu, {}, iser));
    while (link.progress(*connection, 0)) {
    }
    FUZZ_CHECK(!link.ending);
    return link.last_status;
  }

  MemoryLink link;
  std::unique_ptr<Connection> connection;
  uint32_t cmd_sn = 1;
  uint32_t tag = 0;
};

}  // namespace mrpool::iser_target
