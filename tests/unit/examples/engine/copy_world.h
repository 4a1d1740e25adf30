// The smallest protocol there is, on the engine, with its peer: for tests of the engine alone, on a
// virtual clock and a network in memory.
//
// A message of the peer names a stretch of its memory and where a copy of it goes there. The target
// reads the stretch into staging memory, writes it to its place, and answers with the message in
// the same chain. A copy of nothing is answered at once. Any peer that sends a message is admitted,
// as CopyProtocol decides.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "examples/engine/service.h"
#include "mrpool/device.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "transport/uiwarp/open.h"

namespace mrpool::engine::testing {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct CopyMessage {
  uint64_t from = 0;
  uint64_t to = 0;
  uint32_t key = 0;
  uint32_t length = 0;
  uint64_t number = 0;
};
static_assert(sizeof(CopyMessage) == 32);

class CopySession final : public Session {
 public:
  struct Command : Exchange {
    explicit Command(CopySession& owner) : session(owner), staging(*this) {}
    CopySession& session;
    struct Claim : StagingClaim {
      explicit Claim(Command& c)
          : StagingClaim([](StagingClaim& self) {
              Command& command = static_cast<Claim&>(self).command;
              command.session.fetch(command);
            }),
            command(c) {}
      Command& command;
    };
    CopyMessage message;
    Claim staging;
  };
  static constexpr uint32_t kCommands = 8;

  CopySession(Link& link, Staging& staging, Standing standing, std::string host, uint64_t& counter)
      : Session(link),
        staging_(staging),
        admitted_as_(standing),
        host_(std::move(host)),
        ended_(counter) {
    for (uint32_t i = 0; i < kCommands; ++i) {
      commands_.push_back(std::make_unique<Command>(*this));
      free_.push_back(commands_.back().get());
    }
  }

  void received(Receive& receive, std::span<std::byte> message) override {
    if (flow_ == nullptr) {
      for (const auto& command : commands_) link().bind(*command);
      if (!link().admit(admitted_as_, host_)) return link().drop("too many of its host");
      flow_ = staging_.flow(link().share(), this);
    }
    if (message.size() != sizeof(CopyMessage)) return link().drop("a message of no known length");
    Command& command = *free_.back();
    free_.pop_back();
    std::memcpy(&command.message, message.data(), sizeof command.message);
    link().release_receive(receive);
    if (command.message.length == 0) {
      const Answer end = answer(command);
      if (!link().respond(command, end)) finish(command);
      return;
    }
    if (staging_.take(command.staging, *flow_, chunks_for(command.message.length))) fetch(command);
  }
  void transferred(Exchange& exchange, bool success) override {
    Command& command = static_cast<Command&>(exchange);
    if (!success) {
      finish(command);
      return link().drop("a transfer failed");
    }
    const Answer end = answer(command);
    std::array<Sge, kMaxChunks> sges;
    const size_t count =
        staging_.sges(command.staging, 0, command.message.length, link().staging_key(), sges);
    if (!link().write(command, {sges.data(), count}, remote(command.message.to, command), &end)) {
      finish(command);
    }
  }
  void sent(Exchange& exchange) override { finish(static_cast<Command&>(exchange)); }
  void disconnected(const Disconnect&, std::string_view why) override {
    why_ = why;
    for (const auto& command : commands_) {
      if (!command->staging.waiting()) continue;
      staging_.cancel(command->staging);
      finish(*command);
    }
  }
  bool idle() const override { return free_.size() == kCommands && hold == 0; }
  void drained() override { ++ended_; }
  void tick(Nanoseconds) override { ++ticks; }

  uint32_t hold = 0;  // pretends that storage has so many requests
  uint32_t ticks = 0;

 private:
  static RemoteBuffer remote(uint64_t at, const Command& command) {
    return {RemoteAddr{at}, command.message.length, Rkey{command.message.key}};
  }
  void fetch(Command& command) {
    std::array<Sge, kMaxChunks> sges;
    const size_t count =
        staging_.sges(command.staging, 0, command.message.length, link().staging_key(), sges);
    if (!link().read(command, {sges.data(), count}, remote(command.message.from, command))) {
      finish(command);
    }
  }
  Answer answer(Command& command) {
    std::memcpy(command.answer_room().data(), &command.message, sizeof command.message);
    return {.bytes = sizeof command.message};
  }
  void finish(Command& command) {
    staging_.put(command.staging);
    free_.push_back(&command);
    if (idle() && link().closed()) link().session_idle();
  }

  Staging& staging_;
  const Standing admitted_as_;
  const std::string host_;
  uint64_t& ended_;
  std::shared_ptr<StagingFlow> flow_;  // since it is admitted
  std::string why_;
  std::vector<std::unique_ptr<Command>> commands_;
  std::vector<Command*> free_;
};

class CopyProtocol final : public Protocol {
 public:
  Verdict look(const ConnectionInfo& request, const DeviceCaps&) override {
    if (!request.private_data.empty()) {
      return {.why = "it says something", .private_data = {std::byte('n'), std::byte('o')}};
    }
    return {.accepted = true,
            .private_data = {std::byte('h'), std::byte('i')},
            .layout = {.receives = CopySession::kCommands,
                       .receive_bytes = 64,
                       .receive_stride = 64,
                       .exchanges = CopySession::kCommands,
                       .exchange_bytes = sizeof(CopySession::Command),
                       .answer_bytes = sizeof(CopyMessage)}};
  }
  std::vector<std::byte> no_resources() const override { return {std::byte('f')}; }
  std::unique_ptr<Session> make_session(Worker& worker, Link& link,
                                        const ConnectionInfo&) override {
    auto session = std::make_unique<CopySession>(link, worker.staging(), standing, host, ended);
    last = session.get();
    return session;
  }

  // What the next peers are admitted as.
  Standing standing = Standing::kMember;
  std::string host = "host";
  CopySession* last = nullptr;
  uint64_t ended = 0;  // sessions that came to their end in good order
};

class World {
 public:
  explicit World(Options options = {}) : service(with_small(options), protocol, open_device()) {
    for (uint32_t i = 0; i < options.threads; ++i) {
      EXPECT_TRUE(service.add_worker(reactor).ok());
    }
  }
  absl::Status listen(const std::vector<std::string>& addresses) {
    auto change = service.prepare(addresses);
    if (!change.ok()) return change.status();
    service.commit(*std::move(change));
    return absl::OkStatus();
  }
  bool until(const std::function<bool()>& done, int steps = 200'000) {
    for (int i = 0; i < steps && !done(); ++i) reactor.step();
    return done();
  }
  void run_for(Nanoseconds time) {
    const Nanoseconds end = reactor.now() + time;
    while (reactor.now() < end && reactor.step()) {
    }
  }
  bool stop() {
    bool stopped = false;
    service.stop([&] { stopped = true; });
    return until([&] { return stopped; });
  }

  sim::SimReactor reactor;
  std::shared_ptr<sim::SimNetwork> network =
      std::make_shared<sim::SimNetwork>(reactor, sim::NetworkOptions{});
  std::shared_ptr<Device> peer_device = uiwarp::make_device({.seed = 11}, network);
  std::unique_ptr<Pd> pd = std::move(*peer_device->alloc_pd());
  CopyProtocol protocol;
  // An address with options is opened as a device of its own, once that is there.
  bool second_device_up = false;
  Service service;

 private:
  static Options with_small(Options options) {
    options.staging = std::min(options.staging, uint64_t{4} * kChunk);
    return options;
  }
  OpenDevice open_device() {
    return [this, device = uiwarp::make_device({.seed = 12}, network)](
               const Address& address) -> absl::StatusOr<std::shared_ptr<Device>> {
      if (!address.options.empty() && !second_device_up) {
        return absl::NotFoundError("no such device");
      }
      return device;
    };
  }
};

// The other side: sends messages and keeps the answers.
class Peer final : public QpEvents {
 public:
  static constexpr size_t kHalf = 1 << 20;

  Peer(World& w, uint16_t port, std::string_view private_data = "") : world(w) {
    mr = std::move(*world.pd->reg_mr(
        memory, Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite));
    text_mr = std::move(*world.pd->reg_mr(text, Access::kLocalWrite));
    cq = std::move(*world.peer_device->create_cq(world.reactor, {.depth = 256}));
    QpOptions options;
    options.send_cq = options.recv_cq = cq.get();
    const auto bytes = std::as_bytes(std::span(private_data.data(), private_data.size()));
    qp = std::move(
        *world.peer_device->connect(*Address::parse("uiwarp://127.0.0.1:" + std::to_string(port)),
                                    *world.pd, options, {.private_data = bytes}, *this));
    for (size_t i = 0; i < kSlots; ++i) {
      receives.push_back(std::make_unique<Slot>(*this, i));
      sends.push_back(std::make_unique<Sent>());
      post(*receives.back());
    }
    world.until([&] { return up || down; });
  }
  ~Peer() { qp.reset(); }

  // Copies `length` bytes from the first half of the memory to the second.
  void copy(uint32_t length, uint64_t number) {
    send({.from = mr->remote_addr().value,
          .to = mr->remote_addr().value + kHalf,
          .key = mr->rkey().value,
          .length = length,
          .number = number},
         sizeof(CopyMessage));
  }
  void send(const CopyMessage& message, uint32_t bytes) {
    const size_t at = (next_send++ % kSlots) * sizeof message;
    std::memcpy(&text[at], &message, sizeof message);
    const Sge sge = text_mr->sge(at, bytes);
    WorkRequest request;
    request.completion = sends[at / sizeof message].get();
    request.sges = {&sge, 1};
    EXPECT_TRUE(qp->post_send(request).ok());
  }

  void on_connected(Qp&, const ConnectionInfo& info) override {
    up = true;
    said.assign(reinterpret_cast<const char*>(info.private_data.data()), info.private_data.size());
  }
  void on_rejected(Qp&, std::span<const std::byte> data) override {
    said.assign(reinterpret_cast<const char*>(data.data()), data.size());
  }
  void on_disconnected(Qp&, const Disconnect&) override { down = true; }

  World& world;
  bool up = false;
  bool down = false;
  std::string said;
  std::vector<uint64_t> answers;
  std::vector<std::byte> memory = std::vector<std::byte>(2 * kHalf);
  std::unique_ptr<Mr> mr;

 private:
  static constexpr size_t kSlots = 32;
  struct Sent : Completion {
    Sent() : Completion([](Completion&, const WorkCompletion&) {}) {}
  };
  struct Slot : Completion {
    Slot(Peer& p, size_t i)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            Slot& slot = static_cast<Slot&>(self);
            if (wc.status != WcStatus::kSuccess) return;
            CopyMessage message;
            std::memcpy(&message, &slot.peer.text[slot.offset()], sizeof message);
            slot.peer.answers.push_back(message.number);
            slot.peer.post(slot);
          }),
          peer(p),
          index(i) {}
    size_t offset() const { return (kSlots + index) * sizeof(CopyMessage); }
    Peer& peer;
    const size_t index;
  };
  void post(Slot& slot) {
    const Sge sge = text_mr->sge(slot.offset(), sizeof(CopyMessage));
    RecvRequest request;
    request.completion = &slot;
    request.sges = {&sge, 1};
    (void)qp->post_recv(request);
  }

  std::vector<std::byte> text = std::vector<std::byte>(2 * kSlots * sizeof(CopyMessage));
  std::unique_ptr<Mr> text_mr;
  std::unique_ptr<Cq> cq;
  std::vector<std::unique_ptr<Slot>> receives;
  std::vector<std::unique_ptr<Sent>> sends;
  size_t next_send = 0;
  std::unique_ptr<Qp> qp;
};

}  // namespace mrpool::engine::testing
