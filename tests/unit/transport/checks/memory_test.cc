#include "transport/checks/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

namespace mrpool::checks {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kMaps =
    "1000-3000 r--p 00000000 08:01 12   /usr/bin/program\n"
    "3000-5000 rw-p 00000000 00:00 0\n"
    "5000-6000 rw-s 00000000 00:01 7   /dev/shm/with blanks (deleted)\n"
    "8000-9000 rw-p 00000000 00:00 0    [heap]\n"
    "9000-a000 ---p 00000000 00:00 0\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0  [vsyscall]\n";

std::span<const std::byte> range(uintptr_t begin, uintptr_t end) {
  return {reinterpret_cast<const std::byte*>(begin), end - begin};
}
std::string verdict(uintptr_t begin, uintptr_t end, Access access = Access::kNone) {
  return std::string(check_mapped(range(begin, end), access, kMaps).message());
}

TEST(CheckMapped, WalksNeighbouringMappings) {
  EXPECT_EQ(verdict(0x1000, 0x6000), "");
  EXPECT_EQ(verdict(0x3000, 0x6000, Access::kLocalWrite), "");
  EXPECT_EQ(verdict(0x3fff, 0x5001, Access::kLocalWrite), "");
}

TEST(CheckMapped, NamesTheFirstByteThatIsWrong) {
  EXPECT_THAT(verdict(0x0800, 0x1800), HasSubstr("offset 0 is not mapped"));
  EXPECT_THAT(verdict(0x5800, 0x6001), HasSubstr("offset 2048 is not mapped"));
  EXPECT_THAT(verdict(0x8800, 0x9001), HasSubstr("offset 2048 is not readable"));
  EXPECT_THAT(verdict(0x2ffe, 0x4000, Access::kLocalWrite),
              HasSubstr("offset 0 is read-only, and local_write writes it"));
  EXPECT_THAT(verdict(0xa000, 0xb000), HasSubstr("offset 0 is not mapped"));
}

TEST(CheckMapped, TextThatIsNotAMapIsSkipped) {
  EXPECT_FALSE(check_mapped(range(0x1000, 0x2000), Access::kNone, "nonsense\n\n12\n1-").ok());
  EXPECT_FALSE(check_mapped(range(0x1000, 0x2000), Access::kNone, "").ok());
}

TEST(CheckMapped, ReadsTheMapsOfThisProcess) {
  static const char constant[] = "read-only data";
  std::string own(100, 'x');
  EXPECT_TRUE(check_mapped(std::as_bytes(std::span(own)), Access::kLocalWrite).ok());
  EXPECT_TRUE(check_mapped(std::as_bytes(std::span(constant)), Access::kRemoteRead).ok());
}

// Asked for one address after the other, or read as a whole.
TEST(CheckMapped, TheKernelReportsWhatItsTextHas) {
  constexpr size_t kPage = 4096;
  void* const at =
      ::mmap(nullptr, 6 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  const std::span pages(static_cast<const std::byte*>(at), 6 * kPage);
  ASSERT_EQ(::mprotect(static_cast<char*>(at) + kPage, kPage, PROT_READ), 0);
  ASSERT_EQ(::mprotect(static_cast<char*>(at) + 3 * kPage, kPage, PROT_NONE), 0);
  ASSERT_EQ(::munmap(static_cast<char*>(at) + 5 * kPage, kPage), 0);
  std::ifstream file("/proc/self/maps");
  const std::string maps(std::istreambuf_iterator<char>(file), {});
  int refused = 0;
  for (size_t from = 0; from < 6; ++from) {
    for (size_t to = from + 1; to <= 6; ++to) {
      for (const Access access : {Access::kNone, Access::kLocalWrite}) {
        const auto part = pages.subspan(from * kPage, (to - from) * kPage - 1);
        const absl::Status status = check_mapped(part, access);
        EXPECT_EQ(status, check_mapped(part, access, maps)) << from << " to " << to;
        if (!status.ok()) ++refused;
      }
    }
  }
  EXPECT_GT(refused, 20);
  ::munmap(at, 5 * kPage);
}

TEST(CheckMapped, PagesOnDemandNeedNotBeThereYet) {
  const auto nothing = range(0x1000, 0x2000);  // the first page is nobody's
  EXPECT_FALSE(check_mapped(nothing, Access::kLocalWrite).ok());
  EXPECT_TRUE(check_mapped(nothing, Access::kLocalWrite | Access::kOnDemand).ok());
}

TEST(CheckRange, RefusesInvalidRanges) {
  EXPECT_FALSE(check_range({}).ok());
  EXPECT_FALSE(check_range({static_cast<const std::byte*>(nullptr), 1}).ok());
  EXPECT_FALSE(check_range({reinterpret_cast<const std::byte*>(UINTPTR_MAX), 2}).ok());
  EXPECT_TRUE(check_range(range(0x1000, 0x2000)).ok());
}

}  // namespace
}  // namespace mrpool::checks
