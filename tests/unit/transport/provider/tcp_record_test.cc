#include "transport/provider/tcp_record.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <cstring>
#include <string>

#include "transport/provider/pcap_format.h"

namespace mrpool::provider {
namespace {

constexpr size_t kRecordHeader = 16;

struct Packet {
  uint32_t kept = 0;
  std::string from, to;
  tcphdr tcp{};
  std::vector<std::byte> payload;
};

template <class Part>
Part part_at(std::span<const std::byte> bytes, size_t at) {
  Part part;
  std::memcpy(&part, bytes.data() + at, sizeof part);
  return part;
}

std::string text(int family, const void* address) {
  char out[INET6_ADDRSTRLEN];
  return ::inet_ntop(family, address, out, sizeof out);
}

struct Sink final : RecordSink {
  void write(std::span<const std::byte> record) override {
    Packet packet;
    packet.kept = part_at<uint32_t>(record, 8);
    EXPECT_EQ(packet.kept, part_at<uint32_t>(record, 12));
    EXPECT_EQ(packet.kept, record.size() - kRecordHeader);
    size_t at = kRecordHeader;
    if (std::to_integer<int>(record[at]) >> 4 == 4) {
      const auto ip = part_at<iphdr>(record, at);
      EXPECT_EQ(ntohs(ip.tot_len), packet.kept);
      packet.from = text(AF_INET, &ip.saddr);
      packet.to = text(AF_INET, &ip.daddr);
      at += sizeof ip;
    } else {
      const auto ip = part_at<ip6_hdr>(record, at);
      at += sizeof ip;
      EXPECT_EQ(ntohs(ip.ip6_plen), record.size() - at);
      packet.from = text(AF_INET6, &ip.ip6_src);
      packet.to = text(AF_INET6, &ip.ip6_dst);
    }
    packet.tcp = part_at<tcphdr>(record, at);
    at += sizeof packet.tcp;
    packet.payload.assign(record.begin() + static_cast<ptrdiff_t>(at), record.end());
    packets.push_back(packet);
  }
  std::vector<Packet> packets;
};

sockaddr_storage v4(const char* host, uint16_t port) {
  sockaddr_storage out{};
  auto& address = reinterpret_cast<sockaddr_in&>(out);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET, host, &address.sin_addr), 1);
  return out;
}

sockaddr_storage v6(const char* host, uint16_t port) {
  sockaddr_storage out{};
  auto& address = reinterpret_cast<sockaddr_in6&>(out);
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET6, host, &address.sin6_addr), 1);
  return out;
}

TEST(TcpRecord, BeginsWithTheHandshakeOfTheDialer) {
  for (const bool dialed : {false, true}) {
    Sink sink;
    const TcpRecord record(sink, v4("10.0.0.1", 1000), v4("10.0.0.2", 2000), dialed);
    ASSERT_EQ(sink.packets.size(), 3u);
    EXPECT_EQ(sink.packets[0].tcp.th_flags, TH_SYN);
    EXPECT_EQ(sink.packets[0].from, dialed ? "10.0.0.1" : "10.0.0.2");
    EXPECT_EQ(ntohs(sink.packets[0].tcp.th_sport), dialed ? 1000 : 2000);
    EXPECT_EQ(sink.packets[1].tcp.th_flags, TH_SYN | TH_ACK);
    EXPECT_EQ(sink.packets[2].tcp.th_flags, TH_ACK);
    EXPECT_EQ(sink.packets[2].from, sink.packets[0].from);
  }
}

TEST(TcpRecord, CountsBytesInBothDirections) {
  Sink sink;
  TcpRecord record(sink, v6("::1", 1000), v6("::2", 2000), true);
  sink.packets.clear();
  const std::vector<std::byte> bytes(TcpRecord::kMostPayload + 7, std::byte{0x5a});
  record.sent(bytes);
  record.received(std::span(bytes).first(3));
  record.sent({});
  record.received_end();
  record.received_end();
  record.sent_end();
  ASSERT_EQ(sink.packets.size(), 5u);
  EXPECT_EQ(sink.packets[0].payload.size(), TcpRecord::kMostPayload);
  EXPECT_EQ(sink.packets[1].payload.size(), 7u);
  EXPECT_EQ(ntohl(sink.packets[1].tcp.th_seq), 1 + TcpRecord::kMostPayload);
  EXPECT_EQ(sink.packets[2].from, "::2");
  EXPECT_EQ(ntohl(sink.packets[2].tcp.th_ack), 1 + bytes.size());
  EXPECT_EQ(sink.packets[3].tcp.th_flags, TH_FIN | TH_ACK);
  EXPECT_EQ(ntohl(sink.packets[4].tcp.th_ack), 5u);  // its SYN, three bytes and its FIN
}

TEST(PcapFormat, EveryProcessHasAFileOfItsOwn) {
  EXPECT_EQ(capture_path("/a/b.pcap", 7, 7), "/a/b.pcap");
  EXPECT_EQ(capture_path("/a/b.pcap", 8, 7), "/a/b.pcap.8");
  EXPECT_EQ(capture_path("/a/b-%p.pcap", 8, 7), "/a/b-8.pcap");
  EXPECT_EQ(capture_path("/a/b-%p.pcap", 7, 7), "/a/b-7.pcap");
}

}  // namespace
}  // namespace mrpool::provider
