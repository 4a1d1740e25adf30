#include "examples/base/descriptor_limit.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace mrpool::base {
namespace {

TEST(DescriptorLimit, IsNamedWhereDescriptorsAreMissing) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(
      name_missing_descriptors("no timerfd: Too many open files"),
      "no timerfd: Too many open files; no file descriptor is left of the " +
          std::to_string(limit.rlim_cur) +
          " that this process may have: raise the limit (ulimit -n, LimitNOFILE= of systemd)");
  EXPECT_EQ(name_missing_descriptors("socket: Too many open files in system"),
            "socket: Too many open files in system; the system has no file descriptor left: raise "
            "fs.file-max, or end what uses them");
}

TEST(DescriptorLimit, IsNotNamedElsewhereOrTwice) {
  for (const char* text : {"", "no such file", "Too many open files (raise `ulimit -n`)"}) {
    EXPECT_EQ(name_missing_descriptors(text), text);
  }
}

TEST(DescriptorLimit, IsRaisedToTheHardOne) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  raise_descriptor_limit();
  rlimit now{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &now), 0);
  EXPECT_EQ(now.rlim_cur, before.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace mrpool::base
