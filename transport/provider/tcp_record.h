// One end of a TCP connection as packets of a pcap file. The bytes and their order are the real
// ones; the packets are made up: a handshake, as much of a read or a write in each as fits, ends.
//
// Thread safety: that of the underlying file.
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mrpool::provider {

// Takes whole records.
class RecordSink {
 public:
  virtual void write(std::span<const std::byte> record) = 0;

 protected:
  ~RecordSink() = default;
};

class TcpRecord {
 public:
  // Payload of one packet; IPv4 ends at 65,535 bytes with its headers.
  static constexpr size_t kMostPayload = 65'000;

  // Both of one family. `dialed`: this end began.
  TcpRecord(RecordSink& sink, const sockaddr_storage& local, const sockaddr_storage& peer,
            bool dialed);

  void sent(std::span<const std::byte> bytes) { data(local_, peer_, bytes); }
  void received(std::span<const std::byte> bytes) { data(peer_, local_, bytes); }
  void sent_end() { finish(local_, peer_); }
  void received_end() { finish(peer_, local_); }

 private:
  struct End {
    sockaddr_storage address{};
    uint32_t next = 0;  // its next byte
    bool finished = false;
  };
  void data(End& from, const End& to, std::span<const std::byte> bytes);
  void finish(End& from, const End& to);
  void packet(const End& from, const End& to, uint8_t flags, std::span<const std::byte> payload);
  void add_ip(const End& from, const End& to, size_t tcp_bytes);

  RecordSink& sink_;
  End local_;
  End peer_;
  std::vector<std::byte> record_;
};

}  // namespace mrpool::provider
