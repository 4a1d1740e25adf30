#include "transport/provider/tcp_record.h"

#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <ctime>

namespace mrpool::provider {
namespace {

constexpr uint8_t kHops = 64;
constexpr uint16_t kWindow = 0xffff;

struct RecordHeader {
  uint32_t seconds;
  uint32_t nanoseconds;
  uint32_t kept;
  uint32_t whole;
};

template <class Part>
void append(std::vector<std::byte>& record, const Part& part) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&part);
  record.insert(record.end(), bytes, bytes + sizeof part);
}

uint16_t checksum(const iphdr& header) {
  const auto* words = reinterpret_cast<const uint16_t*>(&header);
  uint32_t sum = 0;
  for (size_t i = 0; i < sizeof header / sizeof *words; ++i) sum += words[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

const sockaddr_in& v4(const sockaddr_storage& address) {
  return reinterpret_cast<const sockaddr_in&>(address);
}
const sockaddr_in6& v6(const sockaddr_storage& address) {
  return reinterpret_cast<const sockaddr_in6&>(address);
}
bool is_v4(const sockaddr_storage& address) { return address.ss_family == AF_INET; }
// In network order, as it is stored.
uint16_t port(const sockaddr_storage& address) {
  return is_v4(address) ? v4(address).sin_port : v6(address).sin6_port;
}

}  // namespace

TcpRecord::TcpRecord(RecordSink& sink, const sockaddr_storage& local, const sockaddr_storage& peer,
                     bool dialed)
    : sink_(sink), local_{local}, peer_{peer} {
  End& first = dialed ? local_ : peer_;
  End& second = dialed ? peer_ : local_;
  packet(first, second, TH_SYN, {});
  first.next = 1;
  packet(second, first, TH_SYN | TH_ACK, {});
  second.next = 1;
  packet(first, second, TH_ACK, {});
}

void TcpRecord::data(End& from, const End& to, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t part = std::min(bytes.size(), kMostPayload);
    packet(from, to, TH_ACK | TH_PUSH, bytes.first(part));
    from.next += static_cast<uint32_t>(part);
    bytes = bytes.subspan(part);
  }
}

void TcpRecord::finish(End& from, const End& to) {
  if (from.finished) return;
  from.finished = true;
  packet(from, to, TH_FIN | TH_ACK, {});
  ++from.next;
}

void TcpRecord::add_ip(const End& from, const End& to, size_t tcp_bytes) {
  if (is_v4(from.address)) {
    iphdr header{};
    header.version = 4;
    header.ihl = sizeof header / sizeof(uint32_t);
    header.tot_len = htons(static_cast<uint16_t>(sizeof header + tcp_bytes));
    header.ttl = kHops;
    header.protocol = IPPROTO_TCP;
    header.saddr = v4(from.address).sin_addr.s_addr;
    header.daddr = v4(to.address).sin_addr.s_addr;
    header.check = checksum(header);
    return append(record_, header);
  }
  ip6_hdr header{};
  header.ip6_flow = htonl(6u << 28);
  header.ip6_plen = htons(static_cast<uint16_t>(tcp_bytes));
  header.ip6_nxt = IPPROTO_TCP;
  header.ip6_hlim = kHops;
  header.ip6_src = v6(from.address).sin6_addr;
  header.ip6_dst = v6(to.address).sin6_addr;
  append(record_, header);
}

void TcpRecord::packet(const End& from, const End& to, uint8_t flags,
                       std::span<const std::byte> payload) {
  tcphdr tcp{};
  tcp.th_sport = port(from.address);
  tcp.th_dport = port(to.address);
  tcp.th_seq = htonl(from.next);
  tcp.th_ack = (flags & TH_ACK) != 0 ? htonl(to.next) : 0;
  tcp.th_off = sizeof tcp / sizeof(uint32_t);
  tcp.th_flags = flags;
  tcp.th_win = htons(kWindow);
  const size_t ip_bytes = is_v4(from.address) ? sizeof(iphdr) : sizeof(ip6_hdr);
  const auto bytes = static_cast<uint32_t>(ip_bytes + sizeof tcp + payload.size());
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  record_.clear();
  append(record_, RecordHeader{static_cast<uint32_t>(now.tv_sec),
                               static_cast<uint32_t>(now.tv_nsec), bytes, bytes});
  add_ip(from, to, sizeof tcp + payload.size());
  append(record_, tcp);
  record_.insert(record_.end(), payload.begin(), payload.end());
  sink_.write(record_);
}

}  // namespace mrpool::provider
