#include "tests/sim/target.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "mrpool/rw.h"
#include "tests/sim/blocks.h"

namespace mrpool::sim {

namespace {

constexpr uint32_t kSlots = 8;  // commands a connection may have outstanding
constexpr uint32_t kMaxBlocks = 64;
constexpr uint32_t kSlotBytes = kMaxBlocks * kBlockBytes;
constexpr RwLimits kLimits{.max_operations = 4, .max_transfer = kSlotBytes, .max_segments = 4};

}  // namespace

// One connection.
class Session final : public QpEvents {
 public:
  Session(Target& owner, uint32_t number)
      : target(owner), initiator(number), memory(kSlots * kSlotBytes) {
    auto made = target.pd_->reg_mr(memory, Access::kLocalWrite);
    if (!made.ok()) target.world.violate("no memory region: " + made.status().ToString());
    mr = std::move(*made);
    auto messages =
        target.pd_->reg_mr(std::as_writable_bytes(std::span(mail)), Access::kLocalWrite);
    if (!messages.ok()) target.world.violate(messages.status().ToString());
    mail_mr = std::move(*messages);
    for (uint32_t i = 0; i < kSlots; ++i) jobs.push_back(std::make_unique<Job>(*this, i));
  }
  ~Session() { qp.reset(); }

  void on_connected(Qp&, const ConnectionInfo&) override {
    auto made = RwContext::create(*qp, target.pool_.get(), kLimits);
    if (!made.ok()) target.world.violate("no RwContext: " + made.status().ToString());
    rw = std::move(*made);
  }
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect& why) override {
    if (why.reason == DisconnectReason::kTerminated || why.reason == DisconnectReason::kProtocol) {
      target.world.violate("the target's connection ended by " +
                           std::string(to_string(why.reason)) + ": " + std::string(why.detail));
    }
    if (rw != nullptr) rw->stop();
    ended = true;
  }

  bool idle() const {
    return ended && std::ranges::all_of(jobs, [](const auto& job) { return job->idle(); });
  }

  // One command at a time: receive → (fetch) → storage → (fill) → answer → receive.
  struct Job {
    struct Received : Completion {
      explicit Received(Job& s)
          : Completion([](Completion& self, const WorkCompletion& wc) {
              static_cast<Received&>(self).job.received(wc);
            }),
            job(s) {}
      Job& job;
    };
    struct Sent : Completion {
      explicit Sent(Job& s)
          : Completion([](Completion& self, const WorkCompletion&) {
              --static_cast<Sent&>(self).job.answers;
            }),
            job(s) {}
      Job& job;
    };
    struct Moved : RwOperation {
      explicit Moved(Job& s)
          : RwOperation([](RwOperation& self, WcStatus status) {
              static_cast<Moved&>(self).job.moved(status);
            }),
            job(s) {}
      Job& job;
    };
    struct Stored : Timer {
      explicit Stored(Job& s)
          : Timer([](Timer& self) { static_cast<Stored&>(self).job.stored(); }), job(s) {}
      Job& job;
    };

    Job(Session& owner, uint32_t number)
        : session(owner),
          index(number),
          on_received(*this),
          on_sent(*this),
          on_moved(*this),
          on_stored(*this) {}

    World& world() { return session.target.world; }
    Request& request() { return session.mail[index].request; }
    Sge data(uint32_t bytes) { return session.mr->sge(size_t{index} * kSlotBytes, bytes); }
    std::span<std::byte> bytes() {
      return std::span(session.memory).subspan(size_t{index} * kSlotBytes, kSlotBytes);
    }
    bool idle() const { return !receiving && !moving && answers == 0 && !on_stored.armed(); }

    void post_receive() {
      if (world().planted(Plant::kLostCredit)) return;
      const Sge sge = session.mail_mr->sge(index * sizeof(Mail), sizeof(Request));
      RecvRequest receive;
      receive.completion = &on_received;
      receive.sges = {&sge, 1};
      if (session.qp->post_recv(receive) == PostStatus::kOk) receiving = true;
    }

    void received(const WorkCompletion& wc) {
      receiving = false;
      if (wc.status != WcStatus::kSuccess || session.ended) return;
      if (wc.byte_len != sizeof(Request)) world().violate("a command of a wrong length");
      if (session.target.lost_.empty() && world().planted(Plant::kLostLease)) {
        session.target.lost_.push_back(session.target.pool_->get());
      }
      if (request().command == Command::kWrite) return move(RwDirection::kRead);
      start_storage();
    }

    void move(RwDirection direction) {
      // In two pieces, so that scatter lists are exercised.
      const uint32_t length = request().count * kBlockBytes;
      const uint32_t half = length / 2;
      const Sge whole = data(length);
      const std::array<Sge, 2> pieces = {Sge{whole.addr, half, whole.lkey},
                                         Sge{whole.addr + half, length - half, whole.lkey}};
      if (session.rw == nullptr) world().violate("a command before on_connected");
      const PostStatus started = session.rw->start(on_moved, direction, pieces, request().memory);
      if (started == PostStatus::kOk) {
        moving = true;
      } else if (started != PostStatus::kNotConnected) {
        world().violate("RwContext refused: " + std::string(to_string(started)));
      }
    }

    void moved(WcStatus status) {
      moving = false;
      if (status != WcStatus::kSuccess || session.ended) return;
      if (request().command == Command::kWrite) return start_storage();
      answer(false);
    }

    void start_storage() {
      if (request().command == Command::kWrite && world().planted(Plant::kEarlyAnswer)) {
        return answer(false);  // and the data goes nowhere
      }
      // Now and then so slow that the initiator is long back.
      const uint64_t most = world().chance(50) ? 5'000'000 : 200'000;
      on_stored.arm(world().reactor, Nanoseconds(world().below(most)));
    }

    void stored() {
      const bool fails = world().chance(10);
      // A failing write gets as far as it gets; a block is whole or not touched.
      const uint32_t carried_out =
          fails ? static_cast<uint32_t>(world().below(request().count)) : request().count;
      if (request().command == Command::kWrite) store(carried_out);
      if (session.ended) return;  // storage cannot be called back; nobody hears of it
      if (fails || request().command == Command::kWrite) return answer(fails);
      for (uint32_t i = 0; i < request().count; ++i) {
        std::ranges::copy(session.target.block(request().block + i),
                          bytes().subspan(size_t{i} * kBlockBytes).begin());
      }
      move(RwDirection::kWrite);
    }

    void store(uint32_t count) {
      for (uint32_t i = 0; i < count; ++i) {
        std::ranges::copy(bytes().subspan(size_t{i} * kBlockBytes, kBlockBytes),
                          session.target.block(request().block + i).begin());
      }
    }

    void answer(bool failed) {
      session.mail[index].response = {.id = request().id, .failed = failed};
      const Sge sge =
          session.mail_mr->sge(index * sizeof(Mail) + offsetof(Mail, response), sizeof(Response));
      const Rkey key = request().memory.rkey;
      const RemoteAddr at = request().memory.addr;
      const bool end_key = !world().chance(200);
      // The receive is there before the answer lets the peer send again.
      post_receive();
      const int copies = world().planted(Plant::kDoubleCompletion) ? 2 : 1;
      for (int i = 0; i < copies; ++i) {
        const WorkRequest send{.completion = &on_sent,
                               .opcode = end_key && i == 0 ? Opcode::kSendWithInv : Opcode::kSend,
                               .sges = {&sge, 1},
                               .rkey = key};
        if (session.qp->post_send(send).ok()) ++answers;
      }
      if (!end_key && world().plant == Plant::kStaleKey) {
        // Once more into memory that was given back.
        const Sge again = data(64);
        const WorkRequest write{.completion = &on_sent,
                                .opcode = Opcode::kRdmaWrite,
                                .sges = {&again, 1},
                                .remote_addr = at,
                                .rkey = key};
        if (session.qp->post_send(write).ok()) ++answers;
      }
    }

    Session& session;
    const uint32_t index;
    Received on_received;
    Sent on_sent;
    Moved on_moved;
    Stored on_stored;
    bool receiving = false;
    bool moving = false;
    int answers = 0;
  };

  struct Mail {
    Request request;
    Response response;
  };

  Target& target;
  const uint32_t initiator;
  std::vector<std::byte> memory;
  std::array<Mail, kSlots> mail;
  std::unique_ptr<Mr> mr, mail_mr;
  std::vector<std::unique_ptr<Job>> jobs;
  std::unique_ptr<Qp> qp;
  std::unique_ptr<RwContext> rw;
  bool ended = false;
};

Target::Target(World& owner, uint32_t blocks) : world(owner), store_(size_t{blocks} * kBlockBytes) {
  for (uint32_t i = 0; i < blocks; ++i) stamp(block(i), i, 0);
  pd_ = std::move(*world.device->alloc_pd());
  cq_ = std::move(*world.device->create_cq(world.reactor, {.depth = 4096}));
  const RwQueueNeeds needs = rw_queue_needs(world.device->caps(), kLimits);
  auto pool = MrPool::create(*pd_, {.count = 1 + static_cast<uint32_t>(world.below(6)),
                                    .max_segments = needs.pool_segments,
                                    .access = needs.pool_access});
  if (!pool.ok()) world.violate("no pool: " + pool.status().ToString());
  pool_ = std::move(*pool);
  auto listener = world.device->listen(world.reactor, {"uiwarp", "10.0.0.1", 4420, ""}, *this);
  if (!listener.ok()) world.violate(listener.status().ToString());
  listener_ = std::move(*listener);
}

Target::~Target() { lost_.clear(); }

void Target::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  const std::span<const std::byte> data = request->info().private_data;
  if (data.size() < sizeof(Hello)) world.violate("a connection request without its initiator");
  Hello hello;
  std::memcpy(&hello, data.data(), sizeof hello);
  for (auto& session : sessions_) {
    if (session->initiator == hello.initiator && !session->ended) session->qp->abort();
  }
  // One that still waits has been given up by its initiator.
  std::erase_if(arrivals_, [&](const Arrival& a) { return a.initiator == hello.initiator; });
  arrivals_.push_back({hello.initiator, std::move(request)});
}

void Target::accept(Arrival arrival) {
  auto session = std::make_unique<Session>(*this, arrival.initiator);
  const RwQueueNeeds needs = rw_queue_needs(world.device->caps(), kLimits);
  const QpOptions options{.send_cq = cq_.get(),
                          .recv_cq = cq_.get(),
                          .max_send_wr = needs.send_wr + 4 * kSlots,
                          .max_recv_wr = kSlots,
                          .max_send_sge = std::max(needs.send_sge, 4u),
                          .ord = static_cast<uint16_t>(1 + world.below(8)),
                          .ird = 4};
  auto qp = arrival.request->accept(*pd_, options, {}, *session);
  if (!qp.ok()) return;
  session->qp = std::move(*qp);
  for (auto& job : session->jobs) job->post_receive();
  sessions_.push_back(std::move(session));
}

void Target::reap() {
  std::erase_if(sessions_, [](const auto& session) { return session->idle(); });
  std::vector<Arrival> arrivals = std::exchange(arrivals_, {});
  for (Arrival& arrival : arrivals) {
    const bool before = std::ranges::any_of(
        sessions_, [&](const auto& session) { return session->initiator == arrival.initiator; });
    if (before && !world.planted(Plant::kLateWrite)) {
      arrivals_.push_back(std::move(arrival));
    } else {
      accept(std::move(arrival));
    }
  }
}

void Target::kill_one() {
  if (sessions_.empty()) return;
  Session& session = *sessions_[world.below(sessions_.size())];
  if (session.ended) return;
  world.chance(500) ? session.qp->abort() : session.qp->disconnect();
}

std::string Target::state() const {
  std::string text = std::to_string(arrivals_.size()) + " arrivals; " + describe(*pool_);
  for (const auto& session : sessions_) {
    const auto busy = std::ranges::count_if(
        session->jobs, [](const auto& job) { return job->moving || job->on_stored.armed(); });
    const auto receives = std::ranges::count_if(session->jobs, &Session::Job::receiving);
    text += "; of initiator " + std::to_string(session->initiator) +
            (session->ended ? ", ended: " : ": ") + std::to_string(busy) + " commands, " +
            std::to_string(receives) + " receives";
  }
  return text;
}

void Target::check_resources() { check_whole(world, *pool_); }

}  // namespace mrpool::sim
