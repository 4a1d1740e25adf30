// What every conformance test stands on: two sides of a connection on the device under test.
//
// Both sides usually share one reactor, which the test itself polls (`until`), so a test reads from
// top to bottom. Every operation is recorded: that its completion comes exactly once, never from
// inside a post, is checked for all of them when the side is destroyed.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mrpool/device.h"
#include "mrpool/mr.h"
#include "mrpool/qp.h"
#include "mrpool/reactor.h"
#include "tests/conformance/ledger.h"

namespace mrpool::conformance {

// The device under test, chosen on the command line.
struct Environment {
  Address address;
  std::shared_ptr<Device> device;
  Ledger ledger;
  // How long a test waits for something that must happen; longer where everything is slow.
  std::chrono::seconds patience{120};
};
Environment& environment();
inline const DeviceCaps& caps() { return environment().device->caps(); }

// Leaves the test unless the device can do what it needs; the skip must be in the ledger.
#define MRPOOL_NEEDS(condition)                                     \
  if (!(condition)) {                                               \
    const std::string* reason = ::mrpool::conformance::excuse();    \
    ASSERT_NE(reason, nullptr) << "needs " #condition               \
                               << ", which this device lacks, and " \
                                  "the ledger does not excuse it";  \
    GTEST_SKIP() << *reason;                                        \
  }
const std::string* excuse();

// Page-aligned memory with a registration.
class Region {
 public:
  Region(Pd& pd, size_t size, Access access);
  ~Region();
  Region(const Region&) = delete;

  std::span<std::byte> bytes() { return bytes_; }
  std::span<std::byte> bytes(size_t offset, size_t length) {
    return bytes_.subspan(offset, length);
  }
  Mr& mr() { return *mr_; }
  Sge sge(size_t offset, size_t length) { return mr_->sge(offset, static_cast<uint32_t>(length)); }
  Sge sge() { return sge(0, bytes_.size()); }
  RemoteAddr remote(size_t offset = 0) const { return {mr_->remote_addr().value + offset}; }
  Rkey rkey() const { return mr_->rkey(); }
  void deregister() { mr_.reset(); }

  // A pattern that differs at every offset and for every seed; 0 fills with zeroes.
  void fill(uint8_t seed);
  // Index of the first byte that is not what fill(seed) puts there, or nothing.
  std::optional<size_t> differs(uint8_t seed, size_t offset, size_t length) const;
  std::optional<size_t> differs(uint8_t seed) const { return differs(seed, 0, bytes_.size()); }

 private:
  std::span<std::byte> bytes_;
  std::unique_ptr<Mr> mr_;
};

// Checks that two ranges hold the same bytes; reports the first difference.
testing::AssertionResult same_bytes(std::span<const std::byte> a, std::span<const std::byte> b);

class Side;

// One posted request and what became of it.
class Op final : public Completion {
 public:
  Op(Side& side, Opcode opcode);

  bool finished() const { return calls == 1; }
  bool ok() const { return calls == 1 && wc.status == WcStatus::kSuccess; }
  WcStatus status() const { return wc.status; }

  Side& side;
  const Opcode opcode;
  int calls = 0;
  WorkCompletion wc;
};

// One end of a connection: its own Pd and Cq, the Qp, and all its recorded events.
class Side final : public QpEvents {
 public:
  Side(Device& device, Reactor& reactor, std::string name);
  ~Side();

  // The options with this side's Cq in them.
  QpOptions options(QpOptions base = {});

  // Posts one request that must be taken. The reference stays good for the side's life.
  Op& post(WorkRequest wr);
  // Posts a request that may be refused.
  PostStatus try_post(WorkRequest wr);
  Op& receive(std::span<const Sge> sges);
  Op& receive(Sge sge) { return receive(std::span(&sge, 1)); }
  PostStatus try_receive(std::span<const Sge> sges);
  Op& srq_receive(Srq& srq, Sge sge);

  Op& send(Sge sge);
  Op& write(Sge sge, RemoteAddr to, Rkey key);
  Op& read(Sge sink, RemoteAddr from, Rkey key);

  // Operations of the kind that have been called, in the order of the calls.
  std::vector<Op*> finished_sends() const;
  std::vector<Op*> finished_receives() const;
  bool all_finished() const { return finished.size() == ops.size(); }

  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

  const std::string name;
  Device& device;
  Reactor& reactor;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<Cq> cq;
  std::unique_ptr<Qp> qp;

  bool connected = false;
  bool rejected = false;
  std::optional<DisconnectReason> disconnected;
  Disconnect why;  // without its detail
  std::string detail;
  std::vector<std::byte> peer_data;  // private data of the peer
  uint16_t ord = 0, ird = 0;         // as on_connected said

  bool in_post = false;
  std::deque<Op> ops;
  std::vector<Op*> finished;
};

// Accepts every request for `server`, or calls `decide` for it.
class Acceptor final : public ListenHandler {
 public:
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override;
  void on_listen_error(const absl::Status& error) override { listen_errors.push_back(error); }

  Side* server = nullptr;  // accepts for this side when set; keeps the request otherwise
  QpOptions options;
  std::vector<std::byte> private_data;
  std::vector<std::byte> request_data;
  uint16_t offered_ord = 0, offered_ird = 0;
  std::unique_ptr<ConnectRequest> kept;
  std::vector<absl::Status> listen_errors;
  absl::Status accepted = absl::UnknownError("no request came");
};

class ConformanceTest : public testing::Test {
 protected:
  ConformanceTest();
  ~ConformanceTest() override;

  // Listens for `acceptor`; `target` becomes where to connect.
  void listen();
  // Connects client and server and waits until both know.
  void connect(QpOptions client_options = {}, QpOptions server_options = {});
  void start_connect(Side& side, QpOptions options = {}, const ConnectParams& params = {});

  // Polls until `done()`; false when it did not come to pass in time.
  template <typename Done>
  [[nodiscard]] bool until(Done done) {
    const auto limit = std::chrono::steady_clock::now() + environment().patience;
    while (!done()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      reactor->poll();
    }
    return true;
  }
  [[nodiscard]] bool finish(const Op& op) {
    return until([&] { return op.finished(); });
  }
  // Polls for a while, for what must not happen.
  void settle();

  // Both sides have ended, and every operation was called.
  [[nodiscard]] bool both_ended();

  std::unique_ptr<Reactor> reactor;
  Device& device;
  Address target;
  Side client;
  Side server;
  Acceptor acceptor;
  std::unique_ptr<Listener> listener;
};

// Rights a READ's sink needs on this device.
Access sink_access();

}  // namespace mrpool::conformance
