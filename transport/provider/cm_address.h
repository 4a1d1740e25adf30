// Socket addresses as rdma_cm and the device write them.
//
// Thread safety: pure, but for local_address_for(), which asks the kernel's routing.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

#include "mrpool/device.h"

namespace mrpool::provider {

// 0 for families other than IPv4 and IPv6.
socklen_t address_bytes(const sockaddr& address);
uint16_t port_of(const sockaddr& address);
void set_port(sockaddr& address, uint16_t port);
bool is_wildcard(const sockaddr& address);

// "127.0.0.1:4420" or "[::1]:4420", as ConnectionInfo has them.
std::optional<sockaddr_storage> parse_endpoint(std::string_view text);
Address to_device_address(const sockaddr& address);

// From where this machine reaches `target`. Empty with errno.
std::optional<sockaddr_storage> local_address_for(const sockaddr& target);
// A port that is free on `address` now; 0 with errno.
uint16_t free_port(const sockaddr& address);

}  // namespace mrpool::provider
