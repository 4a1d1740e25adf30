#include "examples/control/server.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/serialize.hpp>
#include <deque>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "examples/control/error.h"
#include "examples/control/session.h"
#include "examples/control/socket_file.h"

namespace mrpool::control {

namespace asio = boost::asio;
using Protocol = asio::local::stream_protocol;
using Error = boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kAcceptPause{200};

// "process 1234 of user 0, group 0"
std::string describe_peer(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return "an unknown process";
  return absl::StrCat("process ", peer.pid, " of user ", peer.uid, ", group ", peer.gid);
}

void log(base::Event event, const std::string& line) {
  base::log({.event = event, .message = absl::StrCat("control: ", line)});
}

void log_change(const std::string& who, const std::string& method, const absl::Status& status) {
  log(status.ok() ? base::Event::kChanged : base::Event::kChangeRefused,
      absl::StrCat(method, " by ", who, ": ",
                   status.ok() ? "done" : absl::StrCat("refused, ", status.message())));
}

class Client;

// Shared by the server and its clients; the server ends before the clients.
struct Shared {
  const Methods& methods;
  const Server::Options options;
  std::set<std::shared_ptr<Client>> clients{};
  bool ended = false;
};

class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(std::shared_ptr<Shared> shared, Protocol::socket socket)
      : shared_(std::move(shared)),
        socket_(std::move(socket)),
        timer_(socket_.get_executor()),
        who_(describe_peer(socket_.native_handle())) {}

  void begin() {
    session_ = Session::create(shared_->methods, hooks());
    read();
  }
  // Too many clients: sends an error and closes the connection.
  void refuse(size_t most) {
    log(base::Event::kClientDropped,
        absl::StrCat(who_, " refused: ", most, " clients are connected"));
    last_ = true;
    send(boost::json::serialize(error_answer(
             nullptr, absl::ResourceExhaustedError(absl::StrCat(
                          most, " clients are connected already; close one of them")))) +
         "\n");
  }
  void end() {
    if (std::exchange(ended_, true)) return;
    if (session_ != nullptr) session_->leave();
    Error ignored;
    socket_.close(ignored);
    timer_.cancel();
    shared_->clients.erase(shared_from_this());
  }

 private:
  Session::Hooks hooks() {
    return {
        .send =
            [weak = weak_from_this()](std::string text) {
              if (const auto self = weak.lock()) self->send(std::move(text));
            },
        .changed = [who = who_](const std::string& method,
                                const absl::Status& status) { log_change(who, method, status); },
        .idle =
            [weak = weak_from_this()] {
              if (const auto self = weak.lock()) self->answered();
            }};
  }
  void answered() {
    if (!session_->broken()) return read();
    last_ = true;
    if (answers_.empty()) end();
  }

  void read() {
    if (reading_ || ended_ || last_) return;
    reading_ = true;
    socket_.async_read_some(asio::buffer(input_),
                            [self = shared_from_this()](Error error, size_t bytes) {
                              self->reading_ = false;
                              if (self->ended_) return;
                              if (error) return self->end();
                              // Reads no more until this is answered, to keep the order.
                              self->session_->feed({self->input_.data(), bytes});
                            });
  }

  void send(std::string text) {
    if (ended_) return;
    waiting_bytes_ += text.size();
    answers_.push_back(std::move(text));
    if (waiting_bytes_ > shared_->options.max_answers) {
      return drop("does not read its answers, and too many wait");
    }
    if (answers_.size() == 1) write();
  }

  void write() {
    timer_.expires_after(shared_->options.patience);
    timer_.async_wait([weak = weak_from_this()](Error error) {
      const auto self = weak.lock();
      if (!error && self != nullptr) self->drop("does not read its answers");
    });
    socket_.async_write_some(
        asio::buffer(answers_.front().data() + written_, answers_.front().size() - written_),
        [self = shared_from_this()](Error error, size_t bytes) { self->wrote(error, bytes); });
  }

  void wrote(Error error, size_t bytes) {
    if (ended_) return;
    timer_.cancel();
    if (error) return end();
    written_ += bytes;
    waiting_bytes_ -= bytes;
    if (written_ == answers_.front().size()) {
      answers_.pop_front();
      written_ = 0;
    }
    if (!answers_.empty()) return write();
    if (last_) end();
  }

  void drop(std::string_view why) {
    if (ended_) return;
    log(base::Event::kClientDropped, absl::StrCat(who_, " dropped: it ", std::string(why)));
    end();
  }

  const std::shared_ptr<Shared> shared_;
  Protocol::socket socket_;
  asio::steady_timer timer_;
  const std::string who_;
  std::shared_ptr<Session> session_;
  std::array<char, 64 << 10> input_;
  std::deque<std::string> answers_;
  size_t written_ = 0;        // of the first
  size_t waiting_bytes_ = 0;  // of all answers, not yet written
  bool reading_ = false;
  bool last_ = false;  // close the client after the waiting answers
  bool ended_ = false;
};

class UnixServer final : public Server {
 public:
  UnixServer(asio::io_context& loop, const Methods& methods, SocketFile file,
             const Options& options)
      : shared_(std::make_shared<Shared>(Shared{.methods = methods, .options = options})),
        file_(std::move(file)),
        acceptor_(loop, Protocol(), file_.release()),
        pause_(loop) {
    accept();
  }
  ~UnixServer() override {
    shared_->ended = true;
    Error ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto& client : std::exchange(shared_->clients, {})) client->end();
  }
  size_t clients() const override { return shared_->clients.size(); }

 private:
  void accept() {
    acceptor_.async_accept([this, shared = shared_](Error error, Protocol::socket socket) {
      if (shared->ended) return;
      if (error) return retry();
      admit(std::move(socket));
      accept();
    });
  }
  // Descriptors are exhausted at the moment.
  void retry() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this, shared = shared_](Error error) {
      if (!error && !shared->ended) accept();
    });
  }
  void admit(Protocol::socket socket) {
    const size_t most = shared_->options.max_clients;
    const bool room = shared_->clients.size() < most;
    auto client = std::make_shared<Client>(shared_, std::move(socket));
    if (!room) return client->refuse(most);
    shared_->clients.insert(client);
    client->begin();
  }

  const std::shared_ptr<Shared> shared_;
  SocketFile file_;
  Protocol::acceptor acceptor_;
  asio::steady_timer pause_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::create(asio::io_context& loop,
                                                       const Methods& methods,
                                                       const std::string& path,
                                                       const Options& options) {
  auto file = SocketFile::listen(path);
  if (!file.ok()) return file.status();
  return std::make_unique<UnixServer>(loop, methods, *std::move(file), options);
}

}  // namespace mrpool::control
