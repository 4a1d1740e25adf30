// Two connected Qps for tests, on whatever reactor and network a test has: both ends in one
// process, everything they hear recorded.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mrpool/device.h"
#include "transport/uiwarp/open.h"

namespace mrpool::uiwarp::testing {

// A completion that records its result.
struct Recorded : Completion {
  Recorded() : Completion(&Recorded::finished) {}
  static void finished(Completion& self, const WorkCompletion& wc) {
    auto& me = static_cast<Recorded&>(self);
    ++me.calls;
    me.wc = wc;
    if (me.log != nullptr) me.log->push_back(&me);
    if (me.then) me.then();
  }
  bool done() const { return calls > 0; }
  bool good() const { return calls == 1 && wc.status == WcStatus::kSuccess; }

  int calls = 0;
  WorkCompletion wc;
  std::vector<Recorded*>* log = nullptr;
  std::function<void()> then;
};

struct Side : QpEvents {
  virtual ~Side() = default;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<Cq> cq;
  std::unique_ptr<Qp> qp;
  bool connected = false;
  bool rejected = false;
  bool disconnected = false;
  Disconnect why;
  std::string detail;
  ConnectionInfo info;
  std::string private_data;
  std::function<void()> after_disconnect;

  void on_connected(Qp&, const ConnectionInfo& event) override {
    connected = true;
    info = event;
    private_data.assign(reinterpret_cast<const char*>(event.private_data.data()),
                        event.private_data.size());
    info.private_data = {};
  }
  void on_rejected(Qp&, std::span<const std::byte> data) override {
    rejected = true;
    private_data.assign(reinterpret_cast<const char*>(data.data()), data.size());
  }
  void on_disconnected(Qp&, const Disconnect& event) override {
    EXPECT_FALSE(disconnected) << "on_disconnected came twice";
    disconnected = true;
    why = event;
    detail = std::string(event.detail);
    why.detail = {};
    if (after_disconnect) after_disconnect();
  }
  PostStatus send(const WorkRequest& wr) { return qp->post_send(wr).status; }
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A buffer with its registration.
struct Buffer {
  Buffer(Pd& pd, size_t size, Access access, unsigned char fill = 0)
      : memory(size, std::byte(fill)) {
    auto made = pd.reg_mr(memory, access);
    EXPECT_TRUE(made.ok()) << made.status();
    if (made.ok()) mr = *std::move(made);
  }
  void pattern(unsigned seed) {
    for (size_t i = 0; i < memory.size(); ++i) {
      memory[i] = std::byte((i * 131 + (i >> 8) * 7 + seed) & 0xff);
    }
  }
  Sge sge() const { return mr->sge(0, static_cast<uint32_t>(memory.size())); }
  RemoteAddr at(uint64_t offset) const { return {mr->remote_addr().value + offset}; }

  std::vector<std::byte> memory;
  std::unique_ptr<Mr> mr;
};

// Accepts everything with the options it was given, or rejects.
struct Server final : Side, ListenHandler {
  std::shared_ptr<Device> device;
  std::unique_ptr<Listener> listener;
  QpOptions options;
  std::string reply_data;
  bool reject = false;
  std::function<void()> before_return;
  std::string request_data;
  ConnectionInfo offer;

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    request_data.assign(reinterpret_cast<const char*>(request->info().private_data.data()),
                        request->info().private_data.size());
    offer = request->info();
    offer.private_data = {};
    if (reject) {
      EXPECT_TRUE(request->reject(bytes_of(reply_data)).ok());
      return;
    }
    auto made = request->accept(*pd, options, {.private_data = bytes_of(reply_data)}, *this);
    ASSERT_TRUE(made.ok()) << made.status();
    qp = *std::move(made);
    if (before_return) before_return();
  }
};

inline constexpr uint32_t kDepth = 64;

// A test gives up when a condition does not come true within a generous number of steps.
class Pair {
 public:
  Pair(Reactor& reactor, std::shared_ptr<Network> network, DeviceOptions options = {})
      : reactor_(reactor) {
    if (!options.seed) options.seed = 1;
    server_device = make_device(options, network);
    DeviceOptions other = options;
    other.seed = *options.seed + 1;
    client_device = make_device(other, network);
    prepare(server, *server_device);
    prepare(client, *client_device);
    server.device = server_device;
    server.options = qp_options(server);
    client_options = qp_options(client);
  }
  ~Pair() {
    client.qp.reset();
    server.qp.reset();
  }

  QpOptions qp_options(Side& side) {
    return {.send_cq = side.cq.get(),
            .recv_cq = side.cq.get(),
            .max_send_wr = kDepth,
            .max_recv_wr = kDepth,
            .max_send_sge = 4,
            .max_recv_sge = 4};
  }

  template <typename Condition>
  bool until(Condition&& condition, int rounds = 2'000'000) {
    for (int i = 0; i < rounds; ++i) {
      if (condition()) return true;
      step();
    }
    return condition();
  }
  // Lets everything that is under way settle.
  void settle(int rounds = 2000) {
    for (int i = 0; i < rounds; ++i) step();
  }

  void listen() {
    auto made = server_device->listen(reactor_, address(0), server);
    ASSERT_TRUE(made.ok()) << made.status();
    server.listener = *std::move(made);
  }
  void dial(std::string_view private_data = {}) {
    auto made = client_device->connect(address(server.listener->port()), *client.pd, client_options,
                                       {.private_data = bytes_of(private_data)}, client);
    ASSERT_TRUE(made.ok()) << made.status();
    client.qp = *std::move(made);
  }
  void connect() {
    listen();
    dial();
    ASSERT_TRUE(until([&] { return client.connected && server.connected; })) << client.detail;
  }

  // Runs the world a little further.
  std::function<void()> step = [this] { reactor_.poll(); };
  std::shared_ptr<Device> server_device;
  std::shared_ptr<Device> client_device;
  Server server;
  Side client;
  QpOptions client_options;

 private:
  static Address address(uint16_t port) {
    return {.transport = "uiwarp", .host = "127.0.0.1", .port = port, .options = {}};
  }
  void prepare(Side& side, Device& device) {
    side.pd = *device.alloc_pd();
    side.cq = *device.create_cq(reactor_, {.depth = 4 * kDepth});
  }
  Reactor& reactor_;
};

}  // namespace mrpool::uiwarp::testing
