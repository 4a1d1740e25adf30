// A peer that sends raw bytes, for tests that violate the protocol: it dials or accepts on the
// simulated network, sends any bytes, and keeps received bytes.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "transport/uiwarp/crc32c.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/terminate.h"
#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp::testing {

class RawPeer final : public DialHandler, public AcceptHandler, public StreamEvents {
 public:
  RawPeer(sim::SimReactor& reactor, sim::SimNetwork& network)
      : reactor_(reactor), network_(network) {}

  void dial(uint16_t port) {
    dial_ = *network_.dial(reactor_,
                           {.transport = "uiwarp", .host = "", .port = port, .options = {}}, *this);
  }
  uint16_t listen() {
    listener_ = *network_.listen(
        reactor_, {.transport = "uiwarp", .host = "", .port = 0, .options = {}}, *this);
    return listener_->port();
  }
  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    ASSERT_TRUE(stream.ok());
    on_accept(*std::move(stream));
  }
  void on_accept_error(const absl::Status& error) override { ADD_FAILURE() << error; }
  void on_accept(std::unique_ptr<Stream> stream) override {
    stream_ = std::move(stream);
    stream_->attach(reactor_, *this);
    stream_->want_read();
  }
  // What comes is an event of the world, so that time does not jump past it.
  void on_readable() override { hear(); }
  void on_writable() override {}

  bool up() const { return stream_ != nullptr; }
  void close() { stream_.reset(); }
  void finish() { stream_->shutdown_write(); }

  // Sends all of it, running the world when the network is full.
  void send(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
      const StreamResult result = stream_->writev({&piece, 1});
      if (result.error != 0) return;
      bytes = bytes.subspan(result.bytes);
      if (result.would_block) {
        hear();
        reactor_.step();
      }
    }
  }
  void request(const MpaFrame& frame) { send(encode_mpa(frame)); }

  // Takes what has come.
  void hear() {
    std::byte buffer[4096];
    const iovec piece{buffer, sizeof buffer};
    for (;;) {
      const StreamResult result = stream_->readv({&piece, 1});
      ended |= result.closed || result.error != 0;
      if (result.would_block) stream_->want_read();
      if (result.bytes == 0) return;
      heard.insert(heard.end(), buffer, buffer + result.bytes);
    }
  }
  // The MPA frame at the front of what was heard, taken off. Its private data goes with it.
  std::optional<MpaFrame> take_frame(bool reply) {
    if (heard.size() < kMpaHeaderBytes) return std::nullopt;
    const auto more = mpa_private_bytes(heard, reply);
    if (!more.ok() || heard.size() < kMpaHeaderBytes + *more) return std::nullopt;
    auto frame = decode_mpa(heard, reply);
    if (!frame.ok()) return std::nullopt;
    heard.erase(heard.begin(), heard.begin() + static_cast<long>(kMpaHeaderBytes + *more));
    frame->private_data = {};
    return *frame;
  }
  struct Fpdu {
    SegmentHeader header;
    std::vector<std::byte> payload;
    bool crc_right = false;
  };
  std::optional<Fpdu> take_fpdu() {
    if (heard.size() < kLengthBytes) return std::nullopt;
    const size_t ulpdu = load_be16(heard.data());
    const size_t total = fpdu_bytes(ulpdu);
    if (heard.size() < total) return std::nullopt;
    Fpdu out;
    out.header = decode_segment(heard.data() + kLengthBytes);
    out.payload.assign(heard.data() + kLengthBytes + out.header.bytes(),
                       heard.data() + kLengthBytes + ulpdu);
    Crc32c crc;
    crc.update(heard.data(), total - kCrcBytes);
    out.crc_right = crc.value() == load_le32(heard.data() + total - kCrcBytes);
    heard.erase(heard.begin(), heard.begin() + static_cast<long>(total));
    return out;
  }

  // An FPDU with a right CRC.
  static std::vector<std::byte> fpdu(const SegmentHeader& header,
                                     std::span<const std::byte> payload) {
    const size_t ulpdu = header.bytes() + payload.size();
    std::vector<std::byte> out(fpdu_bytes(ulpdu));
    store_be16(out.data(), static_cast<uint16_t>(ulpdu));
    encode_segment(header, out.data() + kLengthBytes);
    if (!payload.empty()) {
      std::memcpy(out.data() + kLengthBytes + header.bytes(), payload.data(), payload.size());
    }
    Crc32c crc;
    crc.update(out.data(), out.size() - kCrcBytes);
    store_le32(out.data() + out.size() - kCrcBytes, crc.value());
    return out;
  }
  static std::vector<std::byte> read_request(uint32_t msn, const ReadRequest& request) {
    std::byte body[kReadRequestBytes];
    encode_read_request(request, body);
    return fpdu({.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = msn},
                body);
  }

  std::vector<std::byte> heard;
  bool ended = false;

 private:
  sim::SimReactor& reactor_;
  sim::SimNetwork& network_;
  std::unique_ptr<Dial> dial_;
  std::unique_ptr<StreamListener> listener_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace mrpool::uiwarp::testing
