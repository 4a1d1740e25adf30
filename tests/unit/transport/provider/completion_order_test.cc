#include "transport/provider/completion_order.h"

#include <gmock/gmock.h>

#include <vector>

namespace mrpool::provider {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Released {
  void operator()(const OrderedData& data) { stamps.push_back(data.point.stamp); }
  std::vector<uint64_t> take() { return std::exchange(stamps, {}); }
  std::vector<uint64_t> stamps;
};

OrderedData up_to(uint64_t stamp) { return {.qp = nullptr, .point = {.stamp = stamp}}; }

TEST(CompletionOrder, DataIsOrderedWhenItsEntryIsTaken) {
  CompletionOrder order;
  Released released;
  order.pushed(std::nullopt);
  order.pushed(up_to(1));
  order.pushed(up_to(2));
  order.popped(1, released);
  EXPECT_THAT(released.take(), IsEmpty());
  order.popped(1, released);
  EXPECT_THAT(released.take(), ElementsAre(1));
  order.pushed(up_to(3));
  order.popped(2, released);
  EXPECT_THAT(released.take(), ElementsAre(2, 3));
}

TEST(CompletionOrder, PurgedEntriesCountAsSeen) {
  CompletionOrder order;
  Released released;
  for (uint64_t stamp = 1; stamp <= 4; ++stamp) order.pushed(up_to(stamp));
  order.popped(1, released);
  released.take();
  order.purged(2, released);  // one of three was taken out
  EXPECT_THAT(released.take(), ElementsAre(2, 3, 4));
  order.pushed(up_to(5));
  order.popped(2, released);
  EXPECT_THAT(released.take(), IsEmpty());
  order.popped(1, released);
  EXPECT_THAT(released.take(), ElementsAre(5));
}

}  // namespace
}  // namespace mrpool::provider
