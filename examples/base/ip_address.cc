#include "examples/base/ip_address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace mrpool::base {
namespace {

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  IpAddress address;
  if (const size_t percent = text.find('%'); percent != std::string_view::npos) {
    address.scope_ = text.substr(percent + 1);
    text = text.substr(0, percent);
    if (address.scope_.empty()) return std::nullopt;
  }
  const std::string written(text);
  if (inet_pton(AF_INET, written.c_str(), address.bytes_.data()) == 1) {
    return address.scope_.empty() ? std::optional(address) : std::nullopt;
  }
  if (inet_pton(AF_INET6, written.c_str(), address.bytes_.data()) != 1) return std::nullopt;
  address.ipv6_ = true;
  if (std::equal(kMapped.begin(), kMapped.end(), address.bytes_.begin())) {
    std::array<uint8_t, 16> inner{};
    std::copy(address.bytes_.begin() + kMapped.size(), address.bytes_.end(), inner.begin());
    address.bytes_ = inner;
    address.ipv6_ = false;
    address.scope_.clear();
  }
  return address;
}

bool IpAddress::wildcard() const {
  return std::ranges::all_of(bytes_, [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::loopback() const {
  if (!ipv6_) return bytes_[0] == 127;
  return bytes_.back() == 1 &&
         std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t byte) { return byte == 0; });
}

bool IpAddress::link_local() const {
  if (!ipv6_) return bytes_[0] == 169 && bytes_[1] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

std::string IpAddress::network() const {
  if (!ipv6_) return to_string();
  IpAddress network = *this;
  std::fill(network.bytes_.begin() + 8, network.bytes_.end(), uint8_t{0});
  return network.to_string() + "/64";
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(ipv6_ ? AF_INET6 : AF_INET, bytes_.data(), text, sizeof text);
}

std::string_view host_of(std::string_view endpoint) {
  std::string_view host = endpoint.substr(0, endpoint.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

}  // namespace mrpool::base
