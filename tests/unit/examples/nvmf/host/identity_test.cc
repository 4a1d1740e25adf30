#include "examples/nvmf/host/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvme::host {
namespace {

TEST(Identity, TheUuidOfAnNqnIsTheHostIdentifier) {
  const auto identity =
      identity_of("nqn.2014-08.org.nvmexpress:uuid:00112233-4455-6677-8899-aabbccddeeff");
  ASSERT_TRUE(identity.ok());
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(identity->id[i], i * 0x11);
}

TEST(Identity, OneNameIsOneHostAndTwoAreTwo) {
  const auto a = identity_of("nqn.2026-11.org.example:a");
  const auto again = identity_of("nqn.2026-11.org.example:a");
  const auto b = identity_of("nqn.2026-11.org.example:b");
  ASSERT_TRUE(a.ok() && again.ok() && b.ok());
  EXPECT_EQ(a->id, again->id);
  EXPECT_NE(a->id, b->id);
}

TEST(Identity, ABadNameIsShown) {
  const auto identity = identity_of("my host");
  ASSERT_FALSE(identity.ok());
  EXPECT_THAT(std::string(identity.status().message()), testing::HasSubstr("'my host'"));
}

TEST(Identity, TheDefaultIsAnNqn) { EXPECT_TRUE(valid_nqn(default_identity().nqn)); }

}  // namespace
}  // namespace mrpool::nvme::host
