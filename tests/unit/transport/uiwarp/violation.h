// A live Qp of a device and a raw peer that may send it anything.
#pragma once

#include <gtest/gtest.h>

#include "tests/unit/transport/uiwarp/pair.h"
#include "tests/unit/transport/uiwarp/raw_peer.h"

namespace mrpool::uiwarp::testing {

inline constexpr size_t kMemory = 4096;
inline constexpr uint64_t kTop = ~uint64_t{0};

class Violation : public ::testing::Test {
 protected:
  Violation()
      : network_(std::make_shared<sim::SimNetwork>(reactor_, sim::NetworkOptions{})),
        pair_(reactor_, network_),
        peer_(reactor_, *network_),
        writable_(*pair_.server.pd, kMemory, Access::kLocalWrite | Access::kRemoteWrite, 0x11),
        readable_(*pair_.server.pd, kMemory, Access::kRemoteRead, 0x22),
        inbox_(*pair_.server.pd, 64, Access::kLocalWrite, 0x33) {
    pair_.step = [this] { reactor_.step(); };
  }

  // The TCP connection of `peer` to the listener of `pair`.
  void dial(Pair& pair, RawPeer& peer) {
    pair.step = [this] { reactor_.step(); };
    pair.listen();
    peer.dial(pair.server.listener->port());
    ASSERT_TRUE(pair.until([&] { return peer.up(); }));
  }
  void connect(uint16_t ird = 4) {
    pair_.server.options.ird = ird;
    ASSERT_NO_FATAL_FAILURE(dial(pair_, peer_));
    peer_.request({.crc = true, .enhanced = true, .ird = 16, .ord = 16});
    ASSERT_TRUE(run([&] { return pair_.server.connected && peer_.take_frame(true).has_value(); }));
    const Sge sge = inbox_.sge();
    ASSERT_EQ(pair_.server.qp->post_recv({.completion = &received_, .sges = {&sge, 1}}),
              PostStatus::kOk);
  }
  template <typename Condition>
  bool run(Condition&& condition) {
    for (int i = 0; i < 200'000; ++i) {
      if (peer_.up()) peer_.hear();
      if (condition()) return true;
      reactor_.step();
    }
    return false;
  }
  // The peer sends `bytes`; the Qp must end with `code` and report it to both sides.
  void expect_refused(std::span<const std::byte> bytes, const TerminateCode& code) {
    peer_.send(bytes);
    ASSERT_TRUE(run([&] { return pair_.server.disconnected && peer_.ended; }))
        << "the violation was not noticed";
    EXPECT_EQ(pair_.server.why.reason, DisconnectReason::kProtocol);
    const TerminateCode told{pair_.server.why.layer, pair_.server.why.error_type,
                             pair_.server.why.error_code};
    EXPECT_EQ(told, code) << to_string(told);
    EXPECT_EQ(pair_.server.detail, to_string(code));
    std::optional<RawPeer::Fpdu> last;
    while (auto next = peer_.take_fpdu()) last = next;
    ASSERT_TRUE(last.has_value()) << "no Terminate came";
    EXPECT_TRUE(last->crc_right);
    EXPECT_EQ(last->header.kind, MessageKind::kTerminate);
    EXPECT_EQ(last->header.queue, kTerminateQueue);
    EXPECT_EQ(last->header.msn, 1u);
    const auto terminate = decode_terminate(last->payload);
    ASSERT_TRUE(terminate.has_value());
    EXPECT_EQ(terminate->code, code) << to_string(terminate->code);
    EXPECT_EQ(received_.calls, 1);
    EXPECT_NE(received_.wc.status, WcStatus::kSuccess);
    expect_untouched();
  }
  void expect_untouched() {
    for (const std::byte b : writable_.memory) ASSERT_EQ(b, std::byte(0x11));
    for (const std::byte b : readable_.memory) ASSERT_EQ(b, std::byte(0x22));
  }
  std::vector<std::byte> write(uint32_t stag, uint64_t offset, size_t bytes) {
    return RawPeer::fpdu(
        {.kind = MessageKind::kWrite, .tagged = true, .last = true, .stag = stag, .offset = offset},
        std::vector<std::byte>(bytes, std::byte(0x99)));
  }
  std::vector<std::byte> send(uint32_t msn, size_t bytes, uint32_t mo = 0,
                              uint32_t queue = kSendQueue, MessageKind kind = MessageKind::kSend,
                              uint32_t invalidate = 0) {
    return RawPeer::fpdu({.kind = kind,
                          .last = true,
                          .invalidate = invalidate,
                          .queue = queue,
                          .msn = msn,
                          .mo = mo},
                         std::vector<std::byte>(bytes, std::byte(0x99)));
  }
  uint32_t write_key() const { return writable_.mr->rkey().value; }
  uint32_t read_key() const { return readable_.mr->rkey().value; }
  ReadRequest read_of(uint32_t stag, uint64_t offset, uint32_t length) const {
    return {.sink_stag = 1,
            .sink_offset = 0,
            .length = length,
            .source_stag = stag,
            .source_offset = offset};
  }

  sim::SimReactor reactor_;
  std::shared_ptr<sim::SimNetwork> network_;
  Pair pair_;
  RawPeer peer_;
  Buffer writable_, readable_, inbox_;
  Recorded received_;
};

}  // namespace mrpool::uiwarp::testing
