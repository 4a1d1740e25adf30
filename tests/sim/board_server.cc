#include "tests/sim/board_server.h"

#include <algorithm>
#include <array>

#include "mrpool/callback.h"

namespace mrpool::sim {

// One connection. A client has one note under way, and the next may come before its answer's SEND
// has completed here.
class BoardLink final : public QpEvents {
 public:
  static constexpr uint32_t kReceives = 2;

  BoardLink(BoardServer& server, uint64_t token, uint32_t note)
      : server_(server), token_(token), note_(note) {
    auto mr =
        server_.pd_->reg_mr(std::as_writable_bytes(std::span(receives_)), Access::kLocalWrite);
    if (!mr.ok()) server_.world_.violate(mr.status().ToString());
    receives_mr_ = std::move(*mr);
    for (Received& each : receives_) each.link = this;
  }

  void accept(ConnectRequest& request) {
    const BoardWelcome welcome{.token = token_,
                               .note = note_,
                               .board = server_.board_mr_->remote_addr(),
                               .key = server_.board_mr_->rkey()};
    ConnectParams params;
    params.private_data = std::as_bytes(std::span(&welcome, 1));
    const QpOptions options{.send_cq = server_.cq_.get(),
                            .recv_cq = server_.cq_.get(),
                            .max_send_wr = 8,
                            .max_recv_wr = kReceives,
                            .ord = 0,
                            .ird = static_cast<uint16_t>(1 + server_.world_.below(4))};
    auto qp = request.accept(*server_.pd_, options, params, *this);
    if (!qp.ok()) return server_.ended(*this);
    qp_ = std::move(*qp);
    for (Received& each : receives_) post(each);
  }

  void on_connected(Qp&, const ConnectionInfo&) override {}
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect& why) override {
    if (why.reason == DisconnectReason::kTerminated || why.reason == DisconnectReason::kProtocol) {
      server_.world_.violate("the server's connection ended by " +
                             std::string(to_string(why.reason)) + ": " + std::string(why.detail));
    }
    give_back();
    server_.ended(*this);
  }

  void kill() { server_.world_.chance(500) ? qp_->abort() : qp_->disconnect(); }
  uint32_t note() const { return note_; }
  uint64_t token() const { return token_; }

 private:
  // What the connection held is free again, and whole: its last WRITE may have come in part.
  void give_back() {
    if (pending_ != 0) server_.world_.violate("the server's request was never completed");
    BoardMemory& board = server_.board_;
    if (board.lock != token_) return;
    board.record.write(0);
    board.lock = 0;
  }

  struct Received : Completion {
    Received() : Completion(to_method<&Received::done_here>) {}
    void done_here(const WorkCompletion& wc) { link->received(*this, wc); }
    BoardLink* link = nullptr;
    BoardText text;  // of a SEND
  };

  Sge sge(const BoardText& text) const {
    return receives_mr_->sge(size_t(reinterpret_cast<const std::byte*>(&text) -
                                    reinterpret_cast<const std::byte*>(receives_.data())),
                             sizeof text);
  }
  void post(Received& receive) {
    if (server_.world_.planted(Plant::kLostCredit)) return;
    const Sge text = sge(receive.text);
    RecvRequest request;
    request.completion = &receive;
    request.sges = {&text, 1};
    if (qp_->post_recv(request) == PostStatus::kOk) ++pending_;
  }
  void received(Received& receive, const WorkCompletion& wc) {
    --pending_;
    if (wc.status != WcStatus::kSuccess) return;
    BoardWorld& world = server_.world_;
    const bool written = wc.opcode == Opcode::kRecvRdmaWithImm;
    if (!written && wc.opcode != Opcode::kRecvWithImm) world.violate("a note without its number");
    if (wc.byte_len != kBoardBytes) world.violate("a note of a wrong length");
    const BoardText& note = written ? server_.board_.notes[note_] : receive.text;
    if (!note.whole() || static_cast<uint32_t>(note.words[0]) != wc.imm) {
      world.violate("a note was not there when its number came");
    }
    if (world.planted(Plant::kLostUpdate)) --server_.board_.next;
    post(receive);
    const int copies = world.planted(Plant::kDoubleCompletion) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      const WorkRequest answer{
          .completion = &on_answer_, .opcode = Opcode::kSendWithImm, .imm = wc.imm};
      if (qp_->post_send(answer).ok()) ++pending_;
    }
  }
  void answered() { --pending_; }

  BoardServer& server_;
  const uint64_t token_;
  const uint32_t note_;
  std::array<Received, kReceives> receives_;
  std::unique_ptr<Mr> receives_mr_;
  std::unique_ptr<Qp> qp_;
  Bound<Completion, &BoardLink::answered> on_answer_{*this};
  int pending_ = 0;  // requests posted and not completed
};

BoardServer::BoardServer(BoardWorld& world) : world_(world) {
  pd_ = std::move(*world.device->alloc_pd());
  cq_ = std::move(*world.device->create_cq(world.reactor, {.depth = 1024}));
  auto mr = pd_->reg_mr(
      std::as_writable_bytes(std::span(&board_, 1)),
      Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite | Access::kRemoteAtomic);
  if (!mr.ok()) world.violate(mr.status().ToString());
  board_mr_ = std::move(*mr);
  auto listener = world.device->listen(world.reactor, {"uiwarp", "10.0.0.1", 4420, ""}, *this);
  if (!listener.ok()) world.violate(listener.status().ToString());
  listener_ = std::move(*listener);
}

BoardServer::~BoardServer() = default;

void BoardServer::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  std::array<bool, kBoardLinks> taken{};
  for (const auto& link : links_) taken[link->note()] = true;
  const auto free = std::ranges::find(taken, false);
  if (free == taken.end()) {
    if (const absl::Status status = request->reject({}); !status.ok()) {
      world_.violate(status.ToString());
    }
    return;
  }
  links_.push_back(std::make_unique<BoardLink>(*this, next_token_++,
                                               static_cast<uint32_t>(free - taken.begin())));
  links_.back()->accept(*request);
}

void BoardServer::ended(BoardLink& link) {
  std::erase_if(links_, [&](const auto& each) { return each.get() == &link; });
}

BoardSealed* BoardServer::sealed(uint32_t note, uint64_t token) {
  const bool there = std::ranges::any_of(
      links_, [&](const auto& link) { return link->note() == note && link->token() == token; });
  return there ? &board_.seals[note] : nullptr;
}

void BoardServer::kill_one() {
  if (links_.empty()) return;
  links_[world_.below(links_.size())]->kill();
}

std::string BoardServer::state() const {
  return std::to_string(links_.size()) + " connections, next number " +
         std::to_string(board_.next) + ", lock " + std::to_string(board_.lock);
}

}  // namespace mrpool::sim
