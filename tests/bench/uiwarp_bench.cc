// uiwarp through its public interface, in the shapes of tcp_ceiling: two processes, one core each,
// busy polling. What a connection costs on top of the TCP under it.
//
//   uiwarp_bench rtt   --size BYTES                 SEND there, SEND back
//   uiwarp_bench read  --size BYTES --depth N       RDMA READs outstanding
//   uiwarp_bench write --size BYTES --depth N       RDMA WRITEs outstanding, confirmed at the end
//   uiwarp_bench sends --size BYTES                 SENDs one way, credits come back
//   uiwarp_bench register --size BYTES              lease, map, register, invalidate, return;
//                                                   beside it, a copy into a bounce buffer
//   uiwarp_bench reg_mr --size BYTES                Pd::reg_mr and its end, per I/O: on verbs://
//                                                   that is ibv_reg_mr
// Options: --seconds S, --crc on|off, --address TRANSPORT://HOST (default uiwarp://127.0.0.1).
// Prints one JSON object. The serving process runs on core 0, the other on core 1.
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/load/histogram.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"

namespace mrpool::bench {
namespace {

constexpr uint32_t kReceives = 256;  // posted on each side at most
constexpr uint32_t kCredits = 64;    // SENDs that one credit message stands for
constexpr size_t kNoteBytes = 64;

struct Options {
  std::string mode;
  size_t size = 64;
  uint32_t depth = 16;
  double seconds = 1;
  std::string crc = "on";
  std::string address = "uiwarp://127.0.0.1";
};

[[noreturn]] void die(const absl::Status& status) {
  std::fprintf(stderr, "uiwarp_bench: %s\n", std::string(status.message()).c_str());
  std::exit(1);
}
template <typename T>
T must(absl::StatusOr<T> value) {
  if (!value.ok()) die(value.status());
  return *std::move(value);
}
void must(bool ok, const char* what) {
  if (!ok) die(absl::InternalError(what));
}

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

uint64_t now_ns() { return uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()); }

// The server's description of its memory in the connection's private data.
struct Offer {
  uint64_t address;
  uint32_t rkey;
};

// One end: device, memory and a full receive queue whose messages go to on_message().
class End : public QpEvents {
 public:
  End(const Options& options, size_t bytes, Access access)
      : options_(options), memory_(bytes), notes_(kReceives * std::max(options.size, kNoteBytes)) {
    reactor_ = must(Reactor::create({.spin = Nanoseconds::max()}));
    address_ =
        must(Address::parse(options.crc == "on" ? absl::StrCat(options.address, "?crc=on")
                                                : absl::StrCat(options.address, "?crc=off")));
    device_ = must(Device::open(address_));
    pd_ = must(device_->alloc_pd());
    cq_ = must(device_->create_cq(*reactor_, {.depth = 4 * kReceives}));
    mr_ = must(pd_->reg_mr(memory_, access));
    notes_mr_ = must(pd_->reg_mr(notes_, Access::kLocalWrite));
  }
  virtual ~End() = default;

  QpOptions qp_options() {
    return {.send_cq = cq_.get(),
            .recv_cq = cq_.get(),
            .max_send_wr = kReceives,
            .max_recv_wr = kReceives,
            .ord = 64,
            .ird = 64};
  }

  // A round trip gets no more memory to walk through than tcp_ceiling's has.
  void post_receives() {
    for (uint32_t i = 0; i < (options_.mode == "rtt" ? 2 : kReceives); ++i) {
      receives_[i] = std::make_unique<Receive>(*this, i);
      post(*receives_[i]);
    }
  }

  void send(size_t bytes) {
    const Sge sge = mr_->sge(0, uint32_t(bytes));
    must(qp_->post_send({.signalled = false, .sges = {&sge, 1}}).ok(), "post of a SEND");
  }

  template <typename Condition>
  void until(Condition&& condition) {
    while (!condition()) {
      reactor_->poll();
      if (ended_) die(absl::UnavailableError(absl::StrCat("connection ended: ", detail_)));
    }
  }

  void on_connected(Qp&, const ConnectionInfo& info) override {
    connected_ = true;
    if (info.private_data.size() == sizeof(Offer)) {
      std::memcpy(&offer_, info.private_data.data(), sizeof(Offer));
    }
  }
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect& why) override {
    ended_ = true;
    detail_ = std::string(why.detail);
  }

 protected:
  struct Receive : Completion {
    Receive(End& owner_end, uint32_t number)
        : Completion(&Receive::finished), owner(owner_end), index(number) {}
    static void finished(Completion& self, const WorkCompletion& wc) {
      auto& me = static_cast<Receive&>(self);
      if (wc.status != WcStatus::kSuccess) return;
      me.owner.post(me);
      me.owner.on_message();
    }
    End& owner;
    uint32_t index;
  };
  void post(Receive& receive) {
    const size_t room = std::max(options_.size, kNoteBytes);
    const Sge sge = notes_mr_->sge(receive.index * room, uint32_t(room));
    must(qp_->post_recv({.completion = &receive, .sges = {&sge, 1}}) == PostStatus::kOk,
         "post of a receive");
  }
  virtual void on_message() { ++messages_; }

  const Options& options_;
  std::vector<std::byte> memory_;
  std::vector<std::byte> notes_;
  std::unique_ptr<Reactor> reactor_;
  Address address_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<Mr> mr_;
  std::unique_ptr<Mr> notes_mr_;
  std::array<std::unique_ptr<Receive>, kReceives> receives_;
  std::unique_ptr<Qp> qp_;
  Offer offer_ = {};
  uint64_t messages_ = 0;
  bool connected_ = false;
  bool ended_ = false;
  std::string detail_;
};

// Memory of the I/Os in flight: each has its own, as in tcp_ceiling.
size_t area(const Options& options) { return options.size * options.depth; }

class ServerEnd final : public End, public ListenHandler {
 public:
  explicit ServerEnd(const Options& options)
      : End(options, area(options),
            Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead) {}

  [[noreturn]] void serve(int port_pipe) {
    const auto listener = must(device_->listen(*reactor_, address_, *this));
    const uint16_t port = listener->port();
    must(write(port_pipe, &port, sizeof(port)) == sizeof(port), "pipe");
    while (!ended_) reactor_->poll();
    qp_.reset();
    std::exit(0);
  }

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    const Offer offer = {mr_->remote_addr().value, mr_->rkey().value};
    qp_ = must(request->accept(*pd_, qp_options(),
                               {.private_data = std::as_bytes(std::span(&offer, 1))}, *this));
    post_receives();
  }

 private:
  void on_message() override {
    ++messages_;
    if (options_.mode == "sends") {
      if (messages_ % kCredits == 0) send(8);
    } else {
      send(options_.size);  // rtt, and the confirmation of writes
    }
  }
};

class ClientEnd final : public End {
 public:
  explicit ClientEnd(const Options& options)
      : End(options, area(options), Access::kLocalWrite | Access::kRemoteWrite) {}

  void connect(uint16_t port) {
    Address to = address_;
    to.port = port;
    qp_ = must(device_->connect(to, *pd_, qp_options(), {}, *this));
    post_receives();
    until([&] { return connected_; });
  }

  void measure() {
    if (options_.mode == "rtt") {
      round_trips();
    } else if (options_.mode == "sends") {
      sends();
    } else if (options_.mode == "register") {
      registrations();
    } else {
      transfers(options_.mode == "read" ? Opcode::kRdmaRead : Opcode::kRdmaWrite);
    }
    qp_->abort();
    while (!ended_) reactor_->poll();
  }

 private:
  struct Window {
    explicit Window(double seconds)
        : from(now_ns() + uint64_t(seconds * 0.1e9)), to(from + uint64_t(seconds * 1e9)) {}
    uint64_t from;
    uint64_t to;
  };

  void print(uint64_t operations, uint64_t ns, const load::Histogram* latency) {
    const double seconds = double(ns) / 1e9;
    std::printf("{\"per_second\": %.1f, \"bytes_per_second\": %.0f", double(operations) / seconds,
                double(operations) * double(options_.size) / seconds);
    if (latency != nullptr) {
      std::printf(", \"mean_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f", latency->mean() / 1e3,
                  double(latency->percentile(50)) / 1e3, double(latency->percentile(99)) / 1e3);
    }
    std::printf("}\n");
  }

  void round_trips() {
    const Window window(options_.seconds);
    load::Histogram latency;
    uint64_t now = now_ns();
    uint64_t first = 0;
    uint64_t count = 0;
    // At least one operation is measured, however little time the machine gives.
    while (now < window.to || count == 0) {
      const uint64_t expected = messages_ + 1;
      const uint64_t begin = now;
      send(options_.size);
      until([&] { return messages_ == expected; });
      now = now_ns();
      if (begin < window.from) continue;
      if (first == 0) first = begin;
      latency.add(now - begin);
      ++count;
    }
    print(count, now - first, &latency);
  }

  struct Transfer : Completion {
    Transfer(ClientEnd& owner_end, uint32_t number)
        : Completion(&Transfer::finished), owner(owner_end), index(number) {}
    static void finished(Completion& self, const WorkCompletion& wc) {
      auto& me = static_cast<Transfer&>(self);
      if (wc.status != WcStatus::kSuccess) return;
      ++me.owner.done_;
      me.idle = true;
    }
    ClientEnd& owner;
    uint32_t index;
    bool idle = true;
  };

  void transfers(Opcode opcode) {
    auto& slots = transfers_;
    for (uint32_t i = 0; i < options_.depth; ++i) {
      slots.push_back(std::make_unique<Transfer>(*this, i));
    }
    const auto fill = [&] {
      for (const auto& slot : slots) {
        if (!slot->idle) continue;
        slot->idle = false;
        const Sge sge = mr_->sge(slot->index * options_.size, uint32_t(options_.size));
        must(qp_->post_send({.completion = slot.get(),
                             .opcode = opcode,
                             .sges = {&sge, 1},
                             .remote_addr = {offer_.address + slot->index * options_.size},
                             .rkey = {offer_.rkey}})
                 .ok(),
             "post of a transfer");
      }
    };
    const Window window(options_.seconds);
    const auto run_to = [&](uint64_t end) {
      while (now_ns() < end) {
        fill();
        reactor_->poll();
        if (ended_) die(absl::UnavailableError(absl::StrCat("connection ended: ", detail_)));
      }
    };
    run_to(window.from);
    const uint64_t first = now_ns();
    const uint64_t done_before = done_;
    run_to(window.to);
    until([&] { return done_ > done_before; });
    // The completion of a WRITE means that the bytes were sent; the answer to a later SEND means
    // that they have arrived.
    if (opcode == Opcode::kRdmaWrite) {
      until([&] {
        for (const auto& slot : slots) {
          if (!slot->idle) return false;
        }
        return true;
      });
      const uint64_t expected = messages_ + 1;
      send(kNoteBytes);
      until([&] { return messages_ == expected; });
    }
    print(done_ - done_before, now_ns() - first, nullptr);
  }

  void sends() {
    const Window window(options_.seconds);
    uint64_t sent = 0;
    uint64_t sent_before = 0;
    uint64_t first = 0;
    uint64_t now = now_ns();
    while (now < window.to || first == 0 || messages_ * kCredits == sent_before) {
      if (first == 0 && now >= window.from) {
        first = now;
        sent_before = messages_ * kCredits;
      }
      for (int i = 0; i < 32 && sent - messages_ * kCredits < kReceives - kCredits; ++i) {
        send(options_.size);
        ++sent;
      }
      reactor_->poll();
      now = now_ns();
      if (ended_) die(absl::UnavailableError(absl::StrCat("connection ended: ", detail_)));
    }
    print(messages_ * kCredits - sent_before, now - first, nullptr);
  }

  struct Invalidated : Completion {
    Invalidated()
        : Completion([](Completion& self, const WorkCompletion&) {
            static_cast<Invalidated&>(self).done = true;
          }) {}
    bool done = false;
  };

  // No byte goes over the wire: what a key that lives for one I/O costs by itself.
  void registrations() {
    const Access rights = Access::kLocalWrite | Access::kRemoteWrite;
    const auto pool = must(MrPool::create(*pd_, {.count = 16, .access = rights}));
    const Sge memory = mr_->sge(0, uint32_t(options_.size));
    constexpr uint64_t kBatch = 64;
    uint64_t registrations = 0;
    uint64_t register_ns = 0;
    uint64_t copies = 0;
    uint64_t copy_ns = 0;
    std::vector<std::byte> bounce(options_.size);
    const uint64_t end = now_ns() + uint64_t(options_.seconds * 1e9);
    // Both in turn, in short batches, so that one machine state serves both.
    while (now_ns() < end) {
      uint64_t begin = now_ns();
      for (uint64_t i = 0; i < kBatch; ++i) {
        MrPool::Lease lease = pool->get();
        must(bool(lease) && lease.map({&memory, 1}) == 1, "map");
        WorkRequest invalidate;
        WorkRequest registration;
        must(lease.prepare_register(rights, registration) == PostStatus::kOk, "register");
        lease.prepare_invalidate(invalidate);
        Invalidated done;
        invalidate.completion = &done;
        registration.next = &invalidate;
        must(qp_->post_send(registration).ok(), "post of a registration");
        until([&] { return done.done; });
        lease.invalidated();
      }
      register_ns += now_ns() - begin;
      registrations += kBatch;
      begin = now_ns();
      const uint64_t few = std::max<uint64_t>(1, (256 << 10) / options_.size);
      for (uint64_t i = 0; i < few; ++i) {
        std::memcpy(bounce.data(), memory_.data(), options_.size);
        asm volatile("" : : "r"(bounce.data()) : "memory");
      }
      copy_ns += now_ns() - begin;
      copies += few;
    }
    std::printf("{\"register_ns\": %.1f, \"copy_ns\": %.1f}\n",
                double(register_ns) / double(registrations), double(copy_ns) / double(copies));
  }

  std::vector<std::unique_ptr<Transfer>> transfers_;  // READs are flushed into them at the end
  uint64_t done_ = 0;
};

// What a program without fast registration does: memory registered for each I/O.
void plain_registrations(const Options& options) {
  pin(1);
  const auto device = must(Device::open(must(Address::parse(options.address))));
  const auto pd = must(device->alloc_pd());
  std::vector<std::byte> memory(options.size, std::byte{1});  // touched: pages are there
  constexpr uint64_t kBatch = 16;
  uint64_t count = 0;
  const uint64_t begin = now_ns();
  const uint64_t end = begin + uint64_t(options.seconds * 1e9);
  uint64_t now = begin;
  for (; now < end; now = now_ns()) {
    for (uint64_t i = 0; i < kBatch; ++i) {
      must(pd->reg_mr(memory, Access::kLocalWrite | Access::kRemoteWrite));
    }
    count += kBatch;
  }
  std::printf("{\"reg_mr_ns\": %.1f}\n", double(now - begin) / double(count));
}

int usage() {
  std::fputs(
      "usage: uiwarp_bench rtt|read|write|sends|register|reg_mr [--size BYTES] [--depth N]\n"
      "                    [--seconds S] [--crc on|off] [--address TRANSPORT://HOST]\n",
      stderr);
  return 2;
}

int run(int argc, char** argv) {
  if (argc < 2) return usage();
  Options options;
  options.mode = argv[1];
  bool known = false;
  for (const char* mode : {"rtt", "read", "write", "sends", "register", "reg_mr"}) {
    known |= options.mode == mode;
  }
  if (!known || argc % 2 != 0) return usage();
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--size") {
      options.size = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--depth") {
      options.depth = uint32_t(std::strtoul(argv[i + 1], nullptr, 10));
    } else if (name == "--seconds") {
      options.seconds = std::strtod(argv[i + 1], nullptr);
    } else if (name == "--crc") {
      options.crc = argv[i + 1];
    } else if (name == "--address") {
      options.address = argv[i + 1];
    } else {
      return usage();
    }
  }
  if (options.size == 0 || options.depth == 0 || options.depth > 64) return usage();
  if (options.mode == "rtt" || options.mode == "sends" || options.mode == "register") {
    options.depth = 1;
  }

  if (options.mode == "reg_mr") {
    plain_registrations(options);
    return 0;
  }
  int port_pipe[2];
  must(pipe(port_pipe) == 0, "pipe");
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    ServerEnd(options).serve(port_pipe[1]);
  }
  close(port_pipe[1]);
  pin(1);
  uint16_t port = 0;
  must(read(port_pipe[0], &port, sizeof(port)) == sizeof(port), "the server did not start");
  ClientEnd client(options);
  client.connect(port);
  client.measure();
  waitpid(child, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace mrpool::bench

int main(int argc, char** argv) { return mrpool::bench::run(argc, argv); }
