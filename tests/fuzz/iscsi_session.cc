// iSCSI PDUs against a live target: one connection that logs in or not and then sends any PDUs,
// over a Link of memory whose transfers finish when the input says so. Another initiator uses a
// target of its own beside it.
//
// Whatever comes in: each command is answered at most once; RDMA goes only to and from the key and
// range its command named; StatSN, ExpCmdSN and MaxCmdSN move as RFC 7143 §4.2.2 has it; every
// receive that was kept is given back once, and the window is open again when all is answered; when
// the connection is gone, so are its tasks, chunks and receives; the other initiator finds its data
// as it was.
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "examples/iscsi/initiator_login.h"
#include "examples/iser_target/connection.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/reactor.h"

namespace mrpool::iser_target {
namespace {

using iscsi::IserControl;
using iscsi::Op;

constexpr char kOpen[] = "iqn.2026-11.org.example:open";
constexpr char kSecured[] = "iqn.2026-11.org.example:chap";
constexpr char kPrivate[] = "iqn.2026-11.org.example:private";
constexpr char kAttacker[] = "iqn.2026-11.org.example:attacker";
constexpr char kHonest[] = "iqn.2026-11.org.example:honest";

std::span<const std::byte, iscsi::kBhsSize> bhs(std::span<const std::byte> message) {
  return message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
}

// What the connection does, watched.
class MemoryLink final : public Link {
 public:
  ~MemoryLink() { FUZZ_CHECK(taken_.empty() && kept_.empty()); }

  Task* take_task() override {
    if (taken_.size() == kTasks) return nullptr;
    if (free_.empty()) {
      tasks_.push_back(std::make_unique<Task>(execution_done()));
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
  // A receive may be released before received() has said that it is kept.
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
    // The key stands for the data behind what came unsolicited.
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
  // Commands that may be sent now, as the last PDU said.
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

void fixed_random(std::span<uint8_t> out) { std::ranges::fill(out, uint8_t{0x5a}); }

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

// What is served: the open target may lose its second unit, or go altogether.
Config configuration(uint8_t which) {
  Config config;
  config.listen = {"uiwarp://127.0.0.1:3260"};
  if ((which & 2) == 0) {
    config.targets.push_back({.name = kOpen, .luns = {"ram:64KiB"}});
    if ((which & 1) == 0) config.targets.back().luns.push_back("ram:64KiB,bs=4096");
  }
  config.targets.push_back(
      {.name = kSecured,
       .luns = {"ram:64KiB"},
       .authentication = {.incoming = iscsi::Credentials{"user", "a secret nobody knows"}}});
  config.targets.push_back({.name = kPrivate, .luns = {"ram:64KiB"}, .initiators = {kHonest}});
  return config;
}

// An initiator that plays by the rules.
class Initiator {
 public:
  Initiator(Site& site, const iscsi::Limits& limits)
      : connection(std::make_unique<Connection>(site, link, limits, fixed_random)) {}
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

class HonestInitiator {
 public:
  explicit HonestInitiator(Site& site) : initiator_(site, {}) {
    FUZZ_CHECK(initiator_.log_in(kHonest, kPrivate, {}));
    FUZZ_CHECK(initiator_.execute({}, 0, false) == 2);  // the power-on attention
    initiator_.link.fill = std::byte{0xa5};
    FUZZ_CHECK(initiator_.execute({0x2a, 0, 0, 0, 0, 3, 0, 0, 2}, 1024, true) == 0);
  }
  void check() {
    FUZZ_CHECK(initiator_.execute({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 1024, false) == 0);
    FUZZ_CHECK(initiator_.link.pushed.size() == 1024);
    FUZZ_CHECK(std::ranges::all_of(initiator_.link.pushed,
                                   [](std::byte b) { return b == std::byte{0xa5}; }));
  }

 private:
  Initiator initiator_;
};

class Attacker {
 public:
  Attacker(Site& site, Reactor& reactor, fuzz::Input& input)
      : site_(site),
        reactor_(reactor),
        input_(input),
        mode_(input.take<uint8_t>()),
        limits_{.initial_r2t = (mode_ & 4) == 0,
                .first_burst = (mode_ & 4) == 0 ? 65536 : kFirstBurstUnsolicited,
                .unsolicited_pdus = kMaxPieces},
        initiator_(site, limits_) {
    link().invalidates = (mode_ & 16) == 0;
    if ((mode_ & 1) == 0) {
      FUZZ_CHECK(initiator_.log_in(kAttacker, (mode_ & 2) != 0 ? nullptr : kOpen, limits_));
    }
  }

  void run() {
    for (int i = 0; i < 64 && !input_.empty() && !link().gone; ++i) {
      step();
      // Nobody knows its secret.
      FUZZ_CHECK(site_.find(kSecured)->connections().empty());
      if ((mode_ & 8) == 0) {
        while (link().progress(connection(), 0)) {
        }
      }
    }
    while (link().progress(connection(), 0)) {
    }
    if (!connection().full_feature() || link().ending) return;
    // What is left waits for data that the initiator announced.
    FUZZ_CHECK(connection().active() == link().under_way());
    if (!connection().idle()) return;
    // With nothing under way the whole window is open again.
    send(iscsi::NopOut{.immediate = true, .task_tag = next_tag(), .cmd_sn = initiator_.cmd_sn});
    FUZZ_CHECK(link().ending || link().window() == kQueueDepth);
  }

 private:
  Connection& connection() { return *initiator_.connection; }
  MemoryLink& link() { return initiator_.link; }

  void step() {
    const uint8_t choice = input_.take<uint8_t>();
    switch (choice & 15) {
      case 0:
      case 1:
      case 2:
      case 3:
        return command(choice >> 4);
      case 4:
        return data_out(choice >> 4);
      case 5:
        return login();
      case 6:
        return text(choice >> 4);
      case 7:
        return manage(choice >> 4);
      case 8:
        return nop(choice >> 4);
      case 9: {
        iscsi::LogoutRequest pdu{.immediate = (choice & 16) != 0,
                                 .reason = uint8_t(input_.take<uint8_t>() & 3),
                                 .task_tag = next_tag(),
                                 .cmd_sn = cmd_sn((choice & 16) != 0)};
        return send(pdu);
      }
      case 10: {  // any PDU
        std::vector<std::byte> message(kHeaders);
        const auto raw = input_.take_bytes(kHeaders);
        std::ranges::copy(raw, message.begin());
        const auto data = input_.take_bytes(input_.take<uint8_t>());
        message.insert(message.end(), data.begin(), data.end());
        if ((choice & 16) != 0) message[0] = std::byte{0x10};  // a control message
        return link().receive(connection(), std::move(message));
      }
      case 11: {  // a message of any length
        const auto raw = input_.take_bytes(input_.take<uint8_t>() % (kHeaders + 8));
        return link().receive(connection(), {raw.begin(), raw.end()});
      }
      case 12: {
        iscsi::IserHello hello{.max_version = input_.take<uint8_t>(),
                               .min_version = input_.take<uint8_t>(),
                               .ird = input_.take<uint16_t>()};
        std::vector<std::byte> message(iscsi::kIserHeaderSize);
        hello.encode(std::span(message).first<iscsi::kIserHeaderSize>());
        return link().receive(connection(), std::move(message));
      }
      case 13:
        link().clock += std::chrono::milliseconds(100 * input_.take<uint8_t>());
        return connection().tick();
      case 14:  // the daemon is told to serve something else
        FUZZ_CHECK(site_.apply(configuration(choice >> 4), reactor_).ok());
        return site_.sweep();
      default:
        link().progress(connection(), input_.take<uint8_t>(), (choice & 32) == 0);
        return;
    }
  }

  template <typename Pdu>
  void send(const Pdu& pdu, std::span<const std::byte> data = {}, const IserControl& iser = {}) {
    link().receive(connection(), message_of(pdu, data, iser));
  }
  uint32_t next_tag() { return ++initiator_.tag & 0xff; }
  // The number the target expects, most of the time.
  uint32_t cmd_sn(bool immediate) {
    const uint8_t skip = (mode_ & 32) == 0 ? 0 : input_.take<uint8_t>();
    if (immediate) return initiator_.cmd_sn + skip;
    return initiator_.cmd_sn++ + skip;
  }

  void command(uint8_t form) {
    iscsi::ScsiCommand pdu;
    const uint8_t template_number = input_.take<uint8_t>();
    pdu.cdb = cdb(template_number);
    const uint8_t flags = input_.take<uint8_t>();
    pdu.read = (flags & 1) != 0;
    pdu.write = (flags & 2) != 0;
    pdu.final = (flags & 4) == 0;
    pdu.immediate = (flags & 8) != 0;
    pdu.task_tag = (flags & 16) != 0 ? input_.take<uint8_t>() : next_tag();
    pdu.lun = (flags & 32) != 0 ? uint64_t{input_.take<uint8_t>()} << 48 : 0;
    pdu.expected_length =
        (flags & 64) != 0 ? input_.take<uint32_t>() : input_.take<uint8_t>() * uint32_t{512};
    pdu.cmd_sn = cmd_sn(pdu.immediate);
    std::vector<std::byte> data;
    if ((form & 1) != 0) data.assign(input_.take<uint8_t>() * size_t{32}, std::byte{0x3c});
    if ((form & 2) != 0) {
      const auto raw = input_.take_bytes(input_.take<uint8_t>());
      data.insert(data.end(), raw.begin(), raw.end());
    }
    pdu.data_length = uint32_t(data.size());
    if ((form & 4) != 0) pdu.data_length += input_.take<uint8_t>();  // more than there is
    if ((form & 8) != 0) {
      pdu.ahs_words = input_.take<uint8_t>();
      data.insert(data.begin(), std::min<size_t>(size_t{pdu.ahs_words} * 4, 64), std::byte{});
    }
    const uint8_t keys = ~flags >> 7;  // none when the highest bit is set
    const IserControl iser{.write_valid = keys != 0 && pdu.write,
                           .read_valid = keys != 0 && pdu.read,
                           .write_stag = 0x88,
                           .write_va = template_number == 0xff ? ~uint64_t{0} : 0x2000,
                           .read_stag = 0x77,
                           .read_va = 0x1000};
    send(pdu, data, iser);
  }

  scsi::Cdb cdb(uint8_t number) {
    constexpr uint8_t kOpcodes[] = {0x28, 0x2a, 0x00, 0x12, 0xa0, 0x25, 0x9e, 0x1a, 0x15, 0x03,
                                    0x2e, 0x2f, 0x35, 0x41, 0x42, 0x89, 0x5e, 0x5f, 0xa3, 0x1b};
    scsi::Cdb cdb{};
    if (number >= 0xe0) {
      input_.fill(std::as_writable_bytes(std::span(cdb)));
      return cdb;
    }
    cdb[0] = kOpcodes[number % std::size(kOpcodes)];
    cdb[1] = number >= 0x80 ? input_.take<uint8_t>() : 0;
    cdb[5] = input_.take<uint8_t>() % 160;
    cdb[7] = number >= 0x40 ? uint8_t(input_.take<uint8_t>() % 16) : 0;
    cdb[8] = input_.take<uint8_t>();
    if (cdb[0] == 0x89) {  // COMPARE AND WRITE has its numbers elsewhere
      cdb[13] = cdb[8];
      cdb[9] = cdb[5];
      cdb[5] = 0;
    }
    return cdb;
  }

  void data_out(uint8_t form) {
    iscsi::DataOut pdu{
        .final = (form & 1) == 0,
        .task_tag = (form & 2) != 0 ? input_.take<uint8_t>() : initiator_.tag & 0xff};
    if ((form & 4) != 0) pdu.transfer_tag = input_.take<uint32_t>();
    pdu.data_sn = input_.take<uint8_t>();
    pdu.buffer_offset = input_.take<uint8_t>() * uint32_t{512};
    const std::vector<std::byte> data(input_.take<uint8_t>() * size_t{32}, std::byte{0x4d});
    pdu.data_length = uint32_t(data.size());
    send(pdu, data);
  }

  void login() {
    iscsi::LoginRequest pdu;
    const uint8_t flags = input_.take<uint8_t>();
    pdu.transit = (flags & 1) != 0;
    pdu.more = (flags & 2) != 0;
    pdu.current_stage = flags >> 2 & 3;
    pdu.next_stage = flags >> 4 & 3;
    pdu.task_tag = flags >> 6;
    pdu.isid = {0x80, 0, 0, 0, 0, uint8_t(flags >> 6)};
    pdu.cmd_sn = input_.take<uint8_t>();
    std::string text;
    const uint8_t names = input_.take<uint8_t>();
    const auto add = [&text](std::string_view pair) {
      text.append(pair);
      text.push_back('\0');
    };
    if ((names & 1) != 0) add(std::string("InitiatorName=") + kAttacker);
    if ((names & 2) != 0) add(std::string("TargetName=") + ((names & 64) != 0 ? kSecured : kOpen));
    if ((names & 4) != 0) add("SessionType=Discovery");
    if ((names & 8) != 0) add("AuthMethod=CHAP,None");
    if ((names & 16) != 0) add("CHAP_A=5,7");
    if ((names & 32) != 0) add("RDMAExtensions=Yes");
    const auto raw = input_.take_bytes(input_.take<uint8_t>());
    text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
    pdu.data_length = uint32_t(text.size());
    send(pdu, std::as_bytes(std::span(text)));
    initiator_.cmd_sn = pdu.cmd_sn;
  }

  void text(uint8_t form) {
    iscsi::TextRequest pdu{.immediate = (form & 1) != 0,
                           .final = (form & 2) == 0,
                           .more = (form & 2) != 0,
                           .task_tag = next_tag(),
                           .cmd_sn = cmd_sn((form & 1) != 0)};
    if ((form & 4) != 0) pdu.transfer_tag = input_.take<uint8_t>();
    std::string words = (form & 8) != 0 ? std::string("SendTargets=All") + '\0' : std::string();
    const auto raw = input_.take_bytes(input_.take<uint8_t>());
    words.append(reinterpret_cast<const char*>(raw.data()), raw.size());
    pdu.data_length = uint32_t(words.size());
    send(pdu, std::as_bytes(std::span(words)));
  }

  void manage(uint8_t form) {
    const uint8_t which = input_.take<uint8_t>();
    iscsi::TaskRequest pdu{
        .immediate = (form & 1) == 0,
        .function = iscsi::TaskFunction(which & 15),
        .lun = (form & 2) != 0 ? uint64_t{which} << 48 : 0,
        .task_tag = next_tag(),
        .referenced_tag = (form & 4) != 0 ? input_.take<uint8_t>() : (initiator_.tag - 1) & 0xff,
        .cmd_sn = cmd_sn((form & 1) == 0)};
    send(pdu);
  }

  void nop(uint8_t form) {
    iscsi::NopOut pdu{.immediate = (form & 1) == 0,
                      .task_tag = (form & 2) != 0 ? iscsi::kReservedTag : next_tag(),
                      .cmd_sn = cmd_sn((form & 1) == 0)};
    const std::vector<std::byte> data(input_.take<uint8_t>() * size_t{32}, std::byte{0x5e});
    pdu.data_length = uint32_t(data.size());
    send(pdu, data);
  }

  Site& site_;
  Reactor& reactor_;
  fuzz::Input& input_;
  const uint8_t mode_;
  const iscsi::Limits limits_;
  Initiator initiator_;
};

void run(fuzz::Input& input) {
  sim::SimReactor reactor;
  const auto site = *Site::create(configuration(0), reactor);
  HonestInitiator honest(*site);
  Attacker(*site, reactor, input).run();
  honest.check();
  site->sweep();
  for (const auto& target : site->targets()) {
    FUZZ_CHECK(target->connections().size() == (target->config().name == kPrivate ? 1u : 0u));
  }
}

}  // namespace
}  // namespace mrpool::iser_target

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  mrpool::iser_target::run(input);
  return 0;
}
