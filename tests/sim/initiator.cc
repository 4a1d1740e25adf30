#include "tests/sim/initiator.h"

#include <algorithm>

#include "tests/sim/target.h"

namespace mrpool::sim {

namespace {

constexpr uint32_t kMaxBlocks = 24;
constexpr size_t kSlotBytes = guarded(size_t{kMaxBlocks} * kBlockBytes);

constexpr Access kPeerReads = Access::kRemoteRead;
constexpr Access kPeerWrites = Access::kLocalWrite | Access::kRemoteWrite;

}  // namespace

// One command at a time: lease → register and send → answer → key ended → lease back.
struct Initiator::Slot {
  struct Answered : Completion {
    explicit Answered(Slot& s)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            Slot& slot = static_cast<Answered&>(self).slot;
            slot.receiving = false;
            slot.owner.answered(slot, wc);
          }),
          slot(s) {}
    Slot& slot;
  };
  struct Sent : Completion {
    explicit Sent(Slot& s)
        : Completion([](Completion& self, const WorkCompletion&) {
            --static_cast<Sent&>(self).slot.sending;
          }),
          slot(s) {}
    Slot& slot;
  };
  struct Ended : Completion {
    explicit Ended(Slot& s)
        : Completion([](Completion& self, const WorkCompletion& wc) {
            Slot& slot = static_cast<Ended&>(self).slot;
            --slot.sending;
            if (wc.status == WcStatus::kSuccess) slot.owner.key_ended(slot);
          }),
          slot(s) {}
    Slot& slot;
  };

  explicit Slot(Initiator& initiator)
      : owner(initiator),
        memory(kSlotBytes, kIdle),
        on_answer(*this),
        on_sent(*this),
        on_ended(*this) {
    auto made = owner.pd_->reg_mr(memory, Access::kLocalWrite);
    if (!made.ok()) owner.world_.violate(made.status().ToString());
    mr = std::move(*made);
    auto mail =
        owner.pd_->reg_mr(std::as_writable_bytes(std::span(&letters, 1)), Access::kLocalWrite);
    if (!mail.ok()) owner.world_.violate(mail.status().ToString());
    mail_mr = std::move(*mail);
  }

  std::span<std::byte> data() {
    return std::span(memory).subspan(kGuard, size_t{transfer.count} * kBlockBytes);
  }

  Initiator& owner;
  std::vector<std::byte> memory;
  struct {
    Request request;
    Response response;
  } letters;
  std::unique_ptr<Mr> mr, mail_mr;
  Answered on_answer;
  Sent on_sent;
  Ended on_ended;
  MrPool::Lease lease;
  Request request;  // as sent
  Transfer transfer;
  bool busy = false;  // a command is under way
  bool acknowledged = false;
  bool failed = false;     // the answer said so
  bool receiving = false;  // its receive is posted
  int sending = 0;
};

Initiator::Initiator(World& world, uint32_t number)
    : world_(world), number_(number), model_(world, number * kBlocks, kBlocks) {
  pd_ = std::move(*world.device->alloc_pd());
  cq_ = std::move(*world.device->create_cq(world.reactor, {.depth = 1024}));
  auto pool = MrPool::create(*pd_, {.count = 1 + static_cast<uint32_t>(world.below(kSlots)),
                                    .max_segments = 4,
                                    .access = kPeerReads | kPeerWrites});
  if (!pool.ok()) world.violate(pool.status().ToString());
  pool_ = std::move(*pool);
  for (uint32_t i = 0; i < kSlots; ++i) slots_.push_back(std::make_unique<Slot>(*this));
}

Initiator::~Initiator() { qp_.reset(); }

void Initiator::connect() {
  const QpOptions options{.send_cq = cq_.get(),
                          .recv_cq = cq_.get(),
                          .max_send_wr = 4 * kSlots,
                          .max_recv_wr = kSlots,
                          .ord = 0,
                          .ird = static_cast<uint16_t>(1 + world_.below(8))};
  const Hello hello{.initiator = number_};
  ConnectParams params;
  params.private_data = std::as_bytes(std::span(&hello, 1));
  auto qp = world_.device->connect(world_.address, *pd_, options, params, *this);
  if (!qp.ok()) world_.violate("connect: " + qp.status().ToString());
  qp_ = std::move(*qp);
  phase_ = Phase::kConnecting;
  for (auto& slot : slots_) {
    const Sge sge =
        slot->mail_mr->sge(offsetof(decltype(slot->letters), response), sizeof(Response));
    RecvRequest receive;
    receive.completion = &slot->on_answer;
    receive.sges = {&sge, 1};
    if (qp_->post_recv(receive) != PostStatus::kOk) world_.violate("a receive was refused");
    slot->receiving = true;
  }
}

void Initiator::on_connected(Qp&, const ConnectionInfo&) { phase_ = Phase::kUp; }
void Initiator::on_rejected(Qp&, std::span<const std::byte>) {}

void Initiator::on_disconnected(Qp&, const Disconnect& why) {
  if (why.reason == DisconnectReason::kTerminated || why.reason == DisconnectReason::kProtocol) {
    world_.violate("an initiator's connection ended by " + std::string(to_string(why.reason)) +
                   ": " + std::string(why.detail));
  }
  phase_ = Phase::kEnding;
}

void Initiator::step() {
  for (auto& slot : slots_) {
    check_untouched(world_, slot->memory, slot->lease ? slot->data().size() : 0);
  }
  if (phase_ == Phase::kEnding) {
    // Every completion came before on_disconnected; the Qp goes outside its own callback.
    qp_.reset();
    for (auto& slot : slots_) {
      if (slot->receiving || slot->sending != 0) world_.violate("a request was never completed");
      if (slot->busy) finish(*slot, slot->acknowledged);
      if (slot->lease) release(*slot);
    }
    phase_ = Phase::kDown;
    retry_at_ = world_.reactor.now() + Nanoseconds(world_.below(300'000));
  }
  if (phase_ == Phase::kDown && !finishing_ && world_.reactor.now() >= retry_at_) connect();
  if (phase_ != Phase::kUp || finishing_) return;
  Slot& slot = *slots_[world_.below(slots_.size())];
  if (!slot.busy && slot.receiving && slot.sending == 0) start(slot);
}

void Initiator::start(Slot& slot) {
  const uint32_t first = static_cast<uint32_t>(world_.below(kBlocks));
  const uint32_t most = std::min(kMaxBlocks, kBlocks - first);
  const uint32_t count = 1 + static_cast<uint32_t>(world_.below(most));
  if (!model_.free(first, count)) return;
  slot.lease = pool_->get();
  if (!slot.lease) {
    pool_->repair();
    return;  // its turn comes again
  }
  const bool write = world_.chance(500);
  slot.request = {.id = next_id_++,
                  .command = write ? Command::kWrite : Command::kRead,
                  .block = model_.first() + first,
                  .count = count,
                  .memory = {}};
  slot.transfer = {.first = first, .count = count, .write = write};
  model_.begin(slot.transfer, slot.data());
  const Sge data = slot.mr->sge(kGuard, count * kBlockBytes);
  if (slot.lease.map({&data, 1}) != 1) world_.violate("the data could not be mapped");
  WorkRequest reg;
  if (slot.lease.prepare_register(write ? kPeerReads : kPeerWrites, reg) != PostStatus::kOk) {
    world_.violate("the pool refused a registration");
  }
  const FastMr& mr = slot.lease.mr();
  slot.request.memory = {mr.remote_addr(), mr.length(), mr.rkey()};
  slot.letters.request = slot.request;
  const Sge letter = slot.mail_mr->sge(0, sizeof(Request));
  WorkRequest send{.completion = &slot.on_sent, .opcode = Opcode::kSend, .sges = {&letter, 1}};
  reg.next = &send;
  slot.busy = true;
  slot.acknowledged = slot.failed = false;
  ++slot.sending;
  const PostResult posted = qp_->post_send(reg);
  if (posted.ok()) return;
  if (posted.status != PostStatus::kNotConnected) {
    world_.violate("a command was refused: " + std::string(to_string(posted.status)));
  }
  --slot.sending;
  slot.lease.not_posted();
  finish(slot, false);
  release(slot);
}

Initiator::Slot* Initiator::slot_of(uint32_t id) {
  const auto it = std::ranges::find_if(slots_, [&](const auto& slot) {
    return slot->busy && !slot->acknowledged && slot->request.id == id;
  });
  return it == slots_.end() ? nullptr : it->get();
}

void Initiator::answered(Slot& receiver, const WorkCompletion& wc) {
  if (wc.status != WcStatus::kSuccess) return;  // the end follows
  const Response response = receiver.letters.response;
  // The receive goes back first: its owner may start a command at any time.
  const Sge sge =
      receiver.mail_mr->sge(offsetof(decltype(receiver.letters), response), sizeof(Response));
  RecvRequest receive;
  receive.completion = &receiver.on_answer;
  receive.sges = {&sge, 1};
  if (qp_->post_recv(receive) == PostStatus::kOk) receiver.receiving = true;

  Slot* slot = slot_of(response.id);
  if (slot == nullptr) world_.violate("an answer to no command, or a second one");
  slot->acknowledged = true;
  slot->failed = response.failed != 0;
  if (wc.invalidated) {
    if (wc.invalidated_rkey != slot->lease.mr().rkey()) world_.violate("a foreign key was ended");
    return key_ended(*slot);
  }
  if (world_.plant == Plant::kStaleKey) return key_ended(*slot);
  WorkRequest end;
  slot->lease.prepare_invalidate(end);
  end.completion = &slot->on_ended;
  end.signalled = true;
  if (qp_->post_send(end).ok()) ++slot->sending;
}

// From here on nobody but this side may touch the memory.
void Initiator::key_ended(Slot& slot) {
  slot.lease.invalidated();
  finish(slot, true);
  release(slot);
}

void Initiator::finish(Slot& slot, bool acknowledged) {
  if (!slot.busy) world_.violate("a command ended twice");
  slot.busy = false;
  model_.end(slot.transfer, slot.data(),
             acknowledged && !slot.failed ? Fate::kDone : Fate::kUnknown);
  if (acknowledged) {
    ++completed;
    ++world_.commands;
  }
}

void Initiator::release(Slot& slot) {
  slot.lease.reset();
  std::ranges::fill(slot.memory, kIdle);
}

void Initiator::kill() {
  if (phase_ != Phase::kUp && phase_ != Phase::kConnecting) return;
  world_.chance(500) ? qp_->abort() : qp_->disconnect();
}

void Initiator::disconnect() {
  if (qp_ != nullptr && phase_ != Phase::kEnding) qp_->disconnect();
}

bool Initiator::idle() const {
  return std::ranges::none_of(slots_, [](const auto& slot) { return slot->busy; });
}

std::string Initiator::state() const {
  constexpr const char* kPhases[] = {"down", "connecting", "up", "ending"};
  std::string text = kPhases[static_cast<int>(phase_)];
  text += "; " + describe(*pool_);
  for (const auto& slot : slots_) {
    if (slot->busy) text += "; " + describe(slot->transfer);
  }
  return text;
}

void Initiator::check_resources() { check_whole(world_, *pool_); }

void Initiator::check_store() {
  model_.check([this](uint32_t number) { return world_.target->block(number); });
}

}  // namespace mrpool::sim
