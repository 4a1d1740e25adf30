#include "transport/provider/hello.h"

#include <endian.h>

#include <cstring>

namespace mrpool::provider {
namespace {

constexpr unsigned char kMark[6] = {'m', 'r', 'p', 'V', 1, 0};
constexpr size_t kFlagsAt = 5;
constexpr size_t kTimerAt = 6;
constexpr size_t kNumbersAt = 8;
constexpr unsigned char kCreditsFlag = 1;

struct Numbers {
  uint32_t source_qp, target_qp, receives, credit_rkey;
  uint64_t credit_addr;
  uint64_t reserved;
};
static_assert(kNumbersAt + sizeof(Numbers) == Hello::kBytes);

}  // namespace

std::vector<std::byte> encode(const Hello& hello, std::span<const std::byte> private_data) {
  std::vector<std::byte> out(Hello::kBytes);
  std::memcpy(out.data(), kMark, sizeof kMark);
  if (hello.credits) out[kFlagsAt] = std::byte{kCreditsFlag};
  out[kTimerAt] = std::byte{hello.min_rnr_timer};
  const Numbers numbers{.source_qp = htobe32(hello.source_qp),
                        .target_qp = htobe32(hello.target_qp),
                        .receives = htobe32(hello.receives),
                        .credit_rkey = htobe32(hello.credit_rkey),
                        .credit_addr = htobe64(hello.credit_addr),
                        .reserved = 0};
  std::memcpy(out.data() + kNumbersAt, &numbers, sizeof numbers);
  out.insert(out.end(), private_data.begin(), private_data.end());
  return out;
}

std::optional<Hello> take_hello(std::span<const std::byte>& private_data) {
  if (private_data.size() < Hello::kBytes) return std::nullopt;
  if (std::memcmp(private_data.data(), kMark, kFlagsAt) != 0) return std::nullopt;
  Numbers numbers;
  std::memcpy(&numbers, private_data.data() + kNumbersAt, sizeof numbers);
  const bool credits = (private_data[kFlagsAt] & std::byte{kCreditsFlag}) != std::byte{0};
  const auto timer = std::to_integer<uint8_t>(private_data[kTimerAt]);
  private_data = private_data.subspan(Hello::kBytes);
  return Hello{.credits = credits,
               .min_rnr_timer = timer,
               .source_qp = be32toh(numbers.source_qp),
               .target_qp = be32toh(numbers.target_qp),
               .receives = be32toh(numbers.receives),
               .credit_rkey = be32toh(numbers.credit_rkey),
               .credit_addr = be64toh(numbers.credit_addr)};
}

}  // namespace mrpool::provider
