#include "tests/sim/board_client.h"

#include <cstring>

namespace mrpool::sim {

BoardClient::BoardClient(BoardWorld& world) : world_(world) {
  pd_ = std::move(*world.device->alloc_pd());
  cq_ = std::move(*world.device->create_cq(world.reactor, {.depth = 64}));
  auto mr = pd_->reg_mr(std::as_writable_bytes(std::span(&memory_, 1)),
                        Access::kLocalWrite | Access::kRemoteWrite);
  if (!mr.ok()) world.violate(mr.status().ToString());
  memory_mr_ = std::move(*mr);
  seal_ = std::make_unique<BoardSeal>(world, *pd_);
}

// ------------------------------------------------------------------------------- the connection

void BoardClient::connect() {
  const QpOptions options{.send_cq = cq_.get(),
                          .recv_cq = cq_.get(),
                          .max_send_wr = 8 + BoardSeal::needs(world_.device->caps()).send_wr,
                          .max_recv_wr = 1,
                          .ord = static_cast<uint16_t>(1 + world_.below(3)),
                          .ird = 0};
  auto qp = world_.device->connect({"uiwarp", "10.0.0.1", 4420, ""}, *pd_, options, {}, *this);
  if (!qp.ok()) world_.violate("connect: " + qp.status().ToString());
  qp_ = std::move(*qp);
  seal_->open(*qp_);
  phase_ = Phase::kConnecting;
  receive();
}

void BoardClient::on_connected(Qp&, const ConnectionInfo& info) {
  if (info.private_data.size() != sizeof welcome_) world_.violate("a connection without its board");
  std::memcpy(&welcome_, info.private_data.data(), sizeof welcome_);
  for (const Opcode opcode :
       {Opcode::kSendWithImm, Opcode::kRdmaWriteWithImm, Opcode::kFetchAdd, Opcode::kCompareSwap}) {
    if (!qp_->supports(opcode)) world_.violate("not agreed: " + std::string(to_string(opcode)));
  }
  phase_ = Phase::kUp;
}

void BoardClient::on_disconnected(Qp&, const Disconnect& why) {
  if (why.reason == DisconnectReason::kTerminated || why.reason == DisconnectReason::kProtocol) {
    world_.violate("a client's connection ended by " + std::string(to_string(why.reason)) + ": " +
                   std::string(why.detail));
  }
  seal_->close();
  phase_ = Phase::kEnding;
}

void BoardClient::step() {
  if (phase_ == Phase::kEnding) {
    // Every completion came before on_disconnected; the Qp goes outside its own callback.
    qp_.reset();
    check_resources();
    phase_ = Phase::kDown;
    stage_ = Stage::kNothing;
    retry_at_ = world_.reactor.now() + Nanoseconds(world_.below(300'000));
  }
  if (phase_ == Phase::kDown && !finishing_ && world_.reactor.now() >= retry_at_) connect();
  if (phase_ == Phase::kUp && stage_ == Stage::kNothing && pending_ == 0 && !finishing_) {
    take_number();
  }
}

void BoardClient::kill() {
  if (phase_ != Phase::kUp && phase_ != Phase::kConnecting) return;
  world_.chance(500) ? qp_->abort() : qp_->disconnect();
}

void BoardClient::check_resources() const {
  if (receiving_ || pending_ != 0) world_.violate("a request was never completed");
  seal_->check_resources();
}

void BoardClient::close() {
  if (qp_ != nullptr && phase_ != Phase::kEnding) qp_->disconnect();
}

// ------------------------------------------------------------------------------- a number's way

void BoardClient::receive() {
  RecvRequest request;
  request.completion = &on_answer_;
  const PostStatus status = qp_->post_recv(request);
  if (status == PostStatus::kOk) {
    receiving_ = true;
  } else if (status != PostStatus::kNotConnected) {
    world_.violate("a receive was refused");
  }
}

void BoardClient::post(Stage stage, const WorkRequest& request) {
  stage_ = stage;
  const PostResult posted = qp_->post_send(request);
  if (posted.ok()) {
    ++pending_;
  } else if (posted.status != PostStatus::kNotConnected) {
    world_.violate(std::string(to_string(request.opcode)) +
                   " was refused: " + std::string(to_string(posted.status)));
  }
}

// The end of the connection follows.
bool BoardClient::ended(const WorkCompletion& wc) {
  --pending_;
  return wc.status != WcStatus::kSuccess;
}

void BoardClient::take_number() {
  world_.asked();
  const Sge number = sge(memory_.number);
  post(Stage::kNumber, {.completion = &on_number_,
                        .opcode = Opcode::kFetchAdd,
                        .sges = {&number, 1},
                        .remote_addr = on_board(offsetof(BoardMemory, next)),
                        .rkey = welcome_.key,
                        .compare_add = 1});
}

void BoardClient::numbered(const WorkCompletion& wc) {
  if (ended(wc)) return;
  world_.given(memory_.number);
  const uint64_t next = world_.below(1000);
  next < 400 ? lock() : next < 600 ? seal() : hand_in();
}

void BoardClient::seal() {
  stage_ = Stage::kSeal;
  seal_->start(memory_.number, welcome_, [this] {
    world_.moved(BoardWorld::kSealed);
    hand_in();
  });
}

WorkRequest BoardClient::swap_lock(Completion& done, const Sge& before, uint64_t from,
                                   uint64_t to) const {
  return {.completion = &done,
          .opcode = Opcode::kCompareSwap,
          .sges = {&before, 1},
          .remote_addr = on_board(offsetof(BoardMemory, lock)),
          .rkey = welcome_.key,
          .compare_add = from,
          .swap = to};
}

void BoardClient::lock() {
  const Sge before = sge(memory_.before);
  post(Stage::kLock, swap_lock(on_lock_, before, 0, welcome_.token));
}

void BoardClient::locked(const WorkCompletion& wc) {
  if (ended(wc)) return;
  if (memory_.before != 0) return hand_in();  // another holds it
  const Sge record = sge(memory_.record);
  post(Stage::kRead, {.completion = &on_look_,
                      .opcode = Opcode::kRdmaRead,
                      .sges = {&record, 1},
                      .remote_addr = on_board(offsetof(BoardMemory, record)),
                      .rkey = welcome_.key});
}

void BoardClient::looked(const WorkCompletion& wc) {
  if (ended(wc)) return;
  if (!memory_.record.whole()) world_.violate("who held the lock read a torn record");
  unlock();
}

// The WRITE is there when the lock is free: an atomic sees what its Qp wrote before it.
void BoardClient::unlock() {
  memory_.record.write(memory_.number);
  const Sge record = sge(memory_.record), before = sge(memory_.before);
  WorkRequest free = swap_lock(on_unlock_, before, welcome_.token, 0);
  post(Stage::kUnlock, {.next = &free,
                        .opcode = Opcode::kRdmaWrite,
                        .signalled = false,
                        .sges = {&record, 1},
                        .remote_addr = on_board(offsetof(BoardMemory, record)),
                        .rkey = welcome_.key});
}

void BoardClient::unlocked(const WorkCompletion& wc) {
  if (ended(wc)) return;
  if (memory_.before != welcome_.token) world_.violate("a lock left its holder");
  world_.moved(BoardWorld::kLocked);
  hand_in();
}

void BoardClient::hand_in() {
  memory_.note.write(memory_.number);
  const Sge note = sge(memory_.note);
  const bool write = world_.chance(500);
  const size_t at = offsetof(BoardMemory, notes) + welcome_.note * sizeof(BoardText);
  post(Stage::kNote, {.completion = &on_note_,
                      .opcode = write ? Opcode::kRdmaWriteWithImm : Opcode::kSendWithImm,
                      .sges = {&note, 1},
                      .remote_addr = write ? on_board(at) : RemoteAddr{},
                      .rkey = write ? welcome_.key : Rkey{},
                      .imm = static_cast<uint32_t>(memory_.number)});
}

void BoardClient::handed_in(const WorkCompletion& wc) { ended(wc); }

void BoardClient::answered(const WorkCompletion& wc) {
  receiving_ = false;
  if (wc.status != WcStatus::kSuccess) return;
  if (stage_ != Stage::kNote || wc.opcode != Opcode::kRecvWithImm ||
      wc.imm != static_cast<uint32_t>(memory_.number)) {
    world_.violate("an answer to no note, or a second one");
  }
  receive();
  stage_ = Stage::kNothing;
  world_.moved(BoardWorld::kNoted);
  ++completed;
  ++world_.commands;
}

std::string BoardClient::state() const {
  constexpr const char* kPhases[] = {"down", "connecting", "up", "ending"};
  constexpr const char* kStages[] = {"nothing",   "a number",      "the lock", "the record",
                                     "unlocking", "sealed blocks", "an answer"};
  return std::string(kPhases[static_cast<int>(phase_)]) + ", waits for " +
         kStages[static_cast<int>(stage_)] + "; number " + std::to_string(memory_.number);
}

}  // namespace mrpool::sim
