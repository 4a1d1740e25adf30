#include "tests/sim/network.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::sim {

using uiwarp::AcceptHandler;
using uiwarp::Dial;
using uiwarp::DialHandler;
using uiwarp::Stream;
using uiwarp::StreamEvents;
using uiwarp::StreamListener;
using uiwarp::StreamResult;

class Link : public std::enable_shared_from_this<Link> {
 public:
  class End;

  Link(SimNetwork& network, const NetworkOptions& options, uint64_t seed)
      : reactor_(network.reactor_),
        options_(options),
        one_writer_(network.bugs_.one_writer),
        stuck_(network.stuck_),
        random_(seed) {}
  ~Link() { stuck_->erase(this); }

  bool broken() const { return broken_; }
  bool open() const { return !broken_ && ends_[0] != nullptr && ends_[1] != nullptr; }
  void break_off();
  std::unique_ptr<Stream> make_end(int side, std::string local, std::string peer);

 private:
  struct Chunk {
    Nanoseconds arrives;
    std::vector<std::byte> bytes;
    size_t taken = 0;
  };
  // What one end writes and the other reads.
  struct Pipe {
    std::deque<Chunk> chunks;
    size_t held = 0;
    Nanoseconds last_arrival{};
    bool finished = false;  // the writer shut down
  };

  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  bool chance(uint32_t per_million) { return per_million > 0 && below(1'000'000) < per_million; }
  Nanoseconds arrival(Pipe& pipe);
  StreamResult read(int side, std::span<const iovec> to);
  StreamResult write(int side, std::span<const iovec> from);
  // When `side` can next read or write something; max(): not before the peer acts.
  Nanoseconds readable_at(int side) const;
  Nanoseconds writable_at(int side) const;
  void wake(int side);
  void leave(int side);
  // The listening side waits for another connection's peer, by a planted bug.
  bool waits_for_others(int side) const {
    return one_writer_ && side == 1 && stuck_->size() > stuck_->count(this);
  }

  static constexpr Nanoseconds kLook = std::chrono::milliseconds(1);

  Reactor& reactor_;
  const NetworkOptions options_;
  const bool one_writer_;
  const std::shared_ptr<std::set<const Link*>> stuck_;
  std::mt19937_64 random_;
  Pipe pipes_[2];  // [side]: what that side writes
  End* ends_[2] = {nullptr, nullptr};
  bool broken_ = false;
};

class Link::End final : public Stream {
 public:
  End(std::shared_ptr<Link> link, int side, std::string local, std::string peer)
      : link_(std::move(link)),
        side_(side),
        local_(std::move(local)),
        peer_(std::move(peer)),
        wake_(*this) {}
  ~End() override {
    wake_.cancel();
    link_->leave(side_);
  }

  StreamResult readv(std::span<const iovec> to) override { return link_->read(side_, to); }
  StreamResult writev(std::span<const iovec> from) override { return link_->write(side_, from); }
  void want_read() override {
    want_read_ = true;
    update();
  }
  void want_write() override {
    want_write_ = true;
    update();
  }
  void stop_watching() override {}
  void shutdown_write() override {
    link_->pipes_[side_].finished = true;
    link_->pipes_[side_].last_arrival = link_->arrival(link_->pipes_[side_]);
    link_->wake(1 - side_);
  }
  bool peer_closed() const override {
    const Pipe& from_peer = link_->pipes_[1 - side_];
    return link_->broken_ ||
           (from_peer.finished && from_peer.last_arrival <= link_->reactor_.now());
  }
  void attach(Reactor&, StreamEvents& events) override { events_ = &events; }
  void detach() override {
    want_read_ = want_write_ = false;
    wake_.cancel();
    events_ = nullptr;
  }
  std::string local_name() const override { return local_; }
  std::string peer_name() const override { return peer_; }

  // Arms the timer for the first of the things that are waited for.
  void update() {
    Nanoseconds at = Nanoseconds::max();
    if (want_read_) at = std::min(at, link_->readable_at(side_));
    if (want_write_) at = std::min(at, link_->writable_at(side_));
    if (at == Nanoseconds::max()) {
      wake_.cancel();
      return;
    }
    const Nanoseconds now = link_->reactor_.now();
    wake_.arm(link_->reactor_, std::max(at - now, Nanoseconds(0)));
  }

 private:
  struct Wake : Timer {
    explicit Wake(End& owner_in)
        : Timer([](Timer& self) { static_cast<Wake&>(self).owner.fire(); }), owner(owner_in) {}
    End& owner;
  };
  void fire() {
    const Nanoseconds now = link_->reactor_.now();
    const bool read = want_read_ && link_->readable_at(side_) <= now;
    // One event at a time, because its handler may destroy the stream.
    const bool write = !read && want_write_ && link_->writable_at(side_) <= now;
    if (read) want_read_ = false;
    if (write) want_write_ = false;
    update();
    StreamEvents* const events = events_;
    if (events == nullptr) return;
    if (read) events->on_readable();
    if (write) events->on_writable();
  }

  std::shared_ptr<Link> link_;
  const int side_;
  const std::string local_;
  const std::string peer_;
  Wake wake_;
  StreamEvents* events_ = nullptr;
  bool want_read_ = false;
  bool want_write_ = false;
};

std::unique_ptr<Stream> Link::make_end(int side, std::string local, std::string peer) {
  auto end = std::make_unique<End>(shared_from_this(), side, std::move(local), std::move(peer));
  ends_[side] = end.get();
  return end;
}

Nanoseconds Link::arrival(Pipe& pipe) {
  const auto spread = static_cast<uint64_t>((options_.max_delay - options_.min_delay).count());
  Nanoseconds at = reactor_.now() + options_.min_delay + Nanoseconds(below(spread + 1));
  if (chance(options_.stall_per_million)) at += options_.stall;
  return std::max(at, pipe.last_arrival);  // in order
}

StreamResult Link::read(int side, std::span<const iovec> to) {
  if (!broken_ && chance(options_.reset_per_million)) break_off();
  if (broken_) return {.error = ECONNRESET};
  Pipe& pipe = pipes_[1 - side];
  size_t budget = 1 + below(options_.max_transfer);
  StreamResult result;
  for (const iovec& piece : to) {
    size_t filled = 0;
    while (filled < piece.iov_len && budget > 0 && !pipe.chunks.empty() &&
           pipe.chunks.front().arrives <= reactor_.now()) {
      Chunk& chunk = pipe.chunks.front();
      const size_t part =
          std::min({piece.iov_len - filled, budget, chunk.bytes.size() - chunk.taken});
      std::memcpy(static_cast<std::byte*>(piece.iov_base) + filled,
                  chunk.bytes.data() + chunk.taken, part);
      filled += part;
      budget -= part;
      chunk.taken += part;
      if (chunk.taken == chunk.bytes.size()) pipe.chunks.pop_front();
    }
    result.bytes += filled;
    if (filled < piece.iov_len) break;
  }
  if (result.bytes > 0) {
    pipe.held -= result.bytes;
    if (side == 0) stuck_->erase(this);
    wake(1 - side);  // there is room again
    return result;
  }
  if (pipe.chunks.empty() && pipe.finished && pipe.last_arrival <= reactor_.now()) {
    return {.closed = true};
  }
  return {.would_block = true};
}

StreamResult Link::write(int side, std::span<const iovec> from) {
  if (!broken_ && chance(options_.reset_per_million)) break_off();
  if (broken_) return {.error = ECONNRESET};
  Pipe& pipe = pipes_[side];
  if (pipe.finished) return {.error = EPIPE};
  if (pipe.held >= options_.window) {
    if (side == 1) stuck_->insert(this);
    return {.would_block = true};
  }
  if (waits_for_others(side)) return {.would_block = true};
  size_t budget = std::min<size_t>(1 + below(options_.max_transfer), options_.window - pipe.held);
  Chunk chunk{.arrives = arrival(pipe), .bytes = {}};
  for (const iovec& piece : from) {
    const auto* at = static_cast<const std::byte*>(piece.iov_base);
    const size_t part = std::min(piece.iov_len, budget);
    chunk.bytes.insert(chunk.bytes.end(), at, at + part);
    budget -= part;
    if (budget == 0) break;
  }
  const size_t bytes = chunk.bytes.size();
  if (bytes == 0) return {.would_block = true};
  pipe.last_arrival = chunk.arrives;
  pipe.held += bytes;
  pipe.chunks.push_back(std::move(chunk));
  wake(1 - side);
  return {.bytes = bytes};
}

Nanoseconds Link::readable_at(int side) const {
  if (broken_) return reactor_.now();
  const Pipe& pipe = pipes_[1 - side];
  if (!pipe.chunks.empty()) return pipe.chunks.front().arrives;
  return pipe.finished ? pipe.last_arrival : Nanoseconds::max();
}

Nanoseconds Link::writable_at(int side) const {
  const bool ready = broken_ || pipes_[side].finished || pipes_[side].held < options_.window;
  if (ready && !broken_ && waits_for_others(side)) return reactor_.now() + kLook;
  return ready ? reactor_.now() : Nanoseconds::max();
}

void Link::wake(int side) {
  if (ends_[side] != nullptr) ends_[side]->update();
}

void Link::break_off() {
  broken_ = true;
  stuck_->erase(this);
  wake(0);
  wake(1);
}

// As close() of a socket: what was written still arrives, unless something the peer wrote was not
// read, which is a reset.
void Link::leave(int side) {
  ends_[side] = nullptr;
  stuck_->erase(this);
  if (pipes_[1 - side].held > 0) {
    break_off();
  } else if (!pipes_[side].finished) {
    pipes_[side].finished = true;
    pipes_[side].last_arrival = arrival(pipes_[side]);
    wake(1 - side);
  }
}

class SimNetwork::SimListener final : public StreamListener {
 public:
  SimListener(SimNetwork& network, uint16_t port, AcceptHandler& handler)
      : network_(network), port_(port), handler_(handler) {
    network_.listeners_[port_] = this;
  }
  ~SimListener() override { network_.listeners_.erase(port_); }
  uint16_t port() const override { return port_; }
  AcceptHandler& handler() { return handler_; }

 private:
  SimNetwork& network_;
  const uint16_t port_;
  AcceptHandler& handler_;
};

class SimNetwork::SimDial final : public Dial {
 public:
  SimDial(SimNetwork& network, std::string from, const NetworkOptions* options, uint16_t port,
          DialHandler& handler)
      : network_(network), from_(std::move(from)), port_(port), handler_(handler), timer_(*this) {
    if (options != nullptr) options_ = *options;
    timer_.arm(network_.reactor_, network_.delay());
  }

 private:
  struct Arrival : Timer {
    explicit Arrival(SimDial& owner_in)
        : Timer([](Timer& self) { static_cast<Arrival&>(self).owner.arrive(); }), owner(owner_in) {}
    SimDial& owner;
  };
  void arrive() {
    const auto listener = network_.listeners_.find(port_);
    if (listener == network_.listeners_.end()) {
      handler_.on_dialed(absl::UnavailableError(absl::StrCat("port ", port_, ": refused")));
      return;
    }
    DialHandler& handler = handler_;
    auto [near, far] = network_.connect(from_, port_, options_.value_or(network_.options_));
    listener->second->handler().on_accept(std::move(far));
    handler.on_dialed(std::move(near));
  }

  SimNetwork& network_;
  const std::string from_;
  std::optional<NetworkOptions> options_;
  const uint16_t port_;
  DialHandler& handler_;
  Arrival timer_;
};

SimNetwork::SimNetwork(Reactor& reactor, const NetworkOptions& options)
    : reactor_(reactor),
      options_(options),
      stuck_(std::make_shared<std::set<const Link*>>()),
      random_(options.seed) {}

SimNetwork::~SimNetwork() = default;

Nanoseconds SimNetwork::delay() {
  const auto spread = static_cast<uint64_t>((options_.max_delay - options_.min_delay).count());
  return options_.min_delay + Nanoseconds(below(spread + 1));
}

absl::StatusOr<std::unique_ptr<StreamListener>> SimNetwork::listen(Reactor&, const Address& address,
                                                                   AcceptHandler& handler) {
  const uint16_t port = address.port != 0 ? address.port : next_port_++;
  if (listeners_.contains(port)) {
    return absl::AlreadyExistsError(absl::StrCat("port ", port, " is in use"));
  }
  return std::make_unique<SimListener>(*this, port, handler);
}

absl::StatusOr<std::unique_ptr<Dial>> SimNetwork::dial(Reactor&, const Address& address,
                                                       DialHandler& handler) {
  return dial_from(kSomePeer, nullptr, address, handler);
}

std::unique_ptr<Dial> SimNetwork::dial_from(std::string from, const NetworkOptions* options,
                                            const Address& address, DialHandler& handler) {
  return std::make_unique<SimDial>(*this, std::move(from), options, address.port, handler);
}

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> SimNetwork::connect(
    const std::string& from, uint16_t port, const NetworkOptions& options) {
  auto link = std::make_shared<Link>(*this, options, random_());
  std::erase_if(links_, [](const auto& each) { return each.expired(); });
  links_.push_back(link);
  const std::string a = absl::StrCat(bugs_.one_address ? kSomePeer : from, ":", next_port_++);
  const std::string b = absl::StrCat("127.0.0.1:", port != 0 ? port : next_port_);
  ++next_port_;
  return {link->make_end(0, a, b), link->make_end(1, b, a)};
}

bool SimNetwork::break_one() {
  std::vector<std::shared_ptr<Link>> open;
  for (const auto& each : links_) {
    if (auto link = each.lock(); link != nullptr && link->open()) open.push_back(link);
  }
  if (open.empty()) return false;
  open[below(open.size())]->break_off();
  return true;
}

void SimNetwork::break_all() {
  for (const auto& each : links_) {
    if (auto link = each.lock(); link != nullptr) link->break_off();
  }
}

size_t SimNetwork::open_connections() {
  return static_cast<size_t>(std::count_if(links_.begin(), links_.end(), [](const auto& each) {
    const auto link = each.lock();
    return link != nullptr && link->open();
  }));
}

}  // namespace mrpool::sim
