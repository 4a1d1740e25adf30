// Hosts for the fuzz target nvme_controller: queues that send any bytes to a target service in the
// same thread, and keep account of what the target may do in return.
//
// HostQueue holds, whatever was sent: each capsule is answered at most once, with a status that
// exists; a byte of the host changes only while a command that moves data to the host lends it.
//
// Thread safety: one thread. Ownership: the world outlives its queues.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/nvmf/target/service.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/faults.h"
#include "mrpool/device.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "transport/uiwarp/open.h"

namespace mrpool::fuzz {

inline constexpr char kOpenNqn[] = "nqn.2024-01.org.example:open";
inline constexpr char kPrivateNqn[] = "nqn.2024-01.org.example:private";
inline constexpr char kAttacker[] = "nqn.2024-01.org.example:attacker";
inline constexpr char kHonest[] = "nqn.2024-01.org.example:honest";
inline constexpr uint32_t kBlock = 512;  // of the namespace with nsid 1
inline constexpr uint32_t kBlocks = 16;

// A target with two subsystems: one open to all, one for the honest host only.
class NvmeWorld {
 public:
  // With `faults` the storage of the open subsystem is what they make of it.
  explicit NvmeWorld(std::shared_ptr<storage::FaultPlan> open_faults) {
    nvmf_target::Service::Options options;
    options.engine.staging = 2 << 20;  // the least that the longest Compare needs
    options.engine.mrs = 4;
    options.open_device = [this](const Address&) { return target_device_; };
    options.open_volume = [this](std::string_view spec, const storage::OpenOptions& how) {
      auto volume = storage::open(spec, how);
      if (!volume.ok() || faults_ == nullptr) return volume;
      return absl::StatusOr<std::shared_ptr<storage::Volume>>(
          storage::with_faults(*volume, faults_));
    };
    service = std::make_unique<nvmf_target::Service>(options);
    FUZZ_CHECK(service->add_worker(reactor).ok());
    FUZZ_CHECK(serve({closed()}));
    faults_ = std::move(open_faults);
    FUZZ_CHECK(serve_open(true));
  }
  ~NvmeWorld() {
    bool stopped = false;
    service->stop([&] { stopped = true; });
    for (int i = 0; i < 100'000 && !stopped; ++i) reactor.step();
    FUZZ_CHECK(stopped);
    FUZZ_CHECK(service->engine().held() == 0);
    FUZZ_CHECK(service->engine().connections() == 0);
    FUZZ_CHECK(service->target().controllers() == 0);
  }

  // The open subsystem, whose second namespace comes and goes.
  bool serve_open(bool second_namespace) {
    nvmf_target::SubsystemConfig open;
    open.nqn = kOpenNqn;
    open.namespaces = {{.nsid = 1, .storage = "ram:8KiB,bs=512", .block_size = kBlock}};
    if (second_namespace) open.namespaces.push_back({.nsid = 2, .storage = "ram:64KiB"});
    return serve({open, closed()});
  }
  void run_for(Nanoseconds time) {
    const Nanoseconds end = reactor.now() + time;
    while (reactor.now() < end && reactor.step()) {
    }
  }

  sim::SimReactor reactor;
  std::shared_ptr<sim::SimNetwork> network =
      std::make_shared<sim::SimNetwork>(reactor, sim::NetworkOptions{});
  std::shared_ptr<Device> host_device = uiwarp::make_device({.seed = 11}, network);
  std::unique_ptr<nvmf_target::Service> service;

 private:
  static nvmf_target::SubsystemConfig closed() {
    nvmf_target::SubsystemConfig closed;
    closed.nqn = kPrivateNqn;
    closed.hosts = {{kHonest}};
    closed.namespaces = {{.nsid = 1, .storage = "ram:16KiB,bs=512", .block_size = kBlock}};
    return closed;
  }
  bool serve(std::vector<nvmf_target::SubsystemConfig> subsystems) {
    nvmf_target::Config config;
    config.listen = {"uiwarp://127.0.0.1:4420"};
    config.subsystems = std::move(subsystems);
    return complete(config).ok() && service->apply(config).ok();
  }

  std::shared_ptr<storage::FaultPlan> faults_;
  std::shared_ptr<Device> target_device_ = uiwarp::make_device({.seed = 12}, network);
};

// A stretch of HostQueue::memory.
struct Stretch {
  size_t offset = 0;
  size_t length = 0;
};

class HostQueue final : public QpEvents {
 public:
  static constexpr uint32_t kEntries = 16;
  // guard | lent for reading and writing | guard | lent for reading | guard
  static constexpr size_t kGuard = 1024, kLent = 20 << 10, kReadOnly = 2048;
  static constexpr size_t kReadOnlyAt = kGuard + kLent + kGuard;
  static constexpr size_t kMemory = kReadOnlyAt + kReadOnly + kGuard;
  static constexpr size_t kMaxCapsule = 64 + 5120;  // more than the target takes

  struct Answer {
    bool got = false;
    nvme::Status status{};
    uint64_t result = 0;
  };

  HostQueue(NvmeWorld& world, uint16_t queue_id) : id(queue_id), world_(world) {
    shadow_ = memory;
    pd_ = *world.host_device->alloc_pd();  // its keys open nothing on another connection
    lent_ = *pd_->reg_mr(std::span(memory).subspan(kGuard, kLent),
                         Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite);
    read_only_ =
        *pd_->reg_mr(std::span(memory).subspan(kReadOnlyAt, kReadOnly), Access::kRemoteRead);
    capsules_.resize(kSends * kMaxCapsule);
    capsule_mr_ = *pd_->reg_mr(capsules_, Access::kNone);
    cqes_.resize(kReceives * sizeof(nvme::Cqe));
    cqe_mr_ = *pd_->reg_mr(cqes_, Access::kLocalWrite);
    cq_ = *world.host_device->create_cq(world.reactor, {.depth = kSends + kReceives});
    nvme::RdmaRequest request;
    request.queue_id = queue_id;
    request.host_receive_size = uint16_t(kEntries);
    request.host_send_size0 = uint16_t(kEntries - 1);
    QpOptions options;
    options.send_cq = options.recv_cq = cq_.get();
    options.max_send_wr = kSends;
    options.max_recv_wr = kReceives;
    ConnectParams params;
    params.private_data = nvme::bytes_of(request);
    qp_ = *world.host_device->connect(*Address::parse("uiwarp://127.0.0.1:4420"), *pd_, options,
                                      params, *this);
    for (uint32_t i = 0; i < kReceives; ++i) {
      receives_.push_back(std::make_unique<Received>(*this, i));
      receives_.back()->post();
    }
    for (int i = 0; i < 10'000 && !up && !down; ++i) world.reactor.step();
    FUZZ_CHECK(up && !down);
  }
  ~HostQueue() {
    qp_.reset();
    check_memory();
  }

  // The whole set-up of a queue; returns the controller's id.
  uint16_t connect(std::string_view subsystem, std::string_view host, uint16_t controller) {
    const nvme::ConnectData data = connect_data(subsystem, host, controller);
    nvme::ConnectCommand command;
    command.command_id = uint16_t{1000};
    command.queue_id = id;
    command.sq_size0 = uint16_t(kEntries - 1);
    command.sgl = nvme::SglDescriptor::in_capsule(0, sizeof data);
    const Answer answer = execute(nvme::bytes_of(command), nvme::bytes_of(data));
    FUZZ_CHECK(answer.got && ok(answer.status));
    if (id == 0) {
      nvme::PropertyCommand enable;
      enable.type = nvme::FabricsType::kPropertySet;
      enable.command_id = uint16_t{1000};
      enable.offset = uint32_t(nvme::Property::kCc);
      enable.value = uint64_t(nvme::kCcEnable | nvme::kCcEntrySizes);
      FUZZ_CHECK(ok(execute(nvme::bytes_of(enable)).status));
    }
    return uint16_t(answer.result);
  }
  static nvme::ConnectData connect_data(std::string_view subsystem, std::string_view host,
                                        uint16_t controller) {
    nvme::ConnectData data{};
    std::memset(data.hostid, 7, sizeof data.hostid);
    data.cntlid = nvme::le(controller);
    nvme::set_field(data.subsysnqn, subsystem);
    nvme::set_field(data.hostnqn, host);
    return data;
  }

  RemoteBuffer lent(size_t offset, uint64_t length) const {
    return {RemoteAddr{lent_->remote_addr().value + offset}, length, lent_->rkey()};
  }
  RemoteBuffer read_only(size_t offset, uint64_t length) const {
    return {RemoteAddr{read_only_->remote_addr().value + offset}, length, read_only_->rkey()};
  }
  // Where in `memory` a descriptor points; nothing when its key or range is not what was lent.
  bool find(const RemoteBuffer& buffer, bool for_writing, Stretch& out) const {
    const bool lent = buffer.rkey == lent_->rkey();
    if (!lent && (for_writing || buffer.rkey != read_only_->rkey())) return false;
    const size_t size = lent ? kLent : kReadOnly;
    const uint64_t offset = buffer.addr.value - (lent ? lent_ : read_only_)->remote_addr().value;
    if (offset > size || buffer.length > size - offset) return false;
    out = {size_t(offset) + (lent ? kGuard : kReadOnlyAt), size_t(buffer.length)};
    return true;
  }

  // Sends a capsule. `writes` are what its command lends to be written. False when the queue is
  // down or has nothing to send with.
  bool send(std::span<const std::byte> sqe, std::span<const std::byte> behind = {},
            std::vector<Stretch> writes = {}) {
    const size_t bytes = sqe.size() + behind.size();
    if (down || bytes > kMaxCapsule || bytes == 0) return false;
    Send* send = nullptr;
    for (auto& each : sends_) {
      if (!each.busy) send = &each;
    }
    if (send == nullptr) return false;
    const size_t at = size_t(send - sends_.data()) * kMaxCapsule;
    std::copy(behind.begin(), behind.end(),
              std::copy(sqe.begin(), sqe.end(), capsules_.begin() + ptrdiff_t(at)));
    const Sge sge = capsule_mr_->sge(at, uint32_t(bytes));
    WorkRequest wr;
    wr.completion = send;
    wr.sges = {&sge, 1};
    send->busy = true;
    // Before the post: a command is answered once it is sent.
    if (bytes >= sizeof(nvme::Sqe)) {
      uint16_t command_id = 0;
      std::memcpy(&command_id, &capsules_[at + 2], sizeof command_id);
      pending.push_back(
          {nvme::le(command_id), std::to_integer<uint8_t>(capsules_[at]), std::move(writes)});
    }
    if (qp_->post_send(wr).ok()) return true;
    send->busy = false;
    if (bytes >= sizeof(nvme::Sqe)) pending.pop_back();
    return false;
  }
  // Sends and waits for the answer.
  Answer execute(std::span<const std::byte> sqe, std::span<const std::byte> behind = {},
                 std::vector<Stretch> writes = {}) {
    if (!send(sqe, behind, std::move(writes))) return {};
    last = {};
    settle();
    return last;
  }
  // Until everything is answered that will be. Whatever was asked, it is answered, or the
  // connection ends: within the target's own time-outs.
  void settle() {
    const Nanoseconds limit = world_.reactor.now() + std::chrono::seconds(60);
    while (!down && unanswered() > 0) {
      FUZZ_CHECK(world_.reactor.now() < limit);
      world_.reactor.step();
    }
    check_memory();
  }
  // Commands without an answer, Asynchronous Event Requests not counted.
  size_t unanswered() const {
    size_t n = 0;
    for (const Pending& each : pending) {
      if (id != 0 || each.opcode != uint8_t(nvme::AdminOpcode::kAsyncEventRequest)) ++n;
    }
    return n;
  }
  void check_memory() {
    std::vector<std::byte> seen = memory;
    for (const Pending& each : pending) {
      for (const Stretch& s : each.writes) {
        std::memcpy(&seen[s.offset], &shadow_[s.offset], s.length);
      }
    }
    FUZZ_CHECK(std::memcmp(seen.data(), shadow_.data(), kMemory) == 0);
  }
  // The host writes its own memory.
  void put(size_t at, std::span<const std::byte> bytes) {
    std::memcpy(&memory[at], bytes.data(), bytes.size());
    std::memcpy(&shadow_[at], bytes.data(), bytes.size());
  }
  void abort() { qp_->abort(); }

  void on_connected(Qp&, const ConnectionInfo&) override { up = true; }
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect&) override {
    down = true;
    for (const Pending& each : pending) accept(each);
    pending.clear();
  }

  struct Pending {
    uint16_t command_id = 0;
    uint8_t opcode = 0;
    std::vector<Stretch> writes;
  };

  const uint16_t id;
  bool up = false;
  bool down = false;
  std::vector<std::byte> memory = pattern();
  std::vector<Pending> pending;
  Answer last;

 private:
  static constexpr uint32_t kSends = 32;
  static constexpr uint32_t kReceives = 64;

  // What the memory holds at first; bytes that repeat nowhere near.
  static const std::vector<std::byte>& pattern() {
    static const std::vector<std::byte> bytes = [] {
      std::vector<std::byte> made(kMemory);
      for (size_t i = 0; i < kMemory; ++i) made[i] = std::byte(i * 7 + i / 251);
      return made;
    }();
    return bytes;
  }

  struct Send : Completion {
    Send()
        : Completion([](Completion& self, const WorkCompletion&) {
            static_cast<Send&>(self).busy = false;
          }) {}
    bool busy = false;
  };
  struct Received : Completion {
    Received(HostQueue& q, uint32_t i)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            auto& me = static_cast<Received&>(self);
            if (wc.status != WcStatus::kSuccess) return;
            me.queue.answered(me.index, wc.byte_len);
            me.post();
          }),
          queue(q),
          index(i) {}
    void post() {
      const Sge sge = queue.cqe_mr_->sge(index * sizeof(nvme::Cqe), sizeof(nvme::Cqe));
      RecvRequest wr;
      wr.completion = this;
      wr.sges = {&sge, 1};
      (void)queue.qp_->post_recv(wr);
    }
    HostQueue& queue;
    const uint32_t index;
  };

  void answered(uint32_t index, uint32_t bytes) {
    FUZZ_CHECK(bytes == sizeof(nvme::Cqe));
    const auto cqe = nvme::read_struct<nvme::Cqe>(
        std::span(cqes_).subspan(index * sizeof(nvme::Cqe), sizeof(nvme::Cqe)));
    FUZZ_CHECK((cqe.status_field & 1) == 0 && cqe.sq_id == 0);
    // A status that has a name.
    FUZZ_CHECK(!nvme::to_string(cqe.status()).starts_with("status "));
    last = {true, cqe.status(), cqe.result};
    // A second command under an id in use is answered before the first.
    const bool conflict = nvme::code(cqe.status()) == nvme::Status::kCommandIdConflict;
    for (size_t i = 0; i < pending.size(); ++i) {
      const size_t at = conflict ? pending.size() - 1 - i : i;
      if (pending[at].command_id != cqe.command_id) continue;
      accept(pending[at]);
      pending.erase(pending.begin() + ptrdiff_t(at));
      return;
    }
    FUZZ_CHECK(!"an answer to no command, or a second one");
  }
  // What the command could write stays as it is from now on.
  void accept(const Pending& each) {
    for (const Stretch& s : each.writes) {
      std::memcpy(&shadow_[s.offset], &memory[s.offset], s.length);
    }
  }

  NvmeWorld& world_;
  std::vector<std::byte> shadow_;
  std::vector<std::byte> capsules_, cqes_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<Mr> lent_, read_only_, capsule_mr_, cqe_mr_;
  std::unique_ptr<Cq> cq_;
  std::array<Send, kSends> sends_;
  std::vector<std::unique_ptr<Received>> receives_;
  std::unique_ptr<Qp> qp_;
};

}  // namespace mrpool::fuzz
