// Numeric IP addresses as peers and configurations write them.
//
// Thread safety: values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mrpool::base {

// An IPv6 address that holds an IPv4 one ("::ffff:10.0.0.1") is that IPv4 address.
class IpAddress {
 public:
  // "10.0.0.1", "::1", "fe80::1%eth0", an IPv6 address with or without brackets. Nothing when it is
  // not a numeric address.
  static std::optional<IpAddress> parse(std::string_view text);

  bool ipv6() const { return ipv6_; }
  bool wildcard() const;    // any address of the machine: 0.0.0.0, ::
  bool loopback() const;    // 127.0.0.0/8, ::1
  bool link_local() const;  // 169.254.0.0/16, fe80::/10
  // The interface after the '%' of a link-local address; it has a meaning on this machine only.
  const std::string& scope() const { return scope_; }
  // The network a single customer has at least: an IPv4 address whole, 64 bits of an IPv6 one.
  std::string network() const;
  // In the shortest form, without scope and brackets.
  std::string to_string() const;

  friend bool operator==(const IpAddress&, const IpAddress&) = default;

 private:
  bool ipv6_ = false;
  std::array<uint8_t, 16> bytes_{};  // IPv4: the first four
  std::string scope_;
};

// The host of "127.0.0.1:4420" or "[::1]:4420", without brackets.
std::string_view host_of(std::string_view endpoint);

}  // namespace mrpool::base
